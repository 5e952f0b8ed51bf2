"""Django's test runner, which compares the cache with the database in each test."""

import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any
from unittest import TestResult, TestSuite

from django.apps import apps
from django.core.cache import caches
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import TestCase, TransactionTestCase
from django.test.runner import DiscoverRunner
from django.test.utils import CaptureQueriesContext

from cars.caching import events

from .comparison import Comparison

LEFT_OUT = Path(__file__).with_name("left_out.txt")
QUERY_COUNT = "query count"  # a reason that begins so: only the number of queries isn't asserted


def left_out() -> dict[str, str]:
    """Return the reasons for which tests are left out, by the ids of the tests."""
    lines = LEFT_OUT.read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


class Runner(DiscoverRunner):
    """Runs the tests that are not left out, and compares in each that uses a database."""

    def build_suite(self, *args: Any, **kwargs: Any) -> TestSuite:
        """Return the suite of the tests to run, each prepared to compare."""
        reasons = left_out()
        tests: list[Any] = list(super().build_suite(*args, **kwargs))
        self.without: dict[str, str] = {}
        self.uncounted: dict[str, str] = {}
        self.comparisons: list[Comparison] = []
        kept = []
        for test in tests:
            reason = reasons.get(test.id(), "")
            if reason and not reason.startswith(QUERY_COUNT):
                self.without[test.id()] = reason
                continue
            kept.append(test)
            if reason:
                self.uncounted[test.id()] = reason
                test.assertNumQueries = count_nothing
            if isinstance(test, TransactionTestCase):
                self.comparisons.append(compare_in(test))
        return self.test_suite(kept)

    def suite_result(self, suite: TestSuite, result: TestResult, **kwargs: Any) -> int:
        """Print what was run, left out and failed; return the number of tests that failed."""
        cases = [case for case, _ in [*result.failures, *result.errors]]
        cases += result.unexpectedSuccesses
        failed = list(dict.fromkeys(getattr(case, "test_case", case).id() for case in cases))
        skipped = len(result.skipped) + len(result.expectedFailures)
        rows = sum(comparison.rows for comparison in self.comparisons)
        lines = [
            *(f"queries not counted: {test}: {reason}" for test, reason in self.uncounted.items()),
            *(f"left out: {test}: {reason}" for test, reason in self.without.items()),
            *(f"failed: {test}" for test in failed),
            f"{result.testsRun} tests run: {result.testsRun - skipped - len(failed)} passed "
            f"({len(self.uncounted)} without counting queries), {skipped} skipped or expected to "
            f"fail by Django, {len(failed)} failed. {len(self.without)} left out. "
            f"{rows:,} rows compared.",
        ]
        print(*lines, sep="\n", file=sys.stderr)
        return len(failed)


def count_nothing(
    number: int, function: Any = None, *args: Any, using: str = DEFAULT_DB_ALIAS, **kwargs: Any
) -> AbstractContextManager[Any] | None:
    """Do what assertNumQueries() does, without asserting the number."""
    context = CaptureQueriesContext(connections[using])
    if function is None:
        return context
    with context:
        function(*args, **kwargs)
    return None


def compare_in(test: Any) -> Comparison:
    """Let `test` compare what the cache serves, after its setUp() and at its end.

    First it reads all rows of its app through the cache, so that a write that the cache isn't told
    of leaves a row that is stale. A difference is a failure of the test.
    """
    app = apps.get_containing_app_config(type(test).__module__)
    comparison = Comparison(app.label if app else "")
    listening = ExitStack()
    set_up = test.setUp

    def set_up_and_warm() -> None:
        if not isinstance(test, TestCase):
            # Django has emptied the tables without a signal.
            caches["default"].clear()
        listening.enter_context(events.listen(comparison))
        set_up()
        report(comparison.warm(test.databases))

    def compare() -> None:
        with listening:
            report(comparison.compare(test.databases))

    def report(differences: list[str]) -> None:
        if differences:
            test.fail("The cache differs from the database: " + "; ".join(differences))

    test.setUp = set_up_and_warm
    test.addCleanup(compare)  # before all other cleanups, so it is called after them
    return comparison
