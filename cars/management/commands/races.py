"""Show how each recipe for caching goes wrong: the grid of races, and single runs."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db import connection
from tqdm import tqdm

from cars.lab.walks.database import test_database
from cars.learn import recorded
from cars.learn.cases import CASES
from cars.learn.runs import Run, in_words
from cars.learn.scenarios import RECIPES, RULE_CASES, Unknown, scenario
from cars.learn.shown import RUNS, without_name

NAME, WIDTH = 36, 20  # columns of the grid


class Command(BaseCommand):
    help = (
        "Print which recipe serves stale or dirty rows in which race, as walks through all their "
        "schedules have found it. With a recipe and a case, walk these now, and print the "
        "shortest run that goes wrong; with --steps, print that run. The runs are on a test "
        "database beside that of DATABASE_URL."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--recipe", choices=RECIPES, help="the recipe")
        parser.add_argument("--case", choices=CASES, help="who is at work, and what may fail")
        parser.add_argument(
            "--without", metavar="RULE", default="", help="switch that rule of the protocol off"
        )
        parser.add_argument("--steps", help="the schedule to run, for example reader.writer.reader")
        parser.add_argument("--run", choices=RUNS, help="run one of the tutorial again")
        parser.add_argument(
            "--record",
            action="store_true",
            help="write the runs of the tutorial and the grid into docs/learn/runs/: on SQLite all "
            "of them but those that need PostgreSQL, on PostgreSQL these",
        )

    def handle(self, *, recipe: str, case: str, **options: Any) -> None:
        if options["record"]:
            return self.record()
        if options["run"]:
            with test_database():
                from cars.learn.recording import named_run

                return self.tell(named_run(options["run"]))
        if not recipe and not case:
            return self.tell_grid()
        if not recipe or not case:
            raise CommandError("Choose both a recipe and a case, by --recipe and --case.")
        try:
            chosen = scenario(recipe, case, options["without"])
        except Unknown as error:
            raise CommandError(str(error)) from None
        with test_database():
            from cars.learn.recording import cell_of
            from cars.learn.stage import NotPossible, open_stage

            steps = options["steps"].split(".") if options["steps"] else None
            if steps is None:
                cell = cell_of(chosen)
                wrong = ", ".join(cell.wrong) or "never stale or dirty"
                self.stdout.write(f"{cell.schedules:,} schedules: {wrong}.")
                if not cell.wrong:
                    return
                steps = cell.steps
            try:
                with open_stage(chosen) as stage:
                    self.tell(stage.play(steps))
            except NotPossible as error:
                raise CommandError(str(error)) from None

    def tell_grid(self) -> None:
        """Print the recorded grid."""
        recipes = [recipe.title for recipe in RECIPES.values()]
        self.stdout.write(" " * NAME + "".join(title.ljust(WIDTH) for title in recipes))
        for case in CASES.values():
            if not case.compared:
                continue
            cells = [recorded.grid().get((recipe, case.slug, "")) for recipe in RECIPES]
            words = ["–" if cell is None else _words(cell) for cell in cells]
            self.stdout.write(case.title.ljust(NAME) + "".join(word.ljust(WIDTH) for word in words))
        self.stdout.write(
            "\nIn brackets: the schedules that were run; no other one has another outcome."
        )

    def tell(self, run: Run) -> None:
        """Print a run, one line for each step."""
        titles = {lane.id: lane.title for lane in run.lanes}
        for frame in run.frames:
            row = "no row" if frame.row is None else frame.row
            self.stdout.write(
                f"{titles.get(frame.lane, ''):14}{frame.call:14}{frame.result:20}"
                f"cache: {in_words(frame.entry):24}database: {row}"
                + (f", {frame.writing} has written" if frame.writing else "")
            )
            if frame.verdict:
                self.stdout.write(f"    {frame.verdict.upper()}: {frame.sentence}")
        able = ", ".join(choice.id for choice in run.choices)
        self.stdout.write(f"Possible next: {able}" if able else "All have ended.")

    def record(self) -> None:
        """Write what belongs to the database at hand."""
        with test_database():
            from cars.learn import recording

            vendor = connection.vendor
            scenarios = list(recording.scenarios_of_grid(vendor))
            cells = [recording.cell_of(chosen) for chosen in tqdm(scenarios, desc="walks")]
            if vendor == "sqlite":
                for name in tqdm(RUNS, desc="runs"):
                    recorded.write(name, recording.named_run(name))
                for rule in tqdm(RULE_CASES, desc="rules"):
                    recorded.write(without_name(rule), recording.run_without(rule))
        if recorded.path_of(recorded.GRID).exists():
            cells += [cell for cell in recorded.grid().values() if cell.database != vendor]
        order = {slug: number for number, slug in enumerate(CASES)}
        recorded.write(recorded.GRID, sorted(cells, key=lambda cell: order[cell.case]))
        self.stdout.write(f"Written to {recorded.FOLDER}.")


def _words(cell: recorded.Cell) -> str:
    return f"{', '.join(cell.wrong) or 'never'} ({cell.schedules:,})"
