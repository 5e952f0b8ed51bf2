"""Aliases of one database that see other rows, and an alias that leads to another one later."""

from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from unittest import mock

from django.db import connection, connections, transaction

from cars.caching.databases import canonical
from cars.caching.entries import Holds
from cars.caching.rows.fingerprint import fingerprint_of
from cars.tests.support.assertions import cached_model_of
from cars.tests.support.other_clients import ClientsTestCase, entry_under
from cars.tests.support.zoo.models import Plain

SECOND = "second"
second = Plain.objects.db_manager(SECOND)
OPTIONS = {"sqlite": {"timeout": 7}, "postgresql": {"application_name": "second"}}


@contextmanager
def alias(**changes):
    """Add an alias to the default database in the block, with these changes."""
    connections.settings[SECOND] = {**connections.settings["default"], **changes}
    try:
        # It isn't among the databases of the tests before, since these have to exist.
        with mock.patch.object(AliasTests, "databases", {"default", SECOND}):
            yield connections[SECOND]
    finally:
        connections[SECOND].close()
        del connections[SECOND]
        del connections.settings[SECOND]


class AliasTests(ClientsTestCase):
    def test_a_hit_has_the_alias_that_was_asked_for(self):
        with alias():
            for _ in range(2):
                self.assertEqual(second.cache(self.plain.pk)._state.db, SECOND)
                self.assertEqual(Plain.objects.cache(self.plain.pk)._state.db, "default")
                found = second.cache_many([self.plain.pk])[self.plain.pk]
                self.assertEqual(found._state.db, SECOND)

    def test_a_save_of_a_hit_takes_part_in_the_transaction_of_its_alias(self):
        with alias():
            Plain.objects.cache(self.plain.pk)
            row = second.cache(self.plain.pk)
            row.name = "new"
            with transaction.atomic(using=SECOND):
                row.save()
                transaction.set_rollback(True, using=SECOND)
            self.assertEqual(Plain.objects.get().name, "old")
            self.assertEqual(Plain.objects.cache(self.plain.pk).name, "old")

    def test_aliases_that_differ_in_options_share_holds_but_not_rows(self):
        with alias(OPTIONS={**connection.settings_dict["OPTIONS"], **OPTIONS[connection.vendor]}):
            self.assertEqual(canonical(SECOND), "default")
            self.assertNotEqual(*self.fingerprints())
            Plain.objects.cache(self.plain.pk)
            with self.assertNumQueries(1, using=SECOND):
                self.assertEqual(second.cache(self.plain.pk).name, "old")
            with transaction.atomic(using=SECOND):
                second.filter(pk=self.plain.pk).update(name="new")
                self.assertIsInstance(entry_under(self.key), Holds)
            self.assertEqual(Plain.objects.cache(self.plain.pk).name, "new")
            self.rename("newer")
            self.assertEqual(second.cache(self.plain.pk).name, "newer")

    def test_aliases_that_differ_in_user_share_keys_but_not_rows(self):
        with alias():
            self.assertEqual(*self.fingerprints())
        with alias(USER="another"):
            self.assertEqual(cached_model_of(Plain, SECOND).key(self.plain.pk), self.key)
            self.assertNotEqual(*self.fingerprints())

    def fingerprints(self):
        return [fingerprint_of(cached_model_of(Plain, name)) for name in ("default", SECOND)]

    if connection.vendor == "postgresql":  # schemas of PostgreSQL

        def test_aliases_with_another_search_path_read_their_own_rows(self):
            with connection.cursor() as cursor:
                cursor.execute("CREATE SCHEMA other")
                self.addCleanup(self.execute, "DROP SCHEMA other CASCADE")
                cursor.execute("CREATE TABLE other.zoo_plain (LIKE zoo_plain INCLUDING ALL)")
                cursor.execute("INSERT INTO other.zoo_plain SELECT id, 'other', 0 FROM zoo_plain")
            options = {**connection.settings_dict["OPTIONS"], "options": "-c search_path=other"}
            with alias(OPTIONS=options):
                for _ in range(2):
                    self.assertEqual(second.cache(self.plain.pk).name, "other")
                    self.assertEqual(Plain.objects.cache(self.plain.pk).name, "old")
                    found = second.cache_many([self.plain.pk])
                    self.assertEqual(found[self.plain.pk].name, "other")
                self.rename()
                self.assertEqual(second.cache(self.plain.pk).name, "other")
                self.assertEqual(Plain.objects.cache(self.plain.pk).name, "new")

        def test_two_roles_on_one_schema_see_each_others_writes(self):
            with self.role() as role:
                self.execute(f"GRANT ALL ON zoo_plain TO {role}")
                with self.alias_of(role):
                    self.assertNotEqual(*self.fingerprints())
                    for number in range(2):
                        for read in (Plain.objects, second):
                            read.cache(self.plain.pk)
                        self.rename(f"by the owner {number}")
                        self.assertEqual(second.cache(self.plain.pk).name, self.plain.name)
                        with transaction.atomic(using=SECOND):
                            second.update(name="by the application")
                            self.assertIsInstance(entry_under(self.key), Holds)
                        for read in (Plain.objects, second):
                            self.assertEqual(read.cache(self.plain.pk).name, "by the application")

        def test_two_roles_with_a_schema_each_read_their_own_rows(self):
            with self.role() as role:
                # By default, the search_path begins with a schema named as the user.
                self.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
                self.execute(f"CREATE TABLE {role}.zoo_plain (LIKE zoo_plain INCLUDING ALL)")
                self.execute(f"GRANT ALL ON {role}.zoo_plain TO {role}")
                self.execute(f"INSERT INTO {role}.zoo_plain SELECT id, 'other', 0 FROM zoo_plain")
                with self.alias_of(role):
                    for _ in range(2):
                        self.assertEqual(second.cache(self.plain.pk).name, "other")
                        self.assertEqual(Plain.objects.cache(self.plain.pk).name, "old")
                    second.update(name="new")
                    self.assertEqual(second.cache(self.plain.pk).name, "new")
                    self.assertEqual(Plain.objects.cache(self.plain.pk).name, "old")

        @contextmanager
        def role(self):
            """Make another role in the block, which can log in."""
            role = f"role_{token_hex(4)}"  # roles are shared by the databases of parallel tests
            self.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
            try:
                yield role
            finally:
                self.execute(f"DROP OWNED BY {role} CASCADE")
                self.execute(f"DROP ROLE {role}")

        def alias_of(self, role):
            return alias(USER=role, PASSWORD=role)

    def execute(self, sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)

    if connection.vendor == "sqlite":  # a database is a file

        def test_an_alias_whose_name_changes_reads_the_rows_of_its_database(self):
            with TemporaryDirectory() as folder, alias(NAME=str(Path(folder, "A"))) as tenant:
                for name in "AB":
                    self.switch(tenant, folder, name)
                    with tenant.schema_editor() as editor:
                        editor.create_model(Plain)
                    second.bulk_create([Plain(pk=1, name=f"row of {name}")])
                for name in "ABAB":
                    self.switch(tenant, folder, name)
                    for _ in range(2):
                        self.assertEqual(second.cache(1).name, f"row of {name}")
                        self.assertEqual(second.cache_many([1])[1].name, f"row of {name}")

    def switch(self, tenant, folder, name):
        tenant.close()
        tenant.settings_dict["NAME"] = str(Path(folder, name))
