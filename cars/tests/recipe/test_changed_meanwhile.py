"""Mass writes whose rows another client changes just before their statement."""

from contextlib import contextmanager
from threading import Thread
from unittest import mock

from django.db import connection, connections
from django.db.models import F
from django.db.models.deletion import Collector
from django.test import TransactionTestCase

from cars.tests.support.assertions import HeldMixin
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Keeper, Pet, Plain


def write_on_another_connection(write):
    """Call `write` on another connection, and wait until it is committed."""
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
        raise AssertionError(f"not done in_another_thread: {errors}")


class ChangedMeanwhileTests(HeldMixin, TransactionTestCase):
    """The mass write is `Plain.objects.filter(name="a").update(number=9)`."""

    def setUp(self):
        empty_cache()
        self.a, self.b = (Plain.objects.create(name=name, number=1) for name in "ab")

    @contextmanager
    def between(self, write):
        """Let another client call `write` before the first statement of the block is executed."""
        todo = [write]

        def execute_later(execute, *arguments):
            if todo:
                write_on_another_connection(todo.pop())
            return execute(*arguments)

        with connection.execute_wrapper(execute_later):
            yield

    def update(self):
        return Plain.objects.filter(name="a").update(number=F("number") + 8)

    def assertNumbers(self, a, b):
        self.assertEqual([self.number(row.pk) for row in (self.a, self.b)], [a, b])
        for row in (self.a, self.b):
            self.assertRight(Plain, row.pk)

    def number(self, pk):
        row = Plain.objects.filter(pk=pk).first()
        return row and row.number

    def test_a_row_that_starts_to_match_is_updated_and_held(self):
        with self.between(lambda: Plain(pk=self.b.pk, name="a", number=2).save()):
            self.assertEqual(self.update(), 2)
        self.assertNumbers(9, 10)

    def test_a_row_that_no_longer_matches_is_not_updated(self):
        with self.between(lambda: Plain(pk=self.a.pk, name="c", number=2).save()):
            self.assertEqual(self.update(), 0)
        self.assertNumbers(2, 1)

    def test_a_row_that_still_matches_is_updated_from_its_current_values(self):
        with self.between(lambda: Plain.objects.filter(name="a").update(number=2)):
            self.assertEqual(self.update(), 1)
        self.assertNumbers(10, 1)

    def test_a_deleted_row_stays_deleted(self):
        with self.between(lambda: Plain.objects.filter(name="a").delete()):
            self.assertEqual(self.update(), 0)
        self.assertNumbers(None, 1)

    def test_a_created_row_is_updated_and_held(self):
        with self.between(lambda: Plain.objects.create(pk=1000, name="a", number=2)):
            self.assertEqual(self.update(), 2)
        self.assertRight(Plain, 1000)
        self.assertEqual(self.number(1000), 10)

    def test_a_row_that_starts_to_match_is_deleted_past_signals_and_held(self):
        with self.between(lambda: Plain.objects.filter(pk=self.b.pk).update(name="a")):
            self.assertEqual(Plain.objects.filter(name="a")._raw_delete("default"), 2)
        self.assertNumbers(None, None)

    def test_rows_whose_pk_is_updated_from_their_fields_are_right_under_both_pks(self):
        with self.between(lambda: Plain.objects.filter(name="a").update(number=2000)):
            Plain.objects.filter(name="a").update(id=F("number") + 1000)
        for pk in (self.a.pk, 1001, 3000):
            self.assertRight(Plain, pk)

    def test_a_row_that_takes_the_pk_of_a_deleted_row_is_not_updated_twice(self):
        with self.between(lambda: Plain.objects.filter(name="b").delete()):
            Plain.objects.order_by("id").update(id=F("id") + 1)
        self.assertEqual(Plain.objects.get().pk, self.a.pk + 1)
        for pk in (self.a.pk, self.b.pk, self.b.pk + 1):
            self.assertRight(Plain, pk)

    def test_an_update_after_select_for_update_needs_no_transaction_around_it(self):
        with self.assertHeld(self.a):
            Plain.objects.select_for_update().filter(name="a").update(number=5)
        self.assertNumbers(5, 1)
        Plain.objects.select_for_update().filter(name="a").update(id=F("id") + 1000)
        self.assertRight(Plain, self.a.pk + 1000)


class ReferringMeanwhileTests(HeldMixin, TransactionTestCase):
    """The exception "moved reference": a delete sets a foreign key of other rows to its default."""

    def test_a_row_that_refers_to_another_row_by_then_is_stale(self):
        # Django selects those rows before it begins the transaction, updates them by pk, and sends
        # no signal that names them: a row that was changed in between stays in the cache.
        empty_cache()
        keeper, other = (Keeper.objects.create(name=name) for name in ("Ann", "Bob"))
        pet = Pet.objects.create(name="x", vet=keeper)
        delete = Collector.delete

        def deleting(collector):
            write_on_another_connection(lambda: Pet.objects.filter(pk=pet.pk).update(vet=other))
            return delete(collector)

        with mock.patch.object(Collector, "delete", deleting):
            keeper.delete()
        self.assertIsNone(Pet.objects.get(pk=pet.pk).vet_id)
        self.assertEqual(Pet.objects.cache(pet.pk).vet_id, other.pk)
        Pet.objects.expire([pet.pk])
        self.assertRight(Pet, pet.pk)


if connection.vendor == "postgresql":
    # SQLite lets no other connection write while a transaction is open.

    class ChangedInTransactionTests(ChangedMeanwhileTests):
        """The same right before the statement, when the transaction is open."""

        def between(self, write):
            todo = [write]

            def executing(execute, sql, params, many, context):
                if todo and sql.startswith(('UPDATE "zoo_plain"', 'DELETE FROM "zoo_plain"')):
                    write_on_another_connection(todo.pop())
                return execute(sql, params, many, context)

            return connection.execute_wrapper(executing)
