"""Each TestCase has a namespace for the recipe's keys, so tests never see each other's entries."""

from unittest.mock import patch

from django.core.cache import cache
from django.db import connection, connections, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from cars.caching.entries import Holds, Row
from cars.caching.testing import FreshCacheMixin
from cars.caching.transactions import TRANSACTION
from cars.tests.support.caches import empty_cache
from cars.tests.support.other_clients import (
    entry_under,
    in_another_thread,
    in_local_memory,
    read,
    recorded_outcomes,
)
from cars.tests.support.zoo.models import Plain, Text

PK = 4711
KEY = f"Plain.{PK}"


def outcomes_of_missing(pk):
    """Read the row `pk`, which doesn't exist, through the cache; return the outcomes."""
    with recorded_outcomes() as outcomes:
        try:
            Plain.objects.cache(pk)
        except Plain.DoesNotExist:
            return outcomes
    raise AssertionError(f"there is a row {pk}: {outcomes}")


class RowsOfOtherTestsTests(TestCase):
    """Two tests cache the same row: the second one must not find the row of the first."""

    @classmethod
    def setUpTestData(cls):
        cls.shared = Plain.objects.create(name="shared")

    def find_nothing_and_leave_a_row(self, name):
        self.assertIsNone(entry_under(KEY))
        self.assertIn("miss", outcomes_of_missing(PK))
        Plain.objects.create(pk=PK, name=name)
        self.assertEqual(read(PK), (name, "hit"))

    def test_a_created_row_is_not_seen_by_another_test(self):
        self.find_nothing_and_leave_a_row("one")

    def test_another_created_row_is_not_seen_by_another_test(self):
        self.find_nothing_and_leave_a_row("two")

    def change_the_shared_row(self, name):
        self.assertEqual(Plain.objects.cache(self.shared.pk).name, "shared")
        Plain(pk=self.shared.pk, name=name).save()
        self.assertEqual(read(self.shared.pk), (name, "hit"))

    def test_a_change_of_a_row_of_setuptestdata_is_not_seen_by_another_test(self):
        self.change_the_shared_row("changed")

    def test_another_change_of_a_row_of_setuptestdata_is_not_seen_by_another_test(self):
        self.change_the_shared_row("changed otherwise")


class HoldsOfOtherTestsTests(TestCase):
    """Two tests each leave a hold and its Transaction: the second must find none of the first."""

    def find_nothing_and_leave_a_hold(self):
        self.assertIsNone(entry_under(KEY))
        before = vars(connections["default"]).get(TRANSACTION)  # the Transaction of the first test
        # In a block, a Transaction that were not left behind would count as still under way.
        with self.assertRaises(ValueError), transaction.atomic():
            self.assertEqual(outcomes_of_missing(PK), ["miss"])
            self.assertIsNot(vars(connections["default"])[TRANSACTION], before)
            Plain(pk=PK, name="undone").save()
            raise ValueError
        self.assertIsInstance(entry_under(KEY), Holds)

    def test_a_hold_is_not_seen_by_another_test(self):
        self.find_nothing_and_leave_a_hold()

    def test_another_hold_is_not_seen_by_another_test(self):
        self.find_nothing_and_leave_a_hold()


class SetUpTestDataTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.shared = Plain.objects.create(name="shared")

    def test_a_row_of_setuptestdata_is_a_miss_at_first(self):
        self.assertEqual(read(self.shared.pk), ("shared", "miss"))
        self.assertEqual(read(self.shared.pk), ("shared", "hit"))


class ApplicationKeyTests(TestCase):
    """The namespace is for the recipe's keys; the application's keys are the same everywhere."""

    @classmethod
    def setUpClass(cls):
        cache.set("from-outside", 1)
        super().setUpClass()

    @classmethod
    def setUpTestData(cls):
        cls.found = cache.get("from-outside")
        cache.set("from-setuptestdata", 2)

    def test_setuptestdata_finds_a_value_from_outside(self):
        self.assertEqual(self.found, 1)

    def test_a_test_finds_values_from_outside_and_from_setuptestdata(self):
        self.assertEqual(cache.get("from-outside"), 1)
        self.assertEqual(cache.get("from-setuptestdata"), 2)
        cache.set("from-a-test", 3)
        self.assertEqual(cache.get("from-a-test"), 3)

    def test_a_thread_finds_values_from_a_test_and_from_setuptestdata(self):
        cache.set("from-a-test", 3)
        self.assertEqual(in_another_thread(cache.get, "from-a-test"), 3)
        self.assertEqual(in_another_thread(cache.get, "from-setuptestdata"), 2)


class OutsideTests(SimpleTestCase):
    def test_an_application_key_works_without_a_testcase(self):
        cache.set("greeting", "hello")
        self.assertEqual(cache.get("greeting"), "hello")


class ThreadInTestCaseTests(TestCase):
    """A thread has other connections, which are in no block of the test."""

    def test_a_thread_does_not_see_the_entries_of_the_test(self):
        row = Plain.objects.create(name="one")
        Plain.objects.cache(row.pk)
        self.assertIsInstance(entry_under(row.key()), Row)
        self.assertIsNone(in_another_thread(entry_under, row.key()))
        self.assertIsNone(in_another_thread(cache.get, row.key()))


class TwoDatabasesInTestCaseTests(TestCase):
    """A test with two databases, each in a block, has one namespace."""

    databases = {"default", "archive"}

    @classmethod
    def setUpTestData(cls):
        cls.here = Plain.objects.create(pk=PK, name="here")
        cls.there = Plain.objects.using("archive").create(pk=PK, name="there")

    def assertServed(self, here, there):
        """Assert that each database serves its row from the cache."""
        with self.assertNumQueries(0), self.assertNumQueries(0, using="archive"):
            self.assertEqual(Plain.objects.cache(PK).name, here)
            self.assertEqual(Plain.objects.db_manager("archive").cache(PK).name, there)

    def read_and_change(self, name):
        self.assertIsNone(entry_under(KEY))
        self.assertIsNone(entry_under(f"{KEY}@archive"))
        self.assertEqual(Plain.objects.cache(PK).name, "here")
        self.assertEqual(Plain.objects.db_manager("archive").cache(PK).name, "there")
        self.assertServed("here", "there")
        Plain(pk=PK, name=name).save(using="archive")
        self.assertServed("here", name)
        Plain(pk=PK, name=name).save()
        self.assertServed(name, name)

    def test_each_database_serves_its_row(self):
        self.read_and_change("changed")

    def test_each_database_serves_its_row_in_another_test(self):
        self.read_and_change("changed otherwise")

    def test_a_block_on_the_second_database_releases_or_withdraws(self):
        archived = Plain.objects.db_manager("archive")
        for undone in (True, False):
            try:
                with transaction.atomic(using="archive"):
                    archived.filter(pk=PK).update(name="new")
                    self.assertIsInstance(entry_under(f"{KEY}@archive"), Holds)
                    if undone:
                        raise ValueError
            except ValueError:
                pass
            name = "there" if undone else "new"
            self.assertEqual(archived.cache(PK).name, name)
            with self.assertNumQueries(0, using="archive"):
                self.assertEqual(archived.cache(PK).name, name)


class ProjectTests(TestCase):
    """Tests as a project writes them."""

    def test_a_read_runs_no_query_after_a_save_and_one_with_an_empty_cache(self):
        row = Plain.objects.create(name="one")
        row.name = "two"
        row.save()
        with self.assertNumQueries(0):
            self.assertEqual(Plain.objects.cache(row.pk).name, "two")
        empty_cache()
        with self.assertNumQueries(1):
            self.assertEqual(Plain.objects.cache(row.pk).name, "two")

    def test_after_a_block_its_rows_are_misses_once(self):
        row = Plain.objects.create(name="one")
        with transaction.atomic():
            Plain.objects.update(name="two")
            self.assertEqual(read(row.pk), ("two", "held"))
        # Inside a TestCase no commit hook runs: the holds are withdrawn at the next use.
        with self.assertNumQueries(1):
            self.assertEqual(read(row.pk), ("two", "miss"))
        self.assertEqual(read(row.pk), ("two", "hit"))

    def test_the_hold_of_a_block_that_is_rolled_back_is_withdrawn(self):
        row = Plain.objects.create(name="one")
        with self.assertRaises(ValueError), transaction.atomic():
            Plain.objects.update(name="two")
            raise ValueError
        self.assertEqual(read(row.pk), ("one", "miss"))

    def test_a_test_that_captures_callbacks_finds_its_own_only(self):
        row = Plain.objects.create(name="one")
        empty_cache()
        with self.captureOnCommitCallbacks(execute=True) as callbacks, transaction.atomic():
            Plain.objects.cache(row.pk)
            Plain.objects.update(name="two")
            transaction.on_commit(lambda: None)
        self.assertEqual(len(callbacks), 1)
        self.assertEqual(read(row.pk), ("two", "miss"))

    def test_a_durable_block_counts_as_a_transaction(self):
        row = Plain.objects.create(name="one")
        with transaction.atomic(durable=True):
            Plain.objects.update(name="two")
            self.assertEqual(read(row.pk), ("two", "held"))
        self.assertEqual(read(row.pk), ("two", "miss"))

    def test_rows_of_another_parallel_worker_are_misses(self):
        row = Plain.objects.create(name="one")
        settings = connections["default"].settings_dict
        with patch.dict(settings, NAME=f"{settings['NAME']}_2"):
            self.assertIsNone(cache.get(row.key()))
        self.assertIsNotNone(cache.get(row.key()))

    if connection.vendor == "postgresql":

        def test_rows_of_another_server_are_misses(self):
            row = Plain.objects.create(name="one")
            for other in ({"HOST": "db.example.com"}, {"PORT": "5433"}):
                with patch.dict(connection.settings_dict, other):
                    self.assertIsNone(cache.get(row.key()))


@in_local_memory
class LocalMemoryRowsOfOtherTestsTests(RowsOfOtherTestsTests):
    pass


@in_local_memory
class LocalMemoryHoldsOfOtherTestsTests(HoldsOfOtherTestsTests):
    pass


class LeftoverTests(FreshCacheMixin, TransactionTestCase):
    """Two tests create the same row, which Django then deletes without signals (TRUNCATE)."""

    def find_nothing_and_leave_a_row(self):
        with self.assertRaises(Text.DoesNotExist):
            Text.objects.cache("leftover")
        Text.objects.create(id="leftover")
        with recorded_outcomes() as outcomes:
            Text.objects.cache("leftover")
        self.assertEqual(outcomes, ["hit"])

    def test_a_row_is_not_seen_by_another_test(self):
        self.find_nothing_and_leave_a_row()

    def test_another_row_is_not_seen_by_another_test(self):
        self.find_nothing_and_leave_a_row()


@in_local_memory
class LocalMemoryLeftoverTests(LeftoverTests):
    pass
