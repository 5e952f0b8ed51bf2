"""Change the recipe a little, and see whether a test notices."""

import shutil
import subprocess
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.db import connection
from tqdm import tqdm

from cars.lab.mutants.changes import Mutant, drawn, mutants_of
from cars.lab.mutants.recording import RECIPE, Recording, recorded
from cars.lab.mutants.results import RESULTS, Result, Results, equivalent, read_results
from cars.lab.mutants.trial import Outcome, Trials, prepared_tests

from .demo import end_on_signals

MODULES = ("protocol", "transactions", "entries", "hooks", "queryset")
TESTS = ("recipe", "lab")  # folders of cars/tests


class Command(BaseCommand):
    help = (
        "Draw mutants of the recipe by a seed, run the tests that reach each of them, on SQLite in "
        "memory, and write what became of them into a file. A mutant that no test notices has "
        "survived: it needs a test, or a reason in cars/lab/mutants/equivalent.txt. Stopped and "
        "started again, the command goes on where it was, unless the recipe has changed. The exit "
        "status is 1 if a mutant has survived."
    )
    requires_system_checks = ()  # it doesn't use the site

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--number", type=int, default=300, metavar="N", help="of mutants to draw (%(default)s)"
        )
        parser.add_argument("--seed", type=int, default=9, help="for the draw (%(default)s)")
        parser.add_argument(
            "--module",
            action="append",
            dest="modules",
            help="of the recipe; can be given several times (default: " + ", ".join(MODULES) + ")",
        )
        parser.add_argument(
            "--tests",
            action="append",
            metavar="LABEL",
            help="a test module; can be given several times (default: those of cars/tests/recipe "
            "and cars/tests/lab)",
        )
        parser.add_argument(
            "--slow",
            type=float,
            default=1,
            metavar="SECONDS",
            help="tests that take longer run last (%(default)s)",
        )
        parser.add_argument(
            "--again", action="store_true", help="run those again that were not killed"
        )
        parser.add_argument(
            "--file",
            type=Path,
            help="for the results (default: cars/lab/mutants/results.txt)",
        )
        parser.add_argument(
            "--recording",
            type=Path,
            metavar="FILE",
            help="keep there which tests reach which lines, or take it from there if it exists",
        )

    def handle(self, *, file: Path | None, recording: Path | None, **options: Any) -> None:
        end_on_signals()
        file = file or RESULTS
        if connection.vendor != "sqlite":
            raise CommandError(
                "This needs SQLite, whose databases in memory are copied with a process. "
                "Unset DATABASE_URL."
            )
        tqdm.monitor_interval = 0  # no thread, since processes are forked
        mutants = all_mutants(options["modules"] or MODULES)
        chosen = drawn(mutants, options["number"], options["seed"])
        results = Results(options["seed"], revision(), len(mutants), len(chosen))
        results.found = kept(file, results, chosen, options["again"])
        left = [mutant for mutant in chosen if mutant.name not in results.found]
        try:
            tests = self.record(recording, options["tests"] or test_modules())
            with prepared_tests(list(tests.seconds)) as run:
                trials = Trials(tests, run, options["slow"])
                for mutant in tqdm(left, unit="mutant", disable=None):
                    results.found[mutant.name] = trials.outcome(mutant)
                    file.write_text(str(results))
        except RuntimeError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped. Start it again to go on.") from None
        file.write_text(str(results))
        if survived := results.of(Outcome.SURVIVED):
            raise CommandError("\n".join(["These have survived:", *survived]))
        self.stdout.write(f"All {len(results.found)} mutants were noticed, or are equivalent.")

    def record(self, path: Path | None, labels: list[str]) -> Recording:
        """Return which tests reach which lines, from the file `path` if it exists."""
        if path and path.exists():
            return Recording.read(path)
        self.stdout.write("Running the tests once, under coverage ...")
        recording = recorded(labels)
        self.stdout.write(f"{len(recording.seconds)} tests pass without a mutant.")
        if path:
            recording.write(path)
        return recording


def all_mutants(modules: list[str] | tuple[str, ...]) -> list[Mutant]:
    """Return all mutants of these modules of the recipe."""
    found = []
    for module in modules:
        path = settings.BASE_DIR / RECIPE / f"{module}.py"
        if not path.exists():
            raise CommandError(f"The recipe has no module {module!r}.")
        found += mutants_of(module, path.read_text())
    return found


def test_modules() -> list[str]:
    """Return the labels of the test modules, but not that of the test of this command."""
    folder = settings.BASE_DIR / "cars/tests"
    return sorted(
        f"cars.tests.{name}.{path.stem}"
        for name in TESTS
        for path in (folder / name).glob("test_*.py")
        if path.stem != "test_mutants"
    )


def kept(file: Path, new: Results, chosen: list[Mutant], again: bool) -> dict[str, Result]:
    """Return the equivalent mutants, and those of the results in the file that still hold."""
    names = {mutant.name for mutant in chosen}
    found = {name: (Outcome.EQUIVALENT, "") for name in equivalent() & names}
    old = read_results(file)
    if not old or (old.seed, old.revision) != (new.seed, new.revision):
        return found
    hold = [Outcome.KILLED] if again else [Outcome.KILLED, Outcome.TIMED_OUT, Outcome.SURVIVED]
    return {n: old.found[n] for n in old.found if n in names and old.found[n][0] in hold} | found


def revision() -> str:
    """Return the last revision that has changed the recipe."""
    if not shutil.which("git"):
        return "unknown"
    git = ["git", "-C", str(settings.BASE_DIR)]
    log = [*git, "log", "-1", "--format=%h", "--", str(RECIPE)]
    found = subprocess.run(log, capture_output=True, text=True).stdout.strip()
    if not found:
        return "unknown"
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", str(RECIPE)]).returncode
    return f"{found} and changes" if changed else found
