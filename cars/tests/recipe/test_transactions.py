"""How holds end, for each way in which a transaction can end."""

import logging
from types import SimpleNamespace
from unittest.mock import patch

from django.db import DatabaseError, connection, connections, transaction
from django.test import SimpleTestCase

from cars.caching import protocol, transactions
from cars.caching.entries import Holds
from cars.caching.transactions import TRANSACTION, Transaction
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_another_thread,
    in_local_memory,
    read,
)
from cars.tests.support.zoo.models import Plain


class Undone(Exception):
    """Raised to roll a block back."""


class DriverTests(SimpleTestCase):
    def test_a_driver_that_does_not_tell_of_transactions_is_in_none(self):
        driver = {"vendor": "mysql", "connection": object(), "autocommit": True}
        connection = SimpleNamespace(in_atomic_block=False, **driver)
        self.assertFalse(transactions.in_transaction(connection))


class CommitTests(ClientsTestCase):
    def test_a_row_is_held_from_the_save_to_the_commit_and_served_afterwards(self):
        with transaction.atomic():
            self.rename()
            self.assertIsInstance(entry_under(self.key), Holds)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
            self.assertIsInstance(entry_under(self.key), Holds)
        with self.assertNumQueries(0):
            self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_the_commit_fills_from_a_fresh_select(self):
        self.plain.name, self.plain.number = 123, "5"
        with transaction.atomic():
            self.plain.save(update_fields=["number"])
        found = Plain.objects.cache(self.plain.pk)
        self.assertEqual((found.name, found.number), ("old", 5))

    def test_the_writer_reads_the_row_that_it_holds_from_the_database(self):
        with transaction.atomic():
            self.rename()
            self.assertEqual(read(self.plain.pk), ("new", "held"))

    def test_the_writer_reads_what_it_has_written_even_if_its_hold_was_lost(self):
        pk = self.plain.pk
        with transaction.atomic():
            self.rename()
            evict(self.key)
            self.assertEqual(in_another_thread(read, pk), ("old", "miss"))  # and fills
            self.assertEqual(read(pk), ("new", "held"))
            self.assertEqual(Plain.objects.cache_many([pk])[pk].name, "new")

    def test_a_transaction_is_served_hits_of_rows_that_it_does_not_hold(self):
        other = Plain.objects.create(name="other")
        with transaction.atomic():
            self.rename()
            with self.assertNumQueries(0):
                self.assertEqual(read(other.pk), ("other", "hit"))

    def test_a_transaction_fills_what_it_missed_only_after_its_commit(self):
        connection.cursor().execute("UPDATE zoo_plain SET name = 'raw'")
        Plain.objects.expire([self.plain.pk])
        evict(self.key)
        with transaction.atomic():
            self.assertEqual(read(self.plain.pk), ("raw", "miss"))
            self.assertEqual(read(self.plain.pk), ("raw", "miss"))
            self.assertIsNone(entry_under(self.key))
        with self.assertNumQueries(0):
            self.assertEqual(read(self.plain.pk), ("raw", "hit"))

    def test_a_transaction_that_read_a_missing_row_leaves_nothing(self):
        with transaction.atomic(), self.assertRaises(Plain.DoesNotExist):
            Plain.objects.cache(self.plain.pk + 1)
        self.assertIsNone(entry_under(f"Plain.{self.plain.pk + 1}"))

    def test_a_row_created_in_a_transaction_is_not_seen_before_the_commit(self):
        with transaction.atomic():
            other = Plain.objects.create(name="other")
            with self.assertRaises(Plain.DoesNotExist):
                in_another_thread(read, other.pk)
        self.assertEqual(read(other.pk), ("other", "hit"))

    def test_other_clients_read_a_deleted_row_until_the_commit(self):
        pk = self.plain.pk
        with transaction.atomic():
            self.plain.delete()
            self.assertEqual(in_another_thread(read, pk), ("old", "held"))
        self.assertIsNone(entry_under(self.key))
        with self.assertRaises(Plain.DoesNotExist):
            Plain.objects.cache(pk)

    def test_a_durable_block_holds_and_releases(self):
        with transaction.atomic(durable=True):
            self.rename()
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_each_call_of_a_decorated_function_is_another_transaction(self):
        @transaction.atomic
        def rename(name, fail=False):
            self.rename(name)
            self.assertEqual(in_another_thread(read, self.plain.pk)[1], "held")
            if fail:
                raise Undone

        for name, fail in [("one", False), ("two", True), ("three", True), ("four", False)]:
            try:
                rename(name, fail)
            except Undone:
                pass
        self.assertEqual(read(self.plain.pk), ("four", "hit"))
        with self.assertRaises(Undone):
            rename("five", fail=True)
        self.assertEqual(read(self.plain.pk), ("four", "miss"))
        self.assertEqual(in_another_thread(read, self.plain.pk), ("four", "hit"))

    def test_a_transaction_that_has_ended_is_freed(self):
        with transaction.atomic():
            self.rename()
            self.assertTrue(Transaction.alive)
        self.assertEqual(Transaction.alive, set())


class RollbackTests(ClientsTestCase):
    def undo(self):
        with self.assertRaises(Undone), transaction.atomic():
            self.rename()
            raise Undone

    def test_a_rolled_back_row_is_held_until_the_writer_next_uses_the_cache(self):
        self.undo()
        self.assertIsInstance(entry_under(self.key), Holds)
        self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        Plain.objects.cache_many([])
        self.assertIsNone(entry_under(self.key))
        self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_an_uncommitted_value_is_not_cached_after_the_rollback(self):
        with self.assertRaises(Undone), transaction.atomic():
            self.rename("never")
            self.assertEqual(read(self.plain.pk)[0], "never")
            raise Undone
        self.assertEqual(read(self.plain.pk), ("old", "miss"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_rolled_back_transaction_is_settled_by_the_commit_of_the_next(self):
        self.undo()
        with transaction.atomic():
            self.rename("next")
        self.assertEqual(read(self.plain.pk), ("next", "hit"))

    def test_what_a_rolled_back_transaction_missed_is_not_filled(self):
        other = Plain.objects.create(name="other")
        evict(other.key())
        with self.assertRaises(Undone), transaction.atomic():
            self.assertEqual(read(other.pk), ("other", "miss"))
            raise Undone
        Plain.objects.cache_many([])
        self.assertIsNone(entry_under(other.key()))

    def test_a_commit_that_fails_is_a_rollback(self):
        with patch.object(connection, "_commit", side_effect=DatabaseError("refused")):
            with self.assertRaises(DatabaseError), transaction.atomic():
                self.rename()
        self.assertEqual(read(self.plain.pk), ("old", "miss"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


class SavepointTests(ClientsTestCase):
    def undo_a_savepoint(self):
        with self.assertRaises(Undone), transaction.atomic():
            self.rename("undone")
            raise Undone

    def test_a_hold_of_a_savepoint_that_is_rolled_back_is_withdrawn_after_the_commit(self):
        with transaction.atomic():
            self.undo_a_savepoint()
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        Plain.objects.cache_many([])
        self.assertIsNone(entry_under(self.key))
        self.assertEqual(read(self.plain.pk), ("old", "miss"))

    def test_a_row_written_again_after_the_savepoint_was_rolled_back_is_released_by_the_commit(
        self,
    ):
        with transaction.atomic():
            self.undo_a_savepoint()
            self.rename("again")
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        self.assertEqual(read(self.plain.pk), ("again", "hit"))

    def test_rows_written_before_and_in_a_savepoint_that_is_rolled_back_are_released(self):
        other = Plain.objects.create(name="other")
        with transaction.atomic():
            Plain.objects.filter(pk=other.pk).update(name="changed")
            self.undo_a_savepoint()
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        self.assertEqual(read(other.pk), ("changed", "hit"))

    def test_a_row_written_in_a_savepoint_that_is_kept_is_released_by_the_commit(self):
        with transaction.atomic():
            with transaction.atomic():
                self.rename()
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))


class CommitHookTests(ClientsTestCase):
    """Commit hooks of the project, which are called before the release."""

    def test_a_hook_that_raises_does_not_leave_the_row_held(self):
        def fail():
            raise Undone

        with self.assertRaises(Undone), transaction.atomic():
            transaction.on_commit(fail)
            self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "miss"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_hook_that_reads_the_cache_gets_what_was_committed(self):
        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(read(self.plain.pk)))
            self.rename()
        self.assertEqual(seen, [("new", "miss")])
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_hook_that_reads_the_cache_gets_what_was_committed_if_the_hold_was_lost(self):
        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(read(self.plain.pk)))
            self.rename()
            evict(self.key)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))
        self.assertEqual(seen, [("new", "miss")])
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_that_a_hook_writes_again_is_right(self):
        for block in (transaction.atomic, Plain.objects.all):  # in a transaction or in autocommit
            with self.subTest(block=block), transaction.atomic():

                def again(block=block):
                    if block is transaction.atomic:
                        with block():
                            read(self.plain.pk)
                            self.rename("again")
                            self.assertEqual(
                                in_another_thread(read, self.plain.pk), ("new", "held")
                            )
                    else:
                        self.rename("again")

                transaction.on_commit(again)
                self.rename("new")
            self.assertEqual(read(self.plain.pk), ("again", "hit"))

    def test_a_cache_error_in_the_release_is_logged_and_the_write_is_kept(self):
        with self.assertLogs("django.db.backends.base", logging.ERROR):
            with patch.object(protocol, "release", side_effect=OSError), transaction.atomic():
                self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "miss"))

    def test_a_failed_select_in_the_release_is_logged_and_the_write_is_kept(self):
        for entry in ("held", "lost"):
            with self.subTest(entry=entry), self.assertLogs("cars.caching", logging.ERROR):
                with patch.object(protocol, "select", side_effect=DatabaseError("no")):
                    with transaction.atomic():
                        self.rename(entry)
                        if entry == "lost":
                            evict(self.key)
            self.assertEqual(read(self.plain.pk), (entry, "miss"))

    def test_no_transaction_is_left_on_the_connection(self):
        with transaction.atomic():
            self.rename()
        self.assertNotIn(TRANSACTION, connections["default"].__dict__)


@in_local_memory
class LocalMemoryCommitTests(CommitTests):
    pass


@in_local_memory
class LocalMemoryRollbackTests(RollbackTests):
    pass


@in_local_memory
class LocalMemorySavepointTests(SavepointTests):
    pass


@in_local_memory
class LocalMemoryCommitHookTests(CommitHookTests):
    pass
