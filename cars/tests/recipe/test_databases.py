"""Several databases, and several aliases of one database."""

from unittest import mock

from django.db import connections, transaction
from django.db.models import F
from django.test import TestCase, override_settings

from cars.caching.databases import canonical
from cars.caching.registry import CachedModel
from cars.caching.rows import fingerprint_of
from cars.tests.support.assertions import HeldMixin, entry
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Animal, Dog, Keeper, Pair, Pet, Plain, PlainProxy, Uuid

ARCHIVE = "archive"
archived = Plain.objects.db_manager(ARCHIVE)


class ToArchive:
    """A router that sends Plain to the other database."""

    def db_for_write(self, model, **hints):
        return ARCHIVE if model._meta.concrete_model is Plain else None

    db_for_read = db_for_write


class ReplicaRouter:
    """A router that reads from another database than it writes to."""

    def db_for_read(self, model, **hints):
        return ARCHIVE

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, *objects, **hints):
        return True


class TwoDatabasesTests(HeldMixin, TestCase):
    databases = {"default", ARCHIVE}

    def setUp(self):
        empty_cache()
        self.here = Plain.objects.create(pk=1, name="here")
        self.there = archived.create(pk=1, name="there")

    def test_keys_of_another_database_end_in_its_alias(self):
        self.assertEqual(self.here.key(), "Plain.1")
        self.assertEqual(self.there.key(), "Plain.1@archive")
        self.assertEqual(CachedModel(Pair, ARCHIVE).key((1, "a@b")), "Pair.1,a%40b@archive")

    def test_rows_of_two_databases_are_kept_apart(self):
        for _ in range(2):
            self.assertEqual(Plain.objects.cache(1).name, "here")
            self.assertEqual(archived.cache(1).name, "there")
            self.assertEqual(archived.cache(1)._state.db, ARCHIVE)
            self.assertEqual(PlainProxy.objects.db_manager(ARCHIVE).cache(1).name, "there")
            empty_cache()

    def test_a_row_missing_in_one_is_not_found_in_the_other(self):
        Plain.objects.create(pk=2, name="here")
        with self.assertRaises(Plain.DoesNotExist):
            archived.cache(2)

    def test_a_write_holds_the_row_of_the_database_that_it_writes_to(self):
        Plain.objects.cache(1)
        self.there.name = "x"
        writes = (
            lambda: self.there.save(),
            lambda: archived.update(name="y"),
            lambda: Plain.objects.using(ARCHIVE).filter(pk=1).update(name="z"),
            lambda: archived.bulk_update([Plain(pk=1, name="w")], ["name"]),
            lambda: Plain(pk=1, name="v").save(using=ARCHIVE),
            lambda: Plain(pk=1).delete(using=ARCHIVE),
        )
        for number, write in enumerate(writes):
            with self.subTest(number), self.assertHeld(self.there, alias=ARCHIVE):
                write()
        with self.assertNumQueries(0):
            self.assertEqual(Plain.objects.cache(1).name, "here")

    def test_a_row_saved_into_the_other_database_is_another_row(self):
        Plain.objects.cache(1)
        with self.assertHeld(self.there, alias=ARCHIVE), transaction.atomic(using=ARCHIVE):
            self.here.name = "copy"
            self.here.save(using=ARCHIVE)
        self.assertEqual(archived.cache(1).name, "copy")
        self.assertEqual(Plain.objects.cache(1).name, "here")

    def test_an_upsert_and_a_cascade_in_the_other_database_hold_there(self):
        uuid = Uuid.objects.using(ARCHIVE).create(name="a")
        with self.assertHeld(uuid, alias=ARCHIVE):
            Uuid.objects.using(ARCHIVE).bulk_create(
                [Uuid(name="a", number=5)],
                update_conflicts=True,
                unique_fields=["name"],
                update_fields=["number"],
            )
        keeper = Keeper.objects.using(ARCHIVE).create(name="Ann")
        pet = Pet.objects.using(ARCHIVE).create(name="x", owner=keeper, vet=keeper)
        with self.assertHeld(pet, alias=ARCHIVE):
            keeper.delete()
        dog = Dog.objects.using(ARCHIVE).create(name="Rex")
        with self.assertHeld(dog, Animal.objects.using(ARCHIVE).get(), alias=ARCHIVE):
            dog.delete()

    def test_expire_in_the_other_database_expires_there_only(self):
        archived.cache(1)
        with connections[ARCHIVE].cursor() as cursor:
            cursor.execute('UPDATE "zoo_plain" SET "name" = %s', ["x"])
        Plain.objects.expire([1])
        self.assertEqual(archived.cache(1).name, "there")
        archived.expire([1])
        self.assertRight(Plain, 1, ARCHIVE)

    @override_settings(DATABASE_ROUTERS=[ToArchive()])
    def test_a_model_that_a_router_sends_to_another_database_is_cached_for_that_one(self):
        self.assertEqual(Plain(pk=1).key(), "Plain.1@archive")
        self.assertEqual(Plain.objects.cache(1).name, "there")
        with self.assertHeld(self.there, alias=ARCHIVE):
            Plain.objects.update(name="x")
        with self.assertHeld(self.there, alias=ARCHIVE), transaction.atomic(using=ARCHIVE):
            Plain(pk=1, name="y").save()
        self.assertEqual(Plain.objects.cache(1).name, "y")

    @override_settings(DATABASE_ROUTERS=[ReplicaRouter()])
    def test_a_row_is_read_where_it_is_written_not_from_a_replica(self):
        empty_cache()
        self.assertEqual(Plain.objects.get(pk=1).name, "there")
        self.assertEqual(Plain.objects.cache(1).name, "here")
        row = Plain.objects.get(pk=1)
        self.assertEqual(row.key(), "Plain.1")
        row.name = "new"
        with self.assertHeld(self.here):
            row.save()
        Plain.objects.using(ARCHIVE).filter(pk=1).update(number=7)
        with self.assertHeld(self.here):
            Plain.objects.filter(name="new").update(number=F("number") + 1)
        self.assertEqual(Plain.objects.cache(1).number, 1)

    @override_settings(DATABASE_ROUTERS=[ReplicaRouter()])
    def test_a_mass_write_opens_no_transaction_on_a_replica(self):
        with mock.patch.object(transaction, "atomic", wraps=transaction.atomic) as atomic:
            Plain.objects.update(number=1)
            Plain.objects.bulk_update([self.here], ["name"])
            Plain.objects.bulk_create(
                [Plain(pk=1)], update_conflicts=True, unique_fields=["pk"], update_fields=["name"]
            )
        self.assertEqual({call.kwargs["using"] for call in atomic.mock_calls}, {"default"})


class OneDatabaseTests(HeldMixin, TestCase):
    """Two aliases of one database."""

    databases = {"default", ARCHIVE}

    def setUp(self):
        empty_cache()
        self.row = Plain.objects.create(pk=1, name="a")
        self.assertEqual(canonical(ARCHIVE), ARCHIVE)

    def test_the_setting_makes_two_aliases_share_keys(self):
        with override_settings(CACHING_SAME_DATABASE={ARCHIVE: "default"}):
            self.assertEqual(CachedModel(Plain, ARCHIVE).key(1), "Plain.1")
        self.assertEqual(CachedModel(Plain, ARCHIVE).key(1), "Plain.1@archive")

    def test_rows_have_the_same_fingerprint_only_while_the_setting_says_so(self):
        cached = CachedModel(Plain, ARCHIVE)  # the fingerprint is kept on it
        default = fingerprint_of(CachedModel(Plain, "default"))
        own = fingerprint_of(cached)
        self.assertNotEqual(own, default)
        with override_settings(CACHING_SAME_DATABASE={ARCHIVE: "default"}):
            self.assertEqual(fingerprint_of(cached), default)
        self.assertEqual(fingerprint_of(cached), own)

    def test_a_write_by_one_alias_holds_the_row_that_the_other_reads(self):
        archived.create(pk=1, name="a")  # in the tests it is another database
        with override_settings(CACHING_SAME_DATABASE={ARCHIVE: "default"}):
            Plain.objects.cache(1)
            with transaction.atomic(using=ARCHIVE):
                archived.filter(pk=1).update(name="b")
                self.assertEqual(type(entry(Plain, 1)).__name__, "Holds")
            self.assertEqual(archived.cache(1).name, "b")

    def test_the_same_engine_host_port_and_name_are_the_same_database(self):
        here = connections["default"]
        same = {**connections[ARCHIVE].settings_dict, "NAME": here.settings_dict["NAME"]}
        if here.vendor == "sqlite" and here.is_in_memory_db():
            same["NAME"] = "/tmp/one.sqlite3"
            one = {**here.settings_dict, "NAME": "/tmp/../tmp/one.sqlite3"}
        else:
            one = here.settings_dict
        with (
            mock.patch.object(connections[ARCHIVE], "settings_dict", same),
            mock.patch.object(here, "settings_dict", one),
        ):
            self.assertEqual(CachedModel(Plain, ARCHIVE).key(1), "Plain.1")
            same["NAME"] += "2"
            self.assertEqual(CachedModel(Plain, ARCHIVE).key(1), "Plain.1@archive")
