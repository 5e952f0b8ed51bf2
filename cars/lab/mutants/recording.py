"""Which tests reach which lines of the recipe, and how long each takes.

`python -m cars.lab.mutants.recording FILE LABEL...`, in the folder of a project, runs the tests
under coverage, and writes what it has recorded into FILE. A test that fails isn't recorded. What a
test does in a process that it starts isn't seen.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import TestCase, TextTestResult

import django
from coverage import Coverage
from django.conf import settings

RECIPE = Path("cars/caching")  # below the folder of a project
Lines = dict[str, list[int]]  # by module


@dataclass
class Recording:
    """The tests that have passed: how many `seconds` each took, and which lines it `reached`.

    `first` has the lines that were reached before the first test or between two of them: at the
    import, by `migrate`, and by `setUpTestData`.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    reached: dict[str, Lines] = field(default_factory=dict)
    first: Lines = field(default_factory=dict)

    def stages(self, module: str, lines: range, slow: float) -> tuple[list[str], ...]:
        """Return which tests a change of these lines needs: the quick ones that reach one of them,
        those that take longer than `slow` seconds, and, if a line is one of the `first`, all the
        quick ones, for which Django has to be set up with the change.
        """
        reach = [t for t, found in self.reached.items() if {*lines} & {*found.get(module, ())}]
        reach.sort(key=self.seconds.__getitem__)
        quick = [test for test, seconds in self.seconds.items() if seconds <= slow]
        first = {*lines} & {*self.first.get(module, ())}
        return (
            [test for test in reach if self.seconds[test] <= slow],
            [test for test in reach if self.seconds[test] > slow],
            quick if first else [],
        )

    def write(self, path: Path) -> None:
        """Write it into the file `path`."""
        path.write_text(json.dumps(vars(self)))

    @classmethod
    def read(cls, path: Path) -> "Recording":
        """Return the recording in the file `path`; an empty one if there is no file."""
        return cls(**json.loads(path.read_text())) if path.exists() else cls()


class _Result(TextTestResult):
    """Tells coverage which test runs."""

    passed: dict[str, float] = {}

    def startTest(self, test: TestCase) -> None:
        self.begun = perf_counter()
        _switch_context(test.id())
        super().startTest(test)

    def addSuccess(self, test: TestCase) -> None:
        self.passed[test.id()] = round(perf_counter() - self.begun, 3)
        super().addSuccess(test)

    def stopTest(self, test: TestCase) -> None:
        super().stopTest(test)
        _switch_context("")  # as before the first test


def _switch_context(name: str) -> None:
    coverage = Coverage.current()
    assert coverage is not None
    coverage.switch_context(name)


def set_up() -> None:
    """Set up Django, as manage.py does."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carsite.settings")
    os.environ.setdefault("DJANGO_DEBUG", "on")
    django.setup()


def recorded(labels: list[str]) -> Recording:
    """Run the tests of `labels` in a new process; raise RuntimeError if none passes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.json"
        command = [sys.executable, "-m", __spec__.name, str(path), *labels]
        done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True)
        recording = Recording.read(path)
    if not recording.seconds:
        raise RuntimeError(f"No test passes without a mutant:\n{done.stderr}")
    return recording


def record(labels: list[str]) -> Recording:
    """Run the tests of `labels` in this process, in which Django isn't set up yet."""
    coverage = Coverage(
        data_file=None,
        config_file=False,
        include=[f"{RECIPE}/*.py"],
        concurrency=["thread", "greenlet"],  # the actors of a schedule are greenlets
    )
    with coverage.collect():
        set_up()
        from cars.tests.support.runner import Runner

        class Recorder(Runner):
            def get_resultclass(self) -> type[_Result]:
                return _Result

        Recorder(verbosity=2, interactive=False).run_tests(labels)
    reached: Any = defaultdict(lambda: defaultdict(list))
    data = coverage.get_data()
    for path in data.measured_files():
        for line, tests in data.contexts_by_lineno(path).items():
            for test in tests:
                reached[test][Path(path).stem].append(line)
    passed = _Result.passed
    return Recording(passed, {test: reached[test] for test in passed}, reached[""])


if __name__ == "__main__":
    record(sys.argv[2:]).write(Path(sys.argv[1]))
