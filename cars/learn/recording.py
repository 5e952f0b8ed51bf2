"""Make the runs and the grid that the repository keeps. See `cars.learn` for where this runs."""

from collections.abc import Iterator

from cars.lab.walks.walk import walk_all

from .cases import CASES
from .recorded import Cell
from .runs import Run
from .scenarios import RECIPES, RULE_CASES, Scenario, scenario
from .search import TooLong, shortest, some
from .shown import RUNS
from .stage import open_stage

STATES = 10_000  # that a search for the shortest run looks at, at most


def scenarios_of_grid(vendor: str) -> Iterator[Scenario]:
    """Yield the scenarios of the grid that are walked on databases of `vendor`."""
    for case in CASES.values():
        if case.compared and case.postgresql == (vendor == "postgresql"):
            for recipe in RECIPES.values():
                yield Scenario(recipe, case)


def cell_of(chosen: Scenario) -> Cell:
    """Walk all schedules of `chosen` and return what was found."""
    with open_stage(chosen) as stage:
        findings = walk_all(stage.world)
        steps = shortest(stage) if findings.wrong else ()
        vendor = stage.world.connection.vendor
    # "stale at rest" is what the next visitor reads.
    wrong = sorted({kind.partition(" ")[0] for kind in findings.wrong})
    return Cell(
        chosen.recipe.slug,
        chosen.case.slug,
        findings.schedules,
        tuple(wrong),
        steps or (),
        chosen.without,
        vendor,
    )


def named_run(name: str) -> Run:
    """Play the run `name`, one of RUNS; raises KeyError for another name."""
    recipe, case, script = RUNS[name]
    with open_stage(scenario(recipe, case)) as stage:
        return stage.play(stage.follow(script))


def run_without(rule: str) -> Run:
    """Play the shortest run that goes wrong without `rule`, or some run if that one is far."""
    with open_stage(scenario("carsite", RULE_CASES[rule], rule)) as stage:
        try:
            steps = shortest(stage, states=STATES)
        except TooLong:
            steps = some(stage)
        assert steps is not None, f"nothing goes wrong without {rule!r}"
        return stage.play(steps)
