"""The exceptions to "never stale" that lie in the cache and in the database.

Each test shows a stale read and its end. Those in which a write isn't seen are in
`test_unseen_writes`.
"""

import time
from contextlib import contextmanager
from unittest.mock import patch

from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, connection, transaction
from django.test import override_settings
from pymemcache.client.base import Client

from cars.caching import entries, protocol
from cars.caching.registry import cached_model
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

from .test_options import configured
from .test_unseen_writes import execute, set_raw

DUMMY = "django.core.cache.backends.dummy.DummyCache"


class Killed(BaseException):
    """Stands for the death of a process."""


class LostEntryTests(ClientsTestCase):
    """The exception "lost entry": the entry is lost while a write of its row is open."""

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
    """The exception "unreachable server": a writer can't reach it while others can."""

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


class CrowdedRowTests(ClientsTestCase):
    """The exception "crowded row": a hold is refused 20 times, since others change the entry."""

    def test_a_row_is_stale_from_the_commit_to_the_release(self):
        seen = []
        with self.assertLogs("cars.caching", "WARNING"), transaction.atomic():
            transaction.on_commit(lambda: seen.append(in_another_thread(read, self.plain.pk)))
            with patch.multiple(protocol, add_holds=lambda *arguments: set(), TRIES=2):
                self.rename()
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))


class DeadlineTests(ClientsTestCase):
    """The exception "passed deadline": a hold ends before its transaction."""

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


class TouchedEntryTests(ClientsTestCase):
    """The exception "touched entry": the application calls `cache.touch` on the key of a row."""

    def test_a_row_is_stale_from_the_commit_to_the_release_if_its_holds_are_touched(self):
        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(in_another_thread(read, self.plain.pk)))
            self.rename()
            cache.touch(self.key, 0)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))

    def test_a_stale_row_that_is_touched_stays_for_the_new_timeout(self):
        other = Plain.objects.create(name="other")
        with configured(timeout=1):
            for pk in (self.plain.pk, other.pk):
                evict(Plain(pk=pk).key())
                read(pk)
            cache.touch(self.key, 600)
            set_raw("new")
            end = time.monotonic() + 10
            while entry_under(other.key()) and time.monotonic() < end:
                time.sleep(0.02)
            self.assertEqual(read(other.pk), ("new", "miss"))
            self.assertEqual(read(self.plain.pk), ("old", "hit"))


class AnotherCacheTests(ClientsTestCase):
    """The exception "another cache": processes with different caches write the same rows."""

    @override_settings(CACHES={"default": {"BACKEND": DUMMY}})
    def rename_without_cache(self):
        self.rename()

    def test_a_row_is_stale_after_a_write_by_a_process_without_a_cache(self):
        self.rename_without_cache()
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_row_is_stale_after_a_write_under_another_prefix(self):
        with patch.object(test_caches, "RUN", "another-prefix"):
            self.rename()
            self.assertEqual(read(self.plain.pk), ("new", "hit"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


class SharedPrefixTests(ClientsTestCase):
    """The exception "shared prefix": two sites have one prefix and databases of one name."""

    def test_a_row_of_another_site_is_served_unless_it_has_another_prefix(self):
        set_raw("other")  # this is the database of the other site now
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        with patch.object(test_caches, "RUN", "another-prefix"):
            self.assertEqual(read(self.plain.pk), ("other", "miss"))


class UndoneCommitTests(ClientsTestCase):
    """The exception "undone commit": the database loses what was committed."""

    def test_a_row_that_a_restore_has_undone_is_served(self):
        self.rename()
        set_raw("old")  # the restore
        self.assertEqual(read(self.plain.pk), ("new", "hit"))


class LaggingStandbyTests(ClientsTestCase):
    """The exception "lagging standby": a proxy sends the SELECT of a fill to a standby."""

    def test_a_row_read_from_a_lagging_standby_is_served(self):
        cached = cached_model(Plain, "default")
        behind = protocol.select(cached, {self.key: self.plain.pk})
        with patch.object(protocol, "select", return_value=behind):
            self.rename()
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


if connection.vendor == "sqlite":

    class IteratorTests(ClientsTestCase):
        """The exception "open iterator": SQLite keeps the snapshot of an unfinished iterator."""

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
        """The exception "isolation level": a hit takes no part in the transaction's guarantees."""

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

        def test_a_hit_is_newer_than_the_snapshot_of_the_transaction(self):
            with self.block("REPEATABLE READ"):
                self.assertEqual(Plain.objects.get().name, "old")
                in_another_thread(self.rename)
                self.assertEqual(Plain.objects.get().name, "old")
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

    class SessionTests(ClientsTestCase):
        """The exception "state of the session": a schema, role or policy chosen at run time."""

        def setUp(self):
            super().setUp()
            execute("CREATE SCHEMA other")
            self.addCleanup(execute, "DROP SCHEMA other CASCADE")
            execute("CREATE TABLE other.zoo_plain (LIKE zoo_plain INCLUDING ALL)")
            execute("INSERT INTO other.zoo_plain VALUES (%s, 'other', 0)", self.plain.pk)

        @contextmanager
        def schema(self, name):
            execute(f"SET search_path TO {name}")
            try:
                yield
            finally:
                execute("RESET search_path")

        def test_a_row_of_one_schema_is_served_in_another(self):
            with self.schema("other"):
                self.assertEqual(Plain.objects.get().name, "other")
                self.assertEqual(read(self.plain.pk), ("old", "hit"))

        def test_a_key_function_that_adds_the_tenant_keeps_the_rows_apart(self):
            tenant = "public"

            def make_key(key, prefix, version):
                return f"{tenant}:{test_caches.make_key(key, prefix, version)}"

            config = {**settings.CACHES["default"], "KEY_FUNCTION": make_key}
            with override_settings(CACHES={"default": config}):
                for tenant, name in 2 * [("public", "old"), ("other", "other")]:
                    with self.schema(tenant):
                        self.assertEqual(read(self.plain.pk)[0], name)
