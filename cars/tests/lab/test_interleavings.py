from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase

from cars.lab.walks import cases
from cars.lab.walks.determined import world
from cars.lab.walks.rules import RULES, without
from cars.lab.walks.walk import replay, walk_all, walk_some
from cars.tests.support.caches import MemcachedMixin

POSTGRESQL = connection.vendor == "postgresql"
TWO_AND_TWO = 20_000  # schedules of two writers and two readers, at least


class Interleavings(TransactionTestCase):
    def assert_never_stale(self, findings):
        print(findings, flush=True)
        self.assertFalse(findings.wrong, findings.explain())


class InterleavingsTests(Interleavings):
    def test_one_writer_is_never_stale_in_any_schedule(self):
        for case in cases.ONE_WRITER:
            with self.subTest(case), world(case) as its:
                self.assert_never_stale(walk_all(its))

    def test_two_writers_are_never_stale_in_any_schedule(self):
        for case in cases.TWO_WRITERS if POSTGRESQL else cases.TWO_WRITERS_ON_SQLITE:
            with self.subTest(case), world(case) as its:
                self.assert_never_stale(walk_all(its))

    def test_schedules_left_out_have_no_other_outcome(self):
        for case, rule in cases.SMALL:
            with self.subTest(case, rule=rule), without(rule):
                with world(case) as its:
                    few = walk_all(its)
                    outcomes = its.outcomes
                with world(case) as its:
                    all_there_are = walk_all(its, prune=False)
                print(f"{case}: {few.schedules} instead of {all_there_are.schedules}", flush=True)
                self.assertLess(few.schedules, all_there_are.schedules)
                self.assertEqual(outcomes, its.outcomes)
                self.assertEqual(set(few.wrong), set(all_there_are.wrong))


class RulesTests(Interleavings):
    def test_without_any_of_the_rules_something_is_stale_and_can_be_seen_again(self):
        for rule in RULES:
            case = cases.CATCHES[rule]
            with self.subTest(rule), without(rule), world(case) as its:
                found = walk_all(its, enough=lambda findings: findings.wrong)
                print(f"without {rule!r}: {found}", flush=True)
                self.assertTrue({"stale hit", "stale at rest"} & set(found.wrong), found)
                for kind, (number, steps) in found.wrong.items():
                    _, again = replay(its, number).wrong[kind]
                    self.assertEqual(again[: len(steps)], steps)

    def test_the_recipe_of_2009_is_stale_and_serves_what_was_never_committed(self):
        found = set()
        for case in cases.RECIPE_2009:
            with world(case) as its:
                findings = walk_all(its)
            print(findings, flush=True)
            found |= set(findings.wrong)
        self.assertEqual(found, {"stale hit", "dirty hit", "stale at rest"})


class MemcachedInterleavingsTests(MemcachedMixin, Interleavings):
    def test_memcached_does_the_same_as_local_memory(self):
        servers = settings.MEMCACHED_SERVERS
        for rule in (None, "compare the token"):
            outcomes = []
            for cache in ("local", "memcached"):
                with without(rule), world("atomic read read", cache, servers) as its:
                    findings = walk_some(its, 200)
                print(f"{cache}: {findings}", flush=True)
                outcomes.append((its.outcomes, findings.wrong))
            self.assertEqual(*outcomes)
            self.assertEqual(bool(findings.wrong), bool(rule))


if POSTGRESQL:  # on SQLite one of two transactions waits for the other

    class TwoAndTwoTests(Interleavings):
        def test_two_writers_and_two_readers_are_never_stale_in_any_schedule(self):
            schedules = 0
            for case in cases.TWO_AND_TWO:
                with self.subTest(case), world(case) as its:
                    findings = walk_all(its)
                    self.assert_never_stale(findings)
                schedules += findings.schedules
            self.assertGreaterEqual(schedules, TWO_AND_TWO)
