"""The exceptions to "never stale", one by one: each test shows a stale read, and its end."""

import time
from contextlib import contextmanager
from unittest.mock import patch

from django.db import DatabaseError, connection, transaction
from django.test import override_settings
from pymemcache.client.base import Client

from cars.caching import entries, protocol
from cars.caching.registry import CachedModel
from cars.tests.support import caches as cache_of_the_tests
from cars.tests.support.caches import MemcachedMixin
from cars.tests.support.other_clients import ClientsTestCase, elsewhere, lose, read, standing
from cars.tests.support.zoo.models import Plain


class Killed(BaseException):
    """The end of a process."""


def set_raw(name):
    """Write the rows in a way that Django doesn't see."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE zoo_plain SET name = %s", [name])


class LostEntryTests(ClientsTestCase):
    """Exception 1: the entry is lost while a write of its row is open."""

    def rename_and_lose_the_hold(self, hook):
        with transaction.atomic():
            transaction.on_commit(hook)
            self.rename()
            lose(self.key)
            self.assertEqual(elsewhere(read, self.plain.pk), ("old", "miss"))

    def test_a_row_is_stale_from_the_commit_to_the_release(self):
        seen = []
        self.rename_and_lose_the_hold(lambda: seen.append(elsewhere(read, self.plain.pk)))
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(elsewhere(read, self.plain.pk), ("new", "miss"))

    def test_a_row_stays_stale_if_the_writer_is_killed_as_well(self):
        def die():
            raise Killed

        with self.assertRaises(Killed):
            elsewhere(self.rename_and_lose_the_hold, die)
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
            elsewhere(rename_without_server)
        self.assertEqual(Plain.objects.get().name, "new")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        Plain.objects.expire([self.plain.pk])
        self.assertEqual(read(self.plain.pk), ("new", "hit"))


class DeadlineTests(ClientsTestCase):
    """Exception 3: a transaction outlives its hold, or clocks are further apart than that."""

    @override_settings(CACHING_HOLD=0.1)
    def test_a_row_is_stale_from_the_commit_to_the_release_of_too_long_a_transaction(self):
        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(elsewhere(read, self.plain.pk)))
            self.rename()
            end = time.monotonic() + 10
            while standing(self.key) and time.monotonic() < end:
                time.sleep(0.02)
            self.assertEqual(elsewhere(read, self.plain.pk), ("old", "miss"))
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(elsewhere(read, self.plain.pk), ("new", "miss"))

    def test_a_row_is_stale_likewise_if_the_clock_of_another_writer_is_ahead(self):
        def write_ahead():
            with patch.object(entries.time, "time", return_value=time.time() + 3600):
                Plain.objects.expire([self.plain.pk])

        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(elsewhere(read, self.plain.pk)))
            self.rename()
            elsewhere(write_ahead)
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(elsewhere(read, self.plain.pk), ("new", "miss"))


class UnseenWriteTests(ClientsTestCase):
    """Exception 4: a write that Django doesn't see, and nobody told of."""

    def test_a_row_is_stale_until_somebody_tells(self):
        set_raw("new")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        Plain.objects.expire([self.plain.pk])
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_is_not_stale_if_somebody_tells_before_the_commit(self):
        with transaction.atomic():
            set_raw("new")
            Plain.objects.expire([self.plain.pk])
            self.assertEqual(elsewhere(read, self.plain.pk), ("old", "held"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))


class OtherKeysTests(ClientsTestCase):
    """Exception 5: processes with other servers, key prefixes or versions side by side."""

    def test_a_row_is_stale_after_a_write_under_another_prefix(self):
        with patch.object(cache_of_the_tests, "RUN", "another-prefix"):
            self.rename()
            self.assertEqual(read(self.plain.pk), ("new", "hit"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


class DatabaseTests(ClientsTestCase):
    """Exception 6: the database takes a commit back, or the fill reads a standby that lags."""

    def test_a_row_that_a_restore_takes_back_is_served(self):
        self.rename()
        set_raw("old")  # the restore
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_that_a_lagging_standby_gave_is_served(self):
        behind = protocol.select(*self.table_and_keys())
        with patch.object(protocol, "select", return_value=behind):  # the proxy
            self.rename()
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def table_and_keys(self):
        return CachedModel(Plain, "default"), {self.key: self.plain.pk}


if connection.vendor == "sqlite":

    class IteratorTests(ClientsTestCase):
        """Exception 7: SQLite, a fill while the same connection has an unfinished iterator."""

        def test_a_row_that_is_filled_beside_an_unfinished_iterator_is_stale(self):
            Plain.objects.bulk_create([Plain(name="more"), Plain(name="and more")])
            iterator = Plain.objects.iterator(chunk_size=1)
            next(iterator)
            elsewhere(self.rename)
            lose(self.key)
            self.assertEqual(read(self.plain.pk), ("old", "miss"))
            self.assertEqual(elsewhere(read, self.plain.pk), ("old", "hit"))
            self.assertEqual(elsewhere(lambda: Plain.objects.get(pk=self.plain.pk)).name, "new")
            iterator.close()


if connection.vendor == "postgresql":

    class IsolationTests(ClientsTestCase):
        """Isolation levels; and exception 8: a cached read has no part in SERIALIZABLE."""

        @contextmanager
        def block(self, level):
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
                yield

        def test_an_old_snapshot_is_never_put_into_the_cache(self):
            for level in ("REPEATABLE READ", "SERIALIZABLE"):
                with self.subTest(level=level):
                    elsewhere(self.rename, "old")
                    with self.block(level):
                        self.assertEqual(Plain.objects.get().name, "old")
                        elsewhere(self.rename, "new")
                        lose(self.key)
                        self.assertEqual(read(self.plain.pk), ("old", "miss"))
                        self.assertIsNone(standing(self.key))
                        self.assertEqual(elsewhere(read, self.plain.pk), ("new", "miss"))
                    self.assertEqual(read(self.plain.pk), ("new", "hit"))

        def swap(self, reader):
            """Let two transactions each copy the other's row; return whether both were done."""
            one, two = self.plain, Plain.objects.create(name="two")

            def copy(source, target, meanwhile=lambda: None):
                with self.block("SERIALIZABLE"):
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT 1")  # the snapshot
                    name = reader(source.pk).name
                    meanwhile()
                    Plain(pk=target.pk, name=name).save()

            try:
                copy(one, two, lambda: elsewhere(copy, two, one))
            except DatabaseError:
                return False
            return True

        def test_serializable_refuses_what_read_the_database(self):
            self.assertFalse(self.swap(lambda pk: Plain.objects.get(pk=pk)))

        def test_serializable_does_not_refuse_what_read_the_cache(self):
            self.assertTrue(self.swap(Plain.objects.cache))
