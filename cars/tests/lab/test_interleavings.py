import shlex
from contextlib import nullcontext
from io import StringIO
from unittest import mock

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TransactionTestCase, tag

from cars.lab.walks import cases
from cars.lab.walks.determined import determined_world
from cars.lab.walks.rules import RULES, without
from cars.lab.walks.walk import replay, walk_all, walk_some
from cars.tests.support.caches import MemcachedMixin

POSTGRESQL = connection.vendor == "postgresql"
TWO_AND_TWO = 20_000  # schedules of two writers and two readers, at least


class Interleavings(TransactionTestCase):
    def assert_never_stale(self, findings):
        print(findings, flush=True)
        self.assertFalse(findings.wrong, findings.explain())


# One writer waits for no lock, so it does the same on every database. With another writer it stands
# on PostgreSQL too, in TwoWritersTests.
@tag("any-database")
class OneWriterTests(Interleavings):
    def test_one_writer_is_never_stale_in_any_schedule(self):
        for case in cases.ONE_WRITER:
            with self.subTest(case), determined_world(case) as world:
                self.assert_never_stale(walk_all(world))


class TwoWritersTests(Interleavings):
    cases = cases.TWO_WRITERS if POSTGRESQL else cases.TWO_WRITERS_ON_SQLITE

    def test_two_writers_are_never_stale_in_any_schedule(self):
        for case in self.cases:
            with self.subTest(case), determined_world(case) as world:
                self.assert_never_stale(walk_all(world))


@tag("any-database")
class OutagesTests(Interleavings):
    def test_no_row_is_stale_after_an_outage_once_a_reader_has_looked(self):
        for case in cases.OUTAGES:
            with self.subTest(case), determined_world(case) as world:
                self.assert_never_stale(walk_all(world))


@tag("any-database")
class PruningTests(Interleavings):
    def test_the_schedules_left_out_have_no_other_outcome(self):
        for case, rule in cases.SMALL:
            with self.subTest(case, rule=rule), without(rule):
                with determined_world(case) as world:
                    few = walk_all(world)
                    outcomes = world.outcomes
                with determined_world(case) as world:
                    every = walk_all(world, prune=False)
                print(f"{case}: {few.schedules} instead of {every.schedules}", flush=True)
                self.assertLess(few.schedules, every.schedules)
                self.assertEqual(outcomes, world.outcomes)
                self.assertEqual(set(few.wrong), set(every.wrong))


@tag("any-database")
class RulesTests(Interleavings):
    def test_without_any_of_the_rules_a_read_is_stale_and_can_be_replayed(self):
        for rule in RULES:
            case = cases.CATCHES[rule]
            with self.subTest(rule), without(rule), determined_world(case) as world:
                found = walk_all(world, enough=lambda findings: findings.wrong)
                print(found, flush=True)
                self.assertTrue({"stale hit", "stale at rest"} & set(found.wrong), found)
                for kind, (number, steps) in found.wrong.items():
                    _, again = replay(world, number).wrong[kind]
                    self.assertEqual(again[: len(steps)], steps)

    def test_the_recipe_of_2009_serves_stale_and_uncommitted_rows(self):
        found = set()
        for case in cases.RECIPE_2009:
            with determined_world(case) as world:
                findings = walk_all(world)
            print(findings, flush=True)
            found |= set(findings.wrong)
        self.assertEqual(found, {"stale hit", "dirty hit", "stale at rest"})


@tag("any-database")
class CommandTests(TransactionTestCase):
    """What `manage.py interleavings` says."""

    def run_command(self, *arguments):
        """Return what the command prints, and the error that it ends with, or None."""
        out = StringIO()
        # The tests' own database is a test database with the lab's models already.
        with mock.patch(
            "cars.management.commands.interleavings.test_database", return_value=nullcontext()
        ):
            try:
                call_command("interleavings", *arguments, stdout=out)
            except CommandError as error:
                return out.getvalue(), str(error)
        return out.getvalue(), None

    def test_a_case_without_a_problem_is_never_stale(self):
        printed, error = self.run_command("--case", "atomic read")
        self.assertIn("never stale", printed)
        self.assertNotIn("Nothing was found", printed)
        self.assertIsNone(error)

    def test_the_printed_command_runs_the_same_schedule_again(self):
        printed, _ = self.run_command("--without", "compare the token")
        explained = printed[printed.index("stale hit: manage.py") :]
        line, *steps = explained.splitlines()[:20]
        _, *arguments = shlex.split(line.removeprefix("stale hit: manage.py "))
        self.assertIn("compare the token", arguments)
        replayed, error = self.run_command(*arguments)
        self.assertIn("stale hit", replayed)
        self.assertIn("as expected, something is wrong", error)
        first = [step.strip() for step in replayed.splitlines()[:3]]
        self.assertEqual(first, [step.strip() for step in steps[:3]])

    def test_without_a_case_the_command_walks_the_case_that_needs_the_rule(self):
        printed, error = self.run_command("--without", "compare the token")
        self.assertIn("atomic read read, without 'compare the token'", printed)
        self.assertIn("something is wrong in: atomic read read", error)

    def test_for_a_case_that_does_not_need_the_rule_the_command_names_one_that_does(self):
        printed, error = self.run_command("--without", "compare the token", "--case", "save")
        self.assertIn(
            "Nothing was found for the case 'save' without 'compare the token'.\n"
            "The case 'atomic read read' needs that rule.",
            printed,
        )
        self.assertIsNone(error)

    def test_the_error_for_an_unknown_word_lists_the_words(self):
        _, error = self.run_command("--case", "save reed")
        self.assertIn("'reed'", error)
        for word in ("save", "read-atomic", "cached", "killed", "2009"):
            self.assertIn(word, error)

    def test_the_error_for_an_unknown_rule_lists_the_rules(self):
        _, error = self.run_command("--without", "compare the tokens")
        for rule in RULES:
            self.assertIn(rule, error)


@tag("any-database")
class MemcachedInterleavingsTests(MemcachedMixin, Interleavings):
    def test_memcached_does_the_same_as_local_memory(self):
        servers = settings.MEMCACHED_SERVERS
        for rule in (None, "compare the token"):
            outcomes = []
            for cache in ("local", "memcached"):
                with (
                    without(rule),
                    determined_world("atomic read read", cache, servers) as world,
                ):
                    findings = walk_some(world, 200)
                print(f"{cache}: {findings}", flush=True)
                outcomes.append((world.outcomes, findings.wrong))
            self.assertEqual(*outcomes)
            self.assertEqual(bool(findings.wrong), bool(rule))


if POSTGRESQL:  # on SQLite one of two transactions waits for the other
    # Several classes, since a class is what the workers of --parallel share out.

    class TwoWritersWithALossTests(TwoWritersTests):
        cases = cases.TWO_WRITERS_WITH_A_LOSS

    class TwoAndTwoTests(Interleavings):
        cases = cases.TWO_AND_TWO

        def test_two_writers_and_two_readers_are_never_stale_in_any_schedule(self):
            schedules = 0
            for case in self.cases:
                with self.subTest(case), determined_world(case) as world:
                    findings = walk_all(world)
                    self.assert_never_stale(findings)
                schedules += findings.schedules
            self.assertGreaterEqual(schedules, TWO_AND_TWO)

    class TwoAndTwoWithARollbackTests(TwoAndTwoTests):
        cases = cases.TWO_AND_TWO_WITH_A_ROLLBACK
