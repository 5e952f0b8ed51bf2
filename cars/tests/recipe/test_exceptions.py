"""The exceptions to "never stale", one by one: each test shows a stale read, and its end."""

import time
from contextlib import contextmanager
from unittest.mock import patch

from django.db import DatabaseError, connection, transaction
from django.test import override_settings
from pymemcache.client.base import Client

from cars.caching import entries, protocol
from cars.caching.registry import CachedModel
from cars.tests.support import caches as test_caches
from cars.tests.support.caches import MemcachedMixin
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_another_thread,
    read,
)
from cars.tests.support.zoo.models import Plain


class Killed(BaseException):
    """Stands for the death of a process."""


def set_raw(name):
    """Write the rows by raw SQL, which Django doesn't see."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE zoo_plain SET name = %s", [name])


class LostEntryTests(ClientsTestCase):
    """Exception 1: the entry is lost while a write of its row is open."""

    def rename_and_lose_the_hold(self, hook):
        with transaction.atomic():
            transaction.on_commit(hook)
            self.rename()
            evict(self.key)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))

    def test_a_row_is_stale_from_the_commit_to_the_release(self):
        seen = []
        self.rename_and_lose_the_hold(lambda: seen.append(in_another_thread(read, self.plain.pk)))
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))

    def test_a_row_stays_stale_if_the_writer_is_killed_as_well(self):
        def die():
            raise Killed

        with self.assertRaises(Killed):
            in_another_thread(self.rename_and_lose_the_hold, die)
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_row_is_not_stale_if_a_commit_hook_raises_as_well(self):
        def fail():
            raise ValueError

        with self.assertRaises(ValueError):
            self.rename_and_lose_the_hold(fail)
        self.assertEqual(read(self.plain.pk), ("new", "miss"))


class UnreachableServerTests(MemcachedMixin, ClientsTestCase):
    """Exception 2: a writer can't reach the server while others can."""

    def test_a_row_is_stale_after_the_write(self):
        def rename_without_server():
            with patch.object(Client, "_connect", side_effect=ConnectionRefusedError):
                with patch.object(protocol, "TRIES", 2):
                    self.rename()

        with self.assertLogs("cars.caching", "WARNING"):
            in_another_thread(rename_without_server)
        self.assertEqual(Plain.objects.get().name, "new")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        Plain.objects.expire([self.plain.pk])
        self.assertEqual(read(self.plain.pk), ("new", "hit"))


class DeadlineTests(ClientsTestCase):
    """Exception 3: a transaction outlives its hold, or clocks are further apart than that."""

    @override_settings(CACHING_HOLD=0.1)
    def test_a_row_is_stale_from_the_commit_to_the_release_if_the_transaction_is_too_long(self):
        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(in_another_thread(read, self.plain.pk)))
            self.rename()
            end = time.monotonic() + 10
            while entry_under(self.key) and time.monotonic() < end:
                time.sleep(0.02)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))

    def test_a_row_is_stale_as_long_if_the_clock_of_another_writer_is_ahead(self):
        def write_ahead():
            with patch.object(entries.time, "time", return_value=time.time() + 3600):
                Plain.objects.expire([self.plain.pk])

        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(in_another_thread(read, self.plain.pk)))
            self.rename()
            in_another_thread(write_ahead)
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))


class UnseenWriteTests(ClientsTestCase):
    """Exception 4: a write that Django doesn't see, without a call of `expire`."""

    def test_a_row_is_stale_until_expire_is_called(self):
        set_raw("new")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        Plain.objects.expire([self.plain.pk])
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_is_not_stale_if_expire_is_called_before_the_commit(self):
        with transaction.atomic():
            set_raw("new")
            Plain.objects.expire([self.plain.pk])
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))


class OtherKeysTests(ClientsTestCase):
    """Exception 5: processes with other servers, key prefixes or versions side by side."""

    def test_a_row_is_stale_after_a_write_under_another_prefix(self):
        with patch.object(test_caches, "RUN", "another-prefix"):
            self.rename()
            self.assertEqual(read(self.plain.pk), ("new", "hit"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


class DatabaseTests(ClientsTestCase):
    """Exception 6: the database undoes a commit, or the fill reads from a lagging standby."""

    def test_a_row_that_a_restore_has_undone_is_served(self):
        self.rename()
        set_raw("old")  # the restore
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_read_from_a_lagging_standby_is_served(self):
        behind = protocol.select(*self.cached_and_keys())
        with patch.object(protocol, "select", return_value=behind):  # the proxy asks the standby
            self.rename()
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def cached_and_keys(self):
        return CachedModel(Plain, "default"), {self.key: self.plain.pk}


if connection.vendor == "sqlite":

    class IteratorTests(ClientsTestCase):
        """Exception 7: SQLite, a fill while the same connection has an unfinished iterator."""

        def test_a_row_that_is_filled_during_an_unfinished_iterator_is_stale(self):
            Plain.objects.bulk_create([Plain(name="more"), Plain(name="and more")])
            iterator = Plain.objects.iterator(chunk_size=1)
            next(iterator)
            in_another_thread(self.rename)
            evict(self.key)
            self.assertEqual(read(self.plain.pk), ("old", "miss"))
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "hit"))
            self.assertEqual(
                in_another_thread(lambda: Plain.objects.get(pk=self.plain.pk)).name, "new"
            )
            iterator.close()


if connection.vendor == "postgresql":

    class IsolationTests(ClientsTestCase):
        """Isolation levels. Exception 8: a cached read takes no part in SERIALIZABLE."""

        @contextmanager
        def block(self, level):
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
                yield

        def test_a_row_from_an_old_snapshot_is_never_filled(self):
            for level in ("REPEATABLE READ", "SERIALIZABLE"):
                with self.subTest(level=level):
                    in_another_thread(self.rename, "old")
                    with self.block(level):
                        self.assertEqual(Plain.objects.get().name, "old")
                        in_another_thread(self.rename, "new")
                        evict(self.key)
                        self.assertEqual(read(self.plain.pk), ("old", "miss"))
                        self.assertIsNone(entry_under(self.key))
                        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))
                    self.assertEqual(read(self.plain.pk), ("new", "hit"))

        def swap(self, reader):
            """Let two transactions each copy the other's row; return whether both committed."""
            one, two = self.plain, Plain.objects.create(name="two")

            def copy(source, target, meanwhile=lambda: None):
                with self.block("SERIALIZABLE"):
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT 1")  # takes the snapshot
                    name = reader(source.pk).name
                    meanwhile()
                    Plain(pk=target.pk, name=name).save()

            try:
                copy(one, two, lambda: in_another_thread(copy, two, one))
            except DatabaseError:
                return False
            return True

        def test_serializable_refuses_a_write_that_depends_on_a_database_read(self):
            self.assertFalse(self.swap(lambda pk: Plain.objects.get(pk=pk)))

        def test_serializable_does_not_refuse_a_write_that_depends_on_a_cached_read(self):
            self.assertTrue(self.swap(Plain.objects.cache))
