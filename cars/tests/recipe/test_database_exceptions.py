"""The exceptions to "never stale" that lie in the database: each test shows what is read."""

from contextlib import contextmanager
from unittest.mock import patch

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.test import override_settings

from cars.caching import protocol
from cars.caching.registry import cached_model
from cars.tests.support import caches as test_caches
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_another_thread,
    read,
)
from cars.tests.support.zoo.models import Plain

from .test_unseen_writes import execute, set_raw


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
