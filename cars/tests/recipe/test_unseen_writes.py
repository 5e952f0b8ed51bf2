"""The exceptions to "never stale" in which a write isn't seen, or not in time.

Each test shows a stale read and its end, and what avoids it, if there is something.
"""

from contextlib import ExitStack
from decimal import Decimal
from unittest.mock import patch

from django.apps import apps
from django.core.management import call_command
from django.db import connection, migrations, models, transaction
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState
from django.db.models import QuerySet
from django.db.models.signals import post_save, pre_save

from cars.caching import transactions
from cars.tests.support.other_clients import ClientsTestCase, in_another_thread, read
from cars.tests.support.receivers import connected
from cars.tests.support.zoo.models import Amount, Crate, Plain, Text, Uuid


def execute(sql, *params):
    """Execute SQL that Django doesn't see as a write."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def set_raw(name):
    """Write the rows of Plain by raw SQL."""
    execute("UPDATE zoo_plain SET name = %s", name)


class UnseenWriteTests(ClientsTestCase):
    """The exception "unseen write": a write that Django doesn't tell of, without `expire`."""

    def save_without_signals(self):
        """Save the row as factory_boy's `mute_signals` does."""
        with ExitStack() as stack:
            for signal in (pre_save, post_save):
                stack.enter_context(patch.object(signal, "receivers", []))
            self.rename()

    def test_a_row_is_stale_until_expire_is_called(self):
        for write in (
            lambda: set_raw("new"),
            lambda: QuerySet(Plain).update(name="new"),
            self.save_without_signals,
        ):
            with self.subTest(write):
                self.rename("old")
                write()
                self.assertEqual(read(self.plain.pk), ("old", "hit"))
                Plain.objects.expire([self.plain.pk])
                self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_is_not_stale_if_expire_is_called_before_the_commit(self):
        with transaction.atomic():
            set_raw("new")
            Plain.objects.expire([self.plain.pk])
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))


class SilentMigrationTests(ClientsTestCase):
    """The exception "silent migration": a migration changes values by SQL of the database alone."""

    def migrate(self, *operations):
        migration = Migration("0002_values", "zoo")
        migration.operations = operations
        with connection.schema_editor(atomic=migration.atomic) as editor:
            migration.apply(ProjectState.from_apps(apps), editor)

    def test_a_row_is_stale_after_run_sql(self):
        self.migrate(migrations.RunSQL("UPDATE zoo_plain SET name = 'new'"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        Plain.objects.expire([self.plain.pk])
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_is_stale_in_a_process_with_the_old_model_after_a_column_gets_new_values(self):
        self.migrate(
            migrations.RemoveField("plain", "number"),
            migrations.AddField("plain", "number", models.IntegerField(default=7)),
        )
        self.assertEqual(Plain.objects.get().number, 7)
        self.assertEqual(Plain.objects.cache(self.plain.pk).number, 0)
        Plain.objects.expire([self.plain.pk])
        self.assertEqual(Plain.objects.cache(self.plain.pk).number, 7)


class EmptiedTableTests(ClientsTestCase):
    """The exception "emptied table": a table is emptied or deleted without signals."""

    def test_a_row_is_served_after_flush_until_it_is_forgotten(self):
        call_command("flush", interactive=False, verbosity=0)
        self.assertFalse(Plain.objects.exists())
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        self.assertEqual(Plain.objects.forget([self.plain.pk]), 1)
        with self.assertRaises(Plain.DoesNotExist):
            read(self.plain.pk)

    def test_a_row_of_a_deleted_table_is_served(self):
        # As `migrate zoo zero` deletes it.
        crate = Crate.objects.create(name="old")
        with connection.schema_editor() as editor:
            editor.delete_model(Crate)
        try:
            self.assertEqual(Crate.objects.cache(crate.pk).name, "old")
        finally:
            with connection.schema_editor() as editor:
                editor.create_model(Crate)


class LatePkTests(ClientsTestCase):
    """The exception "late pk": a receiver that runs after the recipe's sets the pk."""

    def test_a_row_is_stale_from_the_write_to_post_save(self):
        seen = []

        def set_pk(instance, **kwargs):
            instance.pk = self.plain.pk

        def read_after(execute, sql, *arguments):
            try:
                return execute(sql, *arguments)
            finally:
                if sql.startswith("UPDATE"):
                    seen.append(in_another_thread(read, self.plain.pk))

        with connected(pre_save, set_pk, Plain), connection.execute_wrapper(read_after):
            Plain(name="new").save()
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(read(self.plain.pk)[0], "new")


class EqualPksTests(ClientsTestCase):
    """The exception "equal pks": the database takes two different pks for the same one."""

    if connection.vendor == "sqlite":  # a collation is an option of a column there

        def collate(self, collation):
            field = models.CharField(primary_key=True, max_length=500, db_collation=collation)
            field.set_attributes_from_name("id")
            field.model = Text
            with connection.schema_editor() as editor:
                editor.alter_field(Text, Text._meta.pk, field)

        def test_a_row_is_stale_after_a_write_under_a_pk_in_capitals(self):
            self.collate("NOCASE")
            self.addCleanup(self.collate, "BINARY")
            Text.objects.create(pk="a", name="old")
            Text(pk="A", name="new").save(force_update=True)
            self.assertEqual(Text.objects.get(pk="a").name, "new")
            self.assertEqual(Text.objects.cache("a").name, "old")
            Text(pk="a", name="newer").save()
            self.assertEqual(Text.objects.cache("a").name, "newer")

    if connection.vendor == "postgresql":  # rounds what is inserted

        def test_a_row_is_stale_after_an_upsert_of_a_pk_that_the_column_rounds(self):
            pk = Decimal("1.00")
            Amount.objects.create(pk=pk, name="old")
            Amount.objects.bulk_create(
                [Amount(pk=Decimal("1.001"), name="new")],
                update_conflicts=True,
                unique_fields=["pk"],
                update_fields=["name"],
            )
            self.assertEqual(Amount.objects.get().name, "new")
            self.assertEqual(Amount.objects.cache(pk).name, "old")
            Amount(pk=pk, name="newer").save()
            self.assertEqual(Amount.objects.cache(pk).name, "newer")

        def test_a_row_is_stale_after_an_upsert_of_a_unique_value_that_the_column_cuts(self):
            row = Uuid.objects.create(name="x" * 50, number=1)
            Uuid.objects.cache(row.pk)
            Uuid.objects.bulk_create(
                [Uuid(name="x" * 50 + " ", number=2)],
                update_conflicts=True,
                unique_fields=["name"],
                update_fields=["number"],
            )
            self.assertEqual(Uuid.objects.get().number, 2)
            self.assertEqual(Uuid.objects.cache(row.pk).number, 1)
            Uuid.objects.update(number=3)
            self.assertEqual(Uuid.objects.cache(row.pk).number, 3)


class SilentTransactionTests(ClientsTestCase):
    """The exception "silent transaction": neither Django nor the driver knows of it."""

    def test_a_row_that_is_not_committed_is_served_also_after_the_rollback(self):
        def known_to_django(connection):
            return connection.in_atomic_block

        with patch.object(transactions, "in_transaction", known_to_django):
            execute("BEGIN")
            self.rename()
            self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "hit"))
            execute("ROLLBACK")
        self.assertEqual(Plain.objects.get().name, "old")
        self.assertEqual(read(self.plain.pk), ("new", "hit"))
        Plain.objects.expire([self.plain.pk])
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
