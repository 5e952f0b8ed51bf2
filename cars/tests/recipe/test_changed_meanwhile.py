"""Mass writes of rows that others change between the choice of the rows and the UPDATE."""

from threading import Thread
from unittest import mock

from django.db import connection, connections
from django.db.models import F
from django.db.models.deletion import Collector
from django.test import TransactionTestCase

from cars.caching import queryset
from cars.caching.queryset import HoldingMixin
from cars.tests.support.assertions import HeldMixin
from cars.tests.support.caches import forget
from cars.tests.support.zoo.models import Keeper, Pet, Plain


def elsewhere(write):
    """Do `write` on another connection, and wait until it is committed."""
    errors = []

    def target():
        try:
            write()
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = Thread(target=target)
    thread.start()
    thread.join(30)
    if errors or thread.is_alive():
        raise AssertionError(f"not done elsewhere: {errors}")


class ChangedMeanwhileTests(HeldMixin, TransactionTestCase):
    """Of `Plain.objects.filter(name="a").update(number=9)`."""

    def setUp(self):
        forget()
        self.a, self.b = (Plain.objects.create(name=name, number=1) for name in "ab")

    def between(self, write):
        """Return a context in which `write` is done elsewhere once the rows are chosen."""
        pick = HoldingMixin._pick
        todo = [write]

        def picking(rows, *names):
            picked = pick(rows, *names)
            if todo:
                elsewhere(todo.pop())
            return picked

        return mock.patch.object(HoldingMixin, "_pick", picking)

    def update(self):
        return Plain.objects.filter(name="a").update(number=F("number") + 8)

    def assertNumbers(self, a, b):
        self.assertEqual([self.number(row.pk) for row in (self.a, self.b)], [a, b])
        for row in (self.a, self.b):
            self.assertRight(Plain, row.pk)

    def number(self, pk):
        row = Plain.objects.filter(pk=pk).first()
        return row and row.number

    def test_a_row_that_begins_to_match_stays_as_it_is(self):
        with self.between(lambda: Plain(pk=self.b.pk, name="a", number=2).save()):
            self.assertEqual(self.update(), 1)
        self.assertNumbers(9, 2)

    def test_a_row_that_matches_no_more_stays_as_it_is(self):
        with self.between(lambda: Plain(pk=self.a.pk, name="c", number=2).save()):
            self.assertEqual(self.update(), 0)
        self.assertNumbers(2, 1)

    def test_a_row_that_still_matches_is_updated_from_what_it_is_now(self):
        with self.between(lambda: Plain.objects.filter(name="a").update(number=2)):
            self.assertEqual(self.update(), 1)
        self.assertNumbers(10, 1)

    def test_a_row_that_is_gone_stays_gone(self):
        with self.between(lambda: Plain.objects.filter(name="a").delete()):
            self.assertEqual(self.update(), 0)
        self.assertNumbers(None, 1)

    def test_a_row_that_is_created_stays_as_it_is(self):
        with self.between(lambda: Plain.objects.create(pk=1000, name="a", number=2)):
            self.assertEqual(self.update(), 1)
        self.assertRight(Plain, 1000)
        self.assertEqual(self.number(1000), 2)

    def test_rows_that_are_updated_by_their_fields_come_under_the_new_pk(self):
        with self.between(lambda: Plain.objects.filter(name="a").update(number=2000)):
            Plain.objects.filter(name="a").update(id=F("number") + 1000)
        for pk in (self.a.pk, 1001, 3000):
            self.assertRight(Plain, pk)

    def test_a_row_is_not_found_a_second_time_under_the_pk_of_one_that_is_gone(self):
        with (
            mock.patch.object(queryset, "CHUNK", 1),
            self.between(lambda: Plain.objects.filter(name="b").delete()),
        ):
            Plain.objects.order_by("id").update(id=F("id") + 1)
        self.assertEqual(Plain.objects.get().pk, self.a.pk + 1)
        for pk in (self.a.pk, self.b.pk, self.b.pk + 1):
            self.assertRight(Plain, pk)

    def test_an_update_of_locked_rows_needs_no_transaction_of_ones_own(self):
        with self.assertHeld(self.a):
            Plain.objects.select_for_update().filter(name="a").update(number=5)
        self.assertNumbers(5, 1)


class ReferringMeanwhileTests(HeldMixin, TransactionTestCase):
    """Of a delete, which sets a foreign key of other rows to its default."""

    def test_a_row_that_refers_to_another_by_now_is_an_exception(self):
        # Django chooses those rows before it begins the transaction, sets them by their pks, and
        # tells nobody which: what one of them has been changed to meanwhile stays in the cache.
        forget()
        keeper, other = (Keeper.objects.create(name=name) for name in ("Ann", "Bob"))
        pet = Pet.objects.create(name="x", vet=keeper)
        delete = Collector.delete

        def deleting(collector):
            elsewhere(lambda: Pet.objects.filter(pk=pet.pk).update(vet=other))
            return delete(collector)

        with mock.patch.object(Collector, "delete", deleting):
            keeper.delete()
        self.assertIsNone(Pet.objects.get(pk=pet.pk).vet_id)
        self.assertEqual(Pet.objects.cache(pet.pk).vet_id, other.pk)
        Pet.objects.expire([pet.pk])
        self.assertRight(Pet, pet.pk)


if connection.vendor == "postgresql":
    # On SQLite nobody else writes while a transaction is open.

    class ChangedInTransactionTests(ChangedMeanwhileTests):
        """The same, right before the UPDATE, when the hold is on and the transaction open."""

        def between(self, write):
            todo = [write]

            def executing(execute, sql, params, many, context):
                if todo and sql.startswith('UPDATE "zoo_plain"'):
                    elsewhere(todo.pop())
                return execute(sql, params, many, context)

            return connection.execute_wrapper(executing)
