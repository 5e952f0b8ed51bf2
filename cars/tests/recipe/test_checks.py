"""System checks report what the recipe can't cover, with hints that can be followed."""

from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

from django.conf import settings
from django.db import connections, models
from django.db.models import deletion
from django.test import SimpleTestCase, TestCase, override_settings
from django.test.utils import isolate_apps

from cars import caching
from cars.caching import CacheManager, checks, registry

BACKENDS = f"{caching.__name__}.backends"


class Unfiltered(models.Manager):
    """A plain manager, whose QuerySet doesn't hold."""


class Filtered(CacheManager):
    """A CacheManager that leaves rows out."""

    def get_queryset(self):
        return super().get_queryset().filter(name="kept")


class FakeConnections(dict):
    """Stands for Django's `connections`: configurations by alias, which connect to nothing."""

    def __getitem__(self, alias):
        return SimpleNamespace(settings_dict=super().__getitem__(alias))


class ChecksTests(SimpleTestCase):
    def setUp(self):
        # Models that a test declares are removed from the registry after it.
        for known in (registry._configs, registry._families):
            patch = mock.patch.dict(known)
            patch.start()
            self.addCleanup(patch.stop)

    @contextmanager
    def models(self):
        """Declare models in the block; then `self.found_ids` has the ids of the messages."""
        with isolate_apps("cars") as apps, mock.patch.object(checks, "apps", apps):
            yield
            self.messages = checks.check()
            self.found_ids = {message.id for message in self.messages}

    def test_the_models_of_this_project_pass(self):
        self.assertEqual(
            [message for message in checks.check() if message.id != "caching.W004"], []
        )

    def test_a_second_manager_that_is_no_cache_manager_is_an_error(self):
        with self.models():

            class Lorry(models.Model):
                objects = CacheManager()
                others = Unfiltered()

        self.assertEqual(self.found_ids, {"caching.E001"})

    def test_a_manager_made_by_from_queryset_passes(self):
        with self.models():

            class Lorry(models.Model):
                objects = CacheManager.from_queryset(models.QuerySet)()

        self.assertEqual(self.found_ids, set())

    def test_a_plain_parent_of_a_cached_model_is_an_error(self):
        with self.models():

            class Vehicle(models.Model):
                pass

            class Lorry(Vehicle):
                objects = CacheManager()

        self.assertEqual(self.found_ids, {"caching.E001"})

    def test_a_proxy_with_a_plain_manager_is_an_error(self):
        with self.models():

            class Lorry(models.Model):
                objects = CacheManager()

            class Van(Lorry):
                others = Unfiltered()

                class Meta:
                    proxy = True

        self.assertEqual(self.found_ids, {"caching.E001"})

    def test_a_base_manager_that_leaves_rows_out_is_an_error(self):
        with self.models():

            class Lorry(models.Model):
                name = models.CharField(max_length=9)
                objects = Filtered()

                class Meta:
                    base_manager_name = "objects"

        self.assertEqual(self.found_ids, {"caching.E002"})

    def test_a_manager_that_leaves_rows_out_is_not_made_the_base_manager(self):
        with self.models():

            class Lorry(models.Model):
                name = models.CharField(max_length=9)
                objects = Filtered()

        self.assertIs(type(Lorry._base_manager), CacheManager)
        self.assertEqual(self.found_ids, set())

    def test_two_parents_are_an_error_if_any_of_the_models_is_cached(self):
        for which in "first", "second", "child":
            with self.subTest(which), self.models():

                class Wheeled(models.Model):
                    wheeled_id = models.AutoField(primary_key=True)
                    objects = CacheManager() if which == "first" else models.Manager()

                class Floating(models.Model):
                    floating_id = models.AutoField(primary_key=True)
                    objects = CacheManager() if which == "second" else models.Manager()

                class Amphibious(Wheeled, Floating):
                    objects = CacheManager() if which == "child" else models.Manager()

            self.assertIn("caching.E003", self.found_ids)
            self.assertNotIn("caching.E004", self.found_ids)  # its advice can't be followed

    def test_what_the_message_about_two_parents_advises_passes(self):
        with self.models():

            class Wheeled(models.Model):
                objects = CacheManager()

            class Floating(models.Model):
                objects = CacheManager()

            class Amphibious(Wheeled):
                floating = models.OneToOneField(Floating, models.CASCADE)

        self.assertEqual(self.found_ids, set())

    def test_a_grandparent_under_another_pk_is_an_error_of_the_model_with_the_link(self):
        with self.models():

            class Vehicle(models.Model):
                objects = CacheManager()

            class Lorry(Vehicle):
                number = models.AutoField(primary_key=True)
                vehicle = models.OneToOneField(Vehicle, models.CASCADE, parent_link=True)

            class Tanker(Lorry):
                pass

        (message,) = self.messages
        self.assertEqual((message.id, message.obj), ("caching.E004", Lorry))
        self.assertIn("Make the parent link 'vehicle' the primary key", message.hint)

    def test_a_parent_link_that_is_not_the_pk_is_an_error(self):
        with self.models():

            class Vehicle(models.Model):
                objects = CacheManager()

            class Lorry(Vehicle):
                number = models.AutoField(primary_key=True)
                vehicle = models.OneToOneField(Vehicle, models.CASCADE, parent_link=True)

        self.assertEqual(self.found_ids, {"caching.E004"})

    if checks.DATABASE_LEVEL:  # from Django 6.1 on

        def test_a_foreign_key_that_the_database_follows_is_an_error(self):
            with self.models():

                class Owner(models.Model):
                    pass

                class Lorry(models.Model):
                    owner = models.ForeignKey(Owner, deletion.DB_CASCADE)
                    objects = CacheManager()

            self.assertEqual(self.found_ids, {"caching.E005"})

    def test_two_cached_models_of_one_name_are_an_error(self):
        with self.models():

            class Car(models.Model):
                objects = CacheManager()

        self.assertEqual(self.found_ids, {"caching.E006"})

    def test_two_cached_models_of_one_name_are_told_apart_by_a_prefix(self):
        with self.models():

            class Car(models.Model):
                objects = CacheManager(prefix="other.")

        self.assertEqual(self.found_ids, set())

    def test_a_pk_under_a_collation_is_a_warning(self):
        with self.models():

            class Lorry(models.Model):
                plate = models.CharField(max_length=9, primary_key=True, db_collation="nocase")
                objects = CacheManager()

        self.assertEqual(self.found_ids, {"caching.W001"})

    def ids(self, check=checks.check):
        return [message.id for message in check()]

    def with_backend(self, backend, debug=False, **config):
        caches = {"default": {"BACKEND": backend, **config}}
        return override_settings(CACHES=caches, DEBUG=debug)

    def test_a_cache_that_cannot_compare_and_swap_is_one_warning_and_an_error_for_production(self):
        for backend in ("locmem.LocMemCache", "memcached.PyMemcacheCache", "redis.RedisCache"):
            with self.with_backend(f"django.core.cache.backends.{backend}"):
                self.assertEqual(self.ids(), ["caching.W003"])
                self.assertEqual(self.ids(checks.check_production), ["caching.E007"])

    def test_a_dummy_cache_is_not_reported(self):
        with self.with_backend("django.core.cache.backends.dummy.DummyCache"):
            self.assertEqual(self.ids() + self.ids(checks.check_production), [])

    def test_local_memory_is_a_warning_without_debug_and_an_error_for_production(self):
        with self.with_backend(f"{BACKENDS}.LocalMemoryCache"):
            self.assertEqual(self.ids(), ["caching.W004"])
            self.assertEqual(self.ids(checks.check_production), ["caching.E008"])
        with self.with_backend(f"{BACKENDS}.LocalMemoryCache", debug=True):
            self.assertEqual(self.ids() + self.ids(checks.check_production), [])

    def test_memcached_without_a_location_is_a_warning_and_an_error_for_production(self):
        with self.with_backend(f"{BACKENDS}.MemcachedCache"):
            self.assertEqual(self.ids(), ["caching.W005"])
            self.assertEqual(self.ids(checks.check_production), ["caching.E011"])
        with self.with_backend(f"{BACKENDS}.MemcachedCache", LOCATION="127.0.0.1:11211"):
            self.assertEqual(self.ids(), [])

    def test_an_app_that_is_not_installed_is_reported_once_by_the_manager(self):
        def messages_of_managers():
            return [message.id for model in registry.cached_models() for message in model.check()]

        self.assertEqual(messages_of_managers(), [])
        without = [app for app in settings.INSTALLED_APPS if app != caching.__name__]
        with override_settings(INSTALLED_APPS=without):
            self.assertEqual(messages_of_managers(), ["caching.E009"])
            with self.with_backend("django.core.cache.backends.locmem.LocMemCache"):
                self.assertEqual(messages_of_managers(), ["caching.E009", "caching.W003"])

    def test_a_manager_whose_queryset_raises_is_an_error(self):
        class Tenants(CacheManager):
            def get_queryset(self):
                raise LookupError("no tenant")

        with self.models():

            class Lorry(models.Model):
                objects = CacheManager()
                tenants = Tenants()

        self.assertEqual(self.found_ids, {"caching.E010"})

    def test_the_hint_for_an_auto_created_table_names_through(self):
        with self.models():

            class Lorry(models.Model):
                objects = CacheManager()
                drivers = models.ManyToManyField("self", db_table="cars_drive")

            class Drive(models.Model):
                objects = CacheManager()

                class Meta:
                    db_table = "cars_drive"

        (message,) = self.messages
        self.assertEqual((message.id, message.obj), ("caching.E001", Lorry.drivers.through))
        self.assertIn("through=", message.hint)

    def asked(self, one, two):
        """Return why the check asks about two aliases with these configurations; "" if it doesn't.

        What they don't say is as in the configuration of the default database.
        """
        default = connections["default"].settings_dict
        aliases = {"one": {**default, **one}, "two": {**default, **two}}
        with mock.patch.object(checks, "connections", FakeConnections(aliases)):
            messages = [message for message in checks.check() if message.id == "caching.W002"]
            for answer in {"two": "one"}, {"two": "two"}, {"one": "one"}:
                with override_settings(CACHING_SAME_DATABASE=answer):
                    self.assertNotIn("caching.W002", self.ids())
        if not messages:
            return ""
        (message,) = messages
        self.assertIn('CACHING_SAME_DATABASE = {"two": "one"}', message.hint)
        return message.msg.partition("? ")[2]

    def test_aliases_that_may_be_the_same_database_are_a_warning(self):
        service = {"HOST": "", "NAME": "", "OPTIONS": {"service": "cars"}}
        other_service = {**service, "OPTIONS": {"service": "vans"}}
        for one, two, reason in (
            ({"HOST": "db"}, {"HOST": "pooler"}, "different hosts or ports"),
            ({"PORT": 5432}, {"PORT": 6432}, "different hosts or ports"),
            ({"USER": "owner"}, {"USER": "application"}, "differ in USER or OPTIONS"),
            ({"OPTIONS": {}}, {"OPTIONS": {"options": "-c search_path=b"}}, "USER or OPTIONS"),
            (service, other_service, "A service says where"),
            (service, {"HOST": "db", "NAME": "cars"}, "A service says where"),
            ({"HOST": "db", "NAME": "cars"}, service, "A service says where"),
        ):
            with self.subTest(one=one, two=two):
                self.assertIn(reason, self.asked(one, two))

    def test_aliases_that_are_surely_the_same_database_or_surely_not_are_no_warning(self):
        service = {"HOST": "", "NAME": "", "OPTIONS": {"service": "cars"}}
        for one, two in (
            ({}, {}),
            ({"PORT": 5432}, {"PORT": "5432"}),
            ({"NAME": "cars"}, {"NAME": "vans"}),
            ({"NAME": "cars", "USER": "a"}, {"NAME": "vans", "USER": "b"}),
            ({"ENGINE": "one"}, {"ENGINE": "two", "HOST": "there"}),
            (service, service),
            ({"NAME": "cars", "OPTIONS": {"service": "a"}}, {"NAME": "vans"}),
        ):
            with self.subTest(one=one, two=two):
                self.assertEqual(self.asked(one, two), "")


class TablesTests(TestCase):
    def test_a_database_without_the_table_of_what_is_owed_is_an_error_for_production(self):
        self.assertEqual(checks.check_tables(databases=["default"]), [])
        names = "django.db.backends.base.introspection.BaseDatabaseIntrospection.table_names"
        with mock.patch(names, return_value=[]):
            (message,) = checks.check_tables(databases=["default"])
            self.assertEqual(checks.check_tables(databases=None), [])
        self.assertEqual(message.id, "caching.E013")
        self.assertIn("migrate caching --database default", message.hint)
