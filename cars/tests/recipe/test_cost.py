"""What a read and a write cost."""

from django.db import transaction
from django.test import TransactionTestCase

from cars.tests.support.costs import CostMixin
from cars.tests.support.zoo.models import Keeper, Plain


class ReadCostTests(CostMixin, TransactionTestCase):
    """One `get` for a hit; one SELECT and little more for a miss."""

    def rows(self, number):
        """Create rows that are not cached, and return their pks."""
        created = Plain.objects.bulk_create(Plain(name=str(n)) for n in range(number))
        self.empty()
        return [row.pk for row in created]

    def test_a_hit_is_one_get_and_nothing_else(self):
        (pk,) = self.rows(1)
        Plain.objects.cache(pk)
        with self.counted() as cost:
            Plain.objects.cache(pk)
        self.assertEqual(cost.queries, [])
        self.assertEqual(cost.commands, {"get": 1, "set": 0, "other": 0})
        self.assertEqual(cost.round_trips, 1)

    def test_a_hit_in_a_transaction_is_one_get_and_nothing_else(self):
        (pk,) = self.rows(1)
        Plain.objects.cache(pk)
        with transaction.atomic():
            with self.counted() as cost:
                Plain.objects.cache(pk)
        self.assertEqual(cost.queries, [])
        self.assertEqual(cost.commands, {"get": 1, "set": 0, "other": 0})

    def test_many_hits_are_one_round_trip(self):
        pks = self.rows(25)
        Plain.objects.cache_many(pks)
        with self.counted() as cost:
            self.assertEqual(len(Plain.objects.cache_many(pks)), 25)
        self.assertEqual(cost.queries, [])
        self.assertEqual(cost.commands, {"get": 25, "set": 0, "other": 0})
        self.assertEqual(cost.round_trips, 1)

    def test_a_miss_is_one_select_and_at_most_four_commands(self):
        (pk,) = self.rows(1)
        with self.counted() as cost:
            Plain.objects.cache(pk)
        self.assertEqual((len(cost.queries), cost.selects), (1, 1))
        self.assertLessEqual(cost.total, 4)
        self.assertLessEqual(cost.round_trips, 4)

    def test_a_row_that_does_not_exist_costs_no_more_than_a_miss(self):
        with self.counted() as cost, self.assertRaises(Plain.DoesNotExist):
            Plain.objects.cache(1)
        self.assertEqual((len(cost.queries), cost.selects), (1, 1))
        self.assertLessEqual(cost.total, 4)

    def test_a_miss_in_a_transaction_costs_one_select_more_after_the_commit(self):
        (pk,) = self.rows(1)
        with self.counted() as cost:
            with transaction.atomic():
                Plain.objects.cache(pk)
        self.assertEqual(cost.selects, 2)
        self.assertLessEqual(cost.total, 4)

    def test_a_row_that_a_transaction_misses_and_deletes_is_selected_once_after_the_commit(self):
        (pk,) = self.rows(1)
        with self.counted() as cost:
            with transaction.atomic():
                Plain.objects.cache(pk)
                Plain(pk=pk).delete()
        self.assertEqual(cost.selects, 2)

    def test_many_misses_are_one_select_and_as_many_round_trips_as_one(self):
        for number in (2, 25, 400):
            with self.subTest(number):
                pks = self.rows(number)
                with self.counted() as cost:
                    self.assertEqual(len(Plain.objects.cache_many(pks)), number)
                self.assertEqual((len(cost.queries), cost.selects), (1, 1))
                self.assertLessEqual(cost.round_trips, 4)

    def test_misses_among_hits_are_one_select_and_no_more_round_trips(self):
        pks = self.rows(25)
        Plain.objects.cache_many(pks[:10])
        with self.counted() as cost:
            self.assertEqual(list(Plain.objects.cache_many(pks)), pks)
        self.assertEqual((len(cost.queries), cost.selects), (1, 1))
        self.assertLessEqual(cost.round_trips, 4)
        self.assertLessEqual(cost.total, 25 + 15 * 3)


class WriteCostTests(CostMixin, TransactionTestCase):
    """At most one SELECT and six cache commands more than for an uncached model."""

    def setUp(self):
        self.cached = Plain.objects.create(name="a")
        self.uncached = Keeper.objects.create(name="a")

    def assertCheap(self, write, times=1):
        """Assert that `write(cached)` costs little more than `write(uncached)`."""
        with self.counted() as plain:
            write(self.uncached)
        self.assertEqual(plain.total, 0)
        with self.counted() as cost:
            write(self.cached)
        self.assertLessEqual(cost.selects - plain.selects, times)
        self.assertLessEqual(len(cost.queries) - len(plain.queries), times)
        self.assertGreater(cost.total, 0)
        self.assertLessEqual(cost.total, 6 * times)

    def test_a_save_in_autocommit_is_cheap(self):
        self.assertCheap(lambda instance: instance.save())

    def test_a_save_of_a_row_that_is_not_cached_is_cheap(self):
        self.empty()
        self.assertCheap(lambda instance: instance.save())

    def test_a_save_in_a_transaction_is_cheap(self):
        def write(instance):
            with transaction.atomic():
                instance.save()

        self.assertCheap(write)

    def test_two_saves_in_one_transaction_are_cheap(self):
        def write(instance):
            with transaction.atomic():
                instance.save()
                instance.save()

        self.assertCheap(write, times=2)

    def test_a_create_in_autocommit_is_cheap(self):
        self.assertCheap(lambda instance: type(instance).objects.create(name="b"))

    def test_a_create_in_autocommit_is_two_round_trips_to_the_cache(self):
        with self.counted() as cost:
            Plain.objects.create(name="b")
        self.assertEqual((cost.selects, cost.round_trips), (1, 2))

    def test_a_save_of_a_cached_row_is_three_round_trips_to_the_cache(self):
        Plain.objects.cache(self.cached.pk)
        with self.counted() as cost:
            self.cached.save()
        self.assertEqual((cost.selects, cost.round_trips), (1, 3))

    def test_a_create_in_a_transaction_is_cheap(self):
        def write(instance):
            with transaction.atomic():
                type(instance).objects.create(name="b")

        self.assertCheap(write)

    def test_a_create_with_a_given_pk_is_cheap(self):
        self.assertCheap(lambda instance: type(instance)(pk=77, name="b").save())

    def test_a_save_that_is_rolled_back_is_cheap(self):
        def write(instance):
            with transaction.atomic():
                instance.save()
                transaction.set_rollback(True)
            Plain.objects.cache_many([])  # withdraws the hold

        self.assertCheap(write)

    def test_a_delete_is_cheap(self):
        with self.counted() as cost:
            self.cached.delete()
        self.assertLessEqual(cost.total, 6)


class MassWriteCostTests(CostMixin, TransactionTestCase):
    """Eight round trips for a thousand rows: a hold and a release, which each read and write."""

    MOST = 8

    def assertFewRoundTrips(self, write):
        """Assert that `write(rows)` takes at most MOST round trips for a thousand rows."""
        for thousands in (1, 2):
            rows = Plain.objects.bulk_create(Plain(name="a") for _ in range(1000 * thousands))
            Plain.objects.cache_many([row.pk for row in rows])
            with self.subTest(thousands=thousands), self.counted() as cost:
                write(rows)
            self.assertGreater(cost.round_trips, 0)
            self.assertLessEqual(cost.round_trips, self.MOST * thousands)
            self.assertLessEqual(cost.total, 6 * len(rows))
            Plain.objects.all().delete()

    def test_an_update_takes_few_round_trips(self):
        self.assertFewRoundTrips(lambda rows: Plain.objects.update(number=1))

    def test_an_update_in_a_transaction_takes_few_round_trips(self):
        def write(rows):
            with transaction.atomic():
                Plain.objects.update(number=1)

        self.assertFewRoundTrips(write)

    def test_a_bulk_update_takes_few_round_trips(self):
        self.assertFewRoundTrips(lambda rows: Plain.objects.bulk_update(rows, ["number"]))

    def test_a_bulk_create_that_updates_takes_few_round_trips(self):
        def write(rows):
            Plain.objects.bulk_create(
                rows, update_conflicts=True, unique_fields=["id"], update_fields=["number"]
            )

        self.assertFewRoundTrips(write)

    def test_a_delete_is_cheap(self):
        self.assertFewRoundTrips(lambda rows: Plain.objects.all().delete())

    def test_expire_takes_few_round_trips(self):
        self.assertFewRoundTrips(lambda rows: Plain.objects.expire(row.pk for row in rows))
