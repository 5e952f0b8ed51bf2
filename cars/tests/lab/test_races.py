"""The recorded runs of the tutorial and its grid: they are what the recipes do now."""

from contextlib import nullcontext
from io import StringIO
from random import Random
from unittest import mock

import msgspec
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TransactionTestCase

from cars.caching.backends import LocalMemoryCache, MemcachedCache
from cars.lab.walks.rules import RULES
from cars.learn import recorded, recording, search
from cars.learn.cases import CASES
from cars.learn.runs import Run
from cars.learn.scenarios import RECIPES, RULE_CASES, Unknown, scenario
from cars.learn.shown import RUNS, without_name
from cars.learn.stage import NotPossible, open_stage
from cars.tests.support.caches import MemcachedMixin

RECORD = (
    "Record it again by `manage.py races --record`, and on PostgreSQL by `python -m "
    "cars.lab.servers python manage.py races --record`; then read the texts that show it."
)
RULE_RUNS = {without_name(rule): rule for rule in RULE_CASES}


def portable(run: Run) -> Run:
    """Return `run` without its code, which is looked up when it is shown, and without BEGIN.

    PostgreSQL's driver sends BEGIN with the first statement.
    """
    frames = tuple(
        msgspec.structs.replace(frame, code=None) for frame in run.frames if frame.call != "BEGIN"
    )
    choices = tuple(msgspec.structs.replace(choice, call="") for choice in run.choices)
    return msgspec.structs.replace(run, frames=frames, choices=choices, database="")


def plain(run: Run) -> list[str]:
    return [str(frame) for frame in portable(run).frames]


class RecordedTests(TransactionTestCase):
    maxDiff = None

    def test_each_recorded_run_happens_again_as_it_was_recorded(self):
        for name in [*RUNS, *RULE_RUNS]:
            with self.subTest(name):
                before = recorded.run(name)
                with open_stage(scenario(before.recipe, before.case, before.without)) as stage:
                    again = stage.play(before.steps)
                self.assertEqual(plain(again), plain(before), RECORD)
                self.assertEqual(portable(again), portable(before), RECORD)

    def test_each_script_describes_the_recorded_schedule(self):
        for name, (recipe, case, script) in RUNS.items():
            with self.subTest(name), open_stage(scenario(recipe, case)) as stage:
                self.assertEqual(stage.follow(script), recorded.run(name).steps, RECORD)

    def test_no_other_files_are_kept(self):
        names = {path.stem for path in recorded.FOLDER.iterdir()}
        self.assertEqual(names, {*RUNS, *RULE_RUNS, recorded.GRID})

    def test_each_run_of_another_recipe_goes_wrong_and_none_of_this_one(self):
        for name in RUNS:
            run = recorded.run(name)
            with self.subTest(name):
                verdict = run.wrong.verdict if run.wrong else ""
                if run.recipe != "carsite":
                    self.assertIn(verdict, ("stale", "dirty"))
                else:
                    self.assertIn(verdict, ("", "excused"))

    def test_without_each_rule_a_read_is_stale(self):
        self.assertEqual(list(RULE_CASES), list(RULES))
        for name, rule in RULE_RUNS.items():
            with self.subTest(rule):
                run = recorded.run(name)
                self.assertEqual(run.without, rule)
                self.assertEqual(run.wrong.verdict, "stale")

    def test_only_the_runs_of_exceptions_are_excused(self):
        excused = [n for n in RUNS if (w := recorded.run(n).wrong) and w.verdict == "excused"]
        self.assertEqual(excused, ["unseen-write", "unreachable-server", "lost-entry"])


class MemcachedTests(MemcachedMixin, TransactionTestCase):
    def test_only_this_recipe_runs_on_memcached_since_the_others_store_pickles(self):
        for recipe in RECIPES:
            chosen = scenario(recipe, "save-read")
            with self.subTest(recipe), open_stage(chosen, settings.MEMCACHED_SERVERS) as stage:
                backend = MemcachedCache if recipe == "carsite" else LocalMemoryCache
                self.assertIsInstance(stage.world.cache, backend)

    def test_on_memcached_each_recorded_run_is_the_same(self):
        for name in [*RUNS, *RULE_RUNS]:
            with self.subTest(name):
                before = recorded.run(name)
                chosen = scenario(before.recipe, before.case, before.without)
                with open_stage(chosen, settings.MEMCACHED_SERVERS) as stage:
                    again = stage.play(before.steps)
                self.assertEqual(portable(again), portable(before), RECORD)


class GridTests(TransactionTestCase):
    def test_each_cell_is_what_a_walk_finds_now(self):
        for chosen in recording.scenarios_of_grid(connection.vendor):
            with self.subTest(chosen.words):
                before = recorded.grid()[chosen.recipe.slug, chosen.case.slug, ""]
                self.assertEqual(recording.cell_of(chosen), before, RECORD)

    def test_every_recipe_and_case_has_a_cell(self):
        wanted = {
            (recipe, case.slug, "")
            for recipe in RECIPES
            for case in CASES.values()
            if case.compared
        }
        self.assertEqual(set(recorded.grid()), wanted)

    def test_this_recipe_is_right_everywhere_and_each_other_one_is_wrong_somewhere(self):
        wrong = {recipe: set() for recipe in RECIPES}
        for (recipe, _, _), cell in recorded.grid().items():
            wrong[recipe].update(cell.wrong)
        self.assertEqual(wrong.pop("carsite"), set())
        for recipe, kinds in wrong.items():
            self.assertIn("stale", kinds, recipe)

    def test_the_shortest_run_of_each_cell_goes_wrong(self):
        for cell in recorded.grid().values():
            case = CASES[cell.case]
            if cell.steps and (not case.postgresql or connection.vendor == "postgresql"):
                with self.subTest(cell.case, recipe=cell.recipe):
                    with open_stage(scenario(cell.recipe, cell.case)) as stage:
                        run = stage.play(cell.steps)
                        wrong = run.wrong or stage.play(self.to_the_end(stage, run)).wrong
                    self.assertIn(wrong.verdict, ("stale", "dirty"))

    def to_the_end(self, stage, run):
        """Return a schedule that begins as `run` and ends when nothing can happen any more."""
        steps = list(run.steps)
        stage.replay(steps)
        while choices := list(stage.choices()):
            steps.append(choices[-1].id)
            stage.take(steps[-1])
        return steps


class StageTests(TransactionTestCase):
    def test_every_schedule_can_be_played_to_its_end_and_again(self):
        random = Random(13)
        for recipe in RECIPES:
            for case in CASES.values():
                if case.postgresql and connection.vendor != "postgresql":
                    continue
                with (
                    self.subTest(recipe, case=case.slug),
                    open_stage(scenario(recipe, case.slug)) as stage,
                ):
                    run = stage.play([])
                    while run.choices:
                        run = stage.play([*run.steps, random.choice(run.choices).id])
                    self.assertEqual(stage.play(run.steps), run)
                    self.assertEqual(run.frames[-1].lane, "visitor")

    def test_a_step_that_cannot_be_taken_is_refused_with_those_that_can(self):
        with open_stage(scenario("set-on-save", "save-read")) as stage:
            for steps, able in ((["writer3"], "writer, reader"), (["reader"] * 9, "writer")):
                with self.assertRaisesMessage(NotPossible, f"Possible steps: {able}."):
                    stage.play(steps)

    def test_unknown_recipes_cases_and_rules_are_refused_with_those_there_are(self):
        for chosen, told in (
            (("django", "save-read"), "delete-on-commit"),
            (("carsite", "save"), "two-saves"),
            (("carsite", "save-read", "luck"), "fresh SELECT"),
            (("set-on-save", "save-read", "fresh SELECT"), "carsite"),
        ):
            with self.subTest(chosen), self.assertRaisesMessage(Unknown, told):
                scenario(*chosen)

    def test_a_hint_continues_the_given_schedule(self):
        with open_stage(scenario("set-on-save", "save-read")) as stage:
            self.assertEqual(search.shortest(stage)[:2], ("reader", "reader"))
            self.assertEqual(
                search.shortest(stage, ["reader", "reader", "writer"])[-2:], ("writer", "reader")
            )
            self.assertIsNone(search.shortest(stage, ["writer", "writer", "reader"]))

    def test_a_search_that_is_too_long_is_given_up(self):
        with open_stage(scenario("carsite", "two-saves")) as stage:
            for bounds in ({"seconds": 0.001}, {"states": 10}):
                with self.subTest(bounds), self.assertRaises(search.TooLong):
                    search.shortest(stage, **bounds)


class CommandTests(TransactionTestCase):
    """What `manage.py races` says."""

    def run_command(self, *arguments):
        out = StringIO()
        # The tests' database is a test database with the lab's models already.
        with mock.patch("cars.management.commands.races.test_database", return_value=nullcontext()):
            call_command("races", *arguments, stdout=out)
        return out.getvalue()

    def test_it_prints_the_grid(self):
        printed = self.run_command()
        for title in [case.title for case in CASES.values() if case.compared]:
            self.assertIn(title, printed)
        self.assertIn("dirty, stale (", printed)

    def test_it_prints_the_shortest_run_of_a_recipe_and_a_case(self):
        printed = self.run_command("--recipe", "set-on-save", "--case", "save-read")
        self.assertIn("set row 0", printed)
        self.assertIn("STALE: The next visitor is shown 0, although 1 is committed.", printed)

    def test_it_prints_a_given_schedule_and_what_is_possible_next(self):
        printed = self.run_command(
            "--recipe", "carsite", "--case", "save-read", "--steps", "reader.reader"
        )
        self.assertIn("lease of reader", printed)
        self.assertIn("Possible next: writer, reader", printed)

    def test_it_prints_a_run_of_the_tutorial(self):
        self.assertIn("refused", self.run_command("--run", "lease"))

    def test_it_says_what_is_wrong_with_its_arguments(self):
        for arguments, told in (
            (["--recipe", "carsite"], "both a recipe and a case"),
            (["--recipe", "carsite", "--case", "save-read", "--without", "luck"], "no rule"),
            (["--recipe", "carsite", "--case", "save-read", "--steps", "x"], "Possible steps"),
        ):
            with self.subTest(arguments), self.assertRaisesMessage(CommandError, told):
                self.run_command(*arguments)
