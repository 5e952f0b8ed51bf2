"""Runs tests against a mutant, in a process that is forked for it, for a limited time.

The process takes the code of the mutant into the functions of the recipe, so the files stay as they
are, and Django and the test databases are set up once for all mutants. What is called while Django
is set up, for example when a class is prepared, is tried in a new process:
`python -m cars.lab.mutants.trial MODULE FILE LABEL...`, with the mutant's source in FILE.
"""

import inspect
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

import psutil
from django.conf import settings
from django.utils.functional import cached_property

from .changes import Mutant
from .recording import Recording, set_up

LIMIT = 30  # seconds without a test that ends, and ten times what the slowest one has taken


class Outcome(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    EQUIVALENT = "equivalent"


@contextmanager
def prepared_tests(labels: list[str]) -> Iterator[Callable[[list[str]], bool]]:
    """Set up the databases of the tests of `labels`; yield what runs some of them in this process,
    until one fails, and returns whether all have passed.
    """
    from cars.tests.support.runner import Runner, surroundings

    runner = Runner(interactive=False, verbosity=1, failfast=True)
    with surroundings():
        runner.setup_test_environment()
        databases = runner.get_databases(runner.build_suite(labels))
        old = runner.setup_databases(aliases=databases)
        try:
            yield lambda tests: runner.run_suite(runner.build_suite(tests)).wasSuccessful()
        finally:
            runner.teardown_databases(old)
            runner.teardown_test_environment()


class Trials:
    """Tries one mutant after the other with the tests of a recording, which `run` runs.

    Tests that take longer than `slow` seconds run last.
    """

    def __init__(
        self, recording: Recording, run: Callable[[list[str]], bool], slow: float = 1
    ) -> None:
        self.recording, self.run, self.slow = recording, run, slow

    def outcome(self, mutant: Mutant) -> tuple[Outcome, str]:
        """Return what became of the mutant, and the test that has killed it."""
        stages = self.recording.stages(mutant.module, mutant.lines, self.slow)
        here = self._in_this_process
        for do, tests in zip((here, here, _in_new_process), stages, strict=True):
            if tests:
                limit = LIMIT + 10 * max(self.recording.seconds[test] for test in tests)
                outcome, killer = watched(partial(do, mutant, tests), limit)
                if outcome is not Outcome.SURVIVED:
                    return outcome, killer
        return Outcome.SURVIVED, ""

    def _in_this_process(self, mutant: Mutant, tests: list[str]) -> int:
        apply(mutant.module, mutant.source)
        return not self.run(tests)


def _in_new_process(mutant: Mutant, tests: list[str]) -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(mutant.source)
        file.flush()
        command = [sys.executable, "-m", __spec__.name, mutant.module, file.name, *tests]
        return subprocess.call(command, cwd=settings.BASE_DIR)


def main(module: str, file: str, tests: list[str]) -> int:
    """Apply a mutant, then set up Django and run the tests until one fails."""
    import_module("cars.caching")
    apply(module, Path(file).read_text())
    set_up()
    with prepared_tests(tests) as run:
        return not run(tests)


# Applying


def apply(module: str, source: str) -> None:
    """Let the functions of a module of the recipe run the code that `source` has for them."""
    code = import_module(f"cars.caching.{module}")
    codes = {
        found.co_qualname: found for found in _codes(compile(source, str(code.__file__), "exec"))
    }
    for owner, function in functions_of(code):
        new = codes[function.__qualname__]
        if new.co_freevars == function.__code__.co_freevars:
            function.__code__ = new
        else:  # a method that doesn't call super() any more
            made = FunctionType(new, vars(code), function.__name__, function.__defaults__)
            setattr(owner, function.__name__, made)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def functions_of(owner: ModuleType | type) -> Iterator[tuple[ModuleType | type, FunctionType]]:
    """Yield the functions that are written in a module, also in its classes, and their owners."""
    name = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    for found in list(vars(owner).values()):
        value = _inside(found)
        if getattr(value, "__module__", "") != name:
            continue
        if isinstance(value, type) and isinstance(owner, ModuleType):
            yield from functions_of(value)
        elif isinstance(function := inspect.unwrap(value), FunctionType):
            if function.__code__.co_filename == sys.modules[name].__file__:
                yield owner, function


def _inside(found: Any) -> Any:
    """Return the function of a property or a method, and anything else as it is."""
    if isinstance(found, property):
        return found.fget
    return found.func if isinstance(found, cached_property) else getattr(found, "__func__", found)


# Watching


def watched(do: Callable[[], int], limit: float) -> tuple[Outcome, str]:
    """Call `do` in a process that is forked for it. Return what its exit status, which `do`
    returns, says of the mutant, and the test that has failed.

    It is killed, with all that it has started, when it has printed nothing for `limit` seconds.
    """
    with tempfile.TemporaryFile() as output:
        pid = os.fork()
        if not pid:
            _call_and_exit(do, output.fileno())
        status = None
        try:
            status = _status(pid, output.fileno(), limit)
        finally:
            if status is None:
                end_all(pid)
                os.waitpid(pid, 0)
        output.seek(0)
        failed = re.findall(rb"^(?:FAIL|ERROR): \w+ \((.*?)\)", output.read(), re.MULTILINE)
    if status is None:
        return Outcome.TIMED_OUT, ""
    if not status:
        return Outcome.SURVIVED, ""
    return Outcome.KILLED, failed[0].decode() if failed else ""


def _call_and_exit(do: Callable[[], int], output: int) -> NoReturn:
    status = 1
    try:
        os.setsid()  # a Ctrl-C in the terminal interrupts the command, which ends this process
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = do()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _status(pid: int, output: int, limit: float) -> int | None:
    """Wait for the exit status; return None if nothing has been printed for `limit` seconds."""
    size, since = 0, time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
        if size != (size := os.fstat(output).st_size):
            since = time.monotonic()
        elif time.monotonic() - since > limit:
            return None


def end_all(pid: int) -> None:
    """End a process and all that it has started, servers too, which have their own sessions."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.send_signal(signal.SIGSTOP)  # so that it starts no more
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
