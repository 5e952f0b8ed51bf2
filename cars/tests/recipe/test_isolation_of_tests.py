"""Tests never see each other's rows, and those of a project read through the cache as it does."""

from unittest.mock import patch

from django.core.cache import cache
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase

from cars.caching.entries import Holds
from cars.caching.testing import FreshCacheMixin
from cars.tests.support.caches import forget
from cars.tests.support.other_clients import heard, in_local_memory, read, standing
from cars.tests.support.zoo.models import Plain, Text

PK = 4711


class EachOtherTests(TestCase):
    """All of these make the same row; whichever runs first leaves it in the cache."""

    @classmethod
    def setUpTestData(cls):
        cls.shared = Plain.objects.create(name="shared")

    def look_and_leave_something(self, name):
        with self.assertRaises(Plain.DoesNotExist):
            Plain.objects.cache(PK)
        Plain.objects.create(pk=PK, name=name)
        self.assertEqual(read(PK), (name, "hit"))

    def test_one(self):
        self.look_and_leave_something("one")

    def test_two(self):
        self.look_and_leave_something("two")

    def change_the_shared_row(self, name):
        self.assertEqual(Plain.objects.cache(self.shared.pk).name, "shared")
        Plain(pk=self.shared.pk, name=name).save()
        self.assertEqual(read(self.shared.pk), (name, "hit"))

    def test_a_change_of_a_row_of_the_class_is_not_the_next_ones(self):
        self.change_the_shared_row("changed")

    def test_another_change_of_a_row_of_the_class_is_not_the_next_ones(self):
        self.change_the_shared_row("changed otherwise")


class HoldsOfEachOtherTests(TestCase):
    """Whichever runs first leaves a hold behind, unsettled, which is nobody's in the next."""

    def leave_a_hold(self):
        self.assertNotIsInstance(standing(f"Plain.{PK}"), Holds)
        with self.assertRaises(ValueError), transaction.atomic():
            Plain(pk=PK, name="undone").save()
            raise ValueError
        self.assertIsInstance(standing(f"Plain.{PK}"), Holds)

    def test_a_hold_that_is_left_is_not_the_next_ones(self):
        self.leave_a_hold()

    def test_another_hold_that_is_left_is_not_the_next_ones(self):
        self.leave_a_hold()


class RowsOfTheClassTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.shared = Plain.objects.create(name="shared")
        cache.set("greeting", "hello")

    def test_what_the_application_stores_for_the_class_is_found(self):
        self.assertEqual(cache.get("greeting"), "hello")

    def test_a_row_of_the_class_is_a_miss_at_first(self):
        self.assertEqual(read(self.shared.pk), ("shared", "miss"))
        self.assertEqual(read(self.shared.pk), ("shared", "hit"))


class ProjectTests(TestCase):
    """What the tests of a project do."""

    def test_no_query_after_a_save_and_one_with_an_empty_cache(self):
        row = Plain.objects.create(name="one")
        row.name = "two"
        row.save()
        with self.assertNumQueries(0):
            self.assertEqual(Plain.objects.cache(row.pk).name, "two")
        forget()
        with self.assertNumQueries(1):
            self.assertEqual(Plain.objects.cache(row.pk).name, "two")

    def test_a_block_waits_for_its_end(self):
        row = Plain.objects.create(name="one")
        with transaction.atomic():
            Plain.objects.update(name="two")
            self.assertEqual(read(row.pk), ("two", "held"))
        with self.assertNumQueries(1):  # the release: no commit hook runs inside a TestCase
            self.assertEqual(read(row.pk), ("two", "hit"))

    def test_a_block_that_is_undone_is_withdrawn(self):
        row = Plain.objects.create(name="one")
        with self.assertRaises(ValueError), transaction.atomic():
            Plain.objects.update(name="two")
            raise ValueError
        self.assertEqual(read(row.pk), ("one", "miss"))

    def test_captured_commit_callbacks_release(self):
        row = Plain.objects.create(name="one")
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            Plain.objects.update(name="two")
        with self.assertNumQueries(0):
            self.assertEqual(read(row.pk), ("two", "hit"))

    def test_callbacks_that_are_captured_only_are_no_obstacle(self):
        row = Plain.objects.create(name="one")
        with self.captureOnCommitCallbacks() as callbacks, transaction.atomic():
            Plain.objects.update(name="two")
        self.assertEqual(read(row.pk), ("two", "hit"))
        for callback in callbacks:
            callback()
        self.assertEqual(read(row.pk), ("two", "hit"))

    def test_a_durable_block_is_a_transaction(self):
        row = Plain.objects.create(name="one")
        with transaction.atomic(durable=True):
            Plain.objects.update(name="two")
            self.assertEqual(read(row.pk), ("two", "held"))
        self.assertEqual(read(row.pk), ("two", "hit"))

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
class LocalMemoryEachOtherTests(EachOtherTests):
    pass


@in_local_memory
class LocalMemoryHoldsOfEachOtherTests(HoldsOfEachOtherTests):
    pass


class LeftoverTests(FreshCacheMixin, TransactionTestCase):
    """Whichever runs first leaves a row; Django deletes it past every signal."""

    def look_and_leave_something(self):
        with self.assertRaises(Text.DoesNotExist):
            Text.objects.cache("leftover")
        Text.objects.create(id="leftover")
        with heard() as outcomes:
            Text.objects.cache("leftover")
        self.assertEqual(outcomes, ["hit"])

    def test_one(self):
        self.look_and_leave_something()

    def test_two(self):
        self.look_and_leave_something()


@in_local_memory
class LocalMemoryLeftoverTests(LeftoverTests):
    pass
