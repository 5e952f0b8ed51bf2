"""What the recipe can't cover is said by a system check, and what to do instead."""

from contextlib import contextmanager
from unittest import mock

from django.conf import settings
from django.db import connections, models
from django.db.models import deletion
from django.test import SimpleTestCase, override_settings
from django.test.utils import isolate_apps

from cars import caching
from cars.caching import CacheManager, checks, registry

BACKENDS = f"{caching.__name__}.backends"


class Unfiltered(models.Manager):
    """A manager like any other: its QuerySet tells the cache nothing."""


class Filtered(CacheManager):
    """A cached manager that leaves rows out."""

    def get_queryset(self):
        return super().get_queryset().filter(name="kept")


class ChecksTests(SimpleTestCase):
    def setUp(self):
        # What a test's models add to the registry of the cached ones goes with the test.
        for known in (registry._configs, registry._families):
            patch = mock.patch.dict(known)
            patch.start()
            self.addCleanup(patch.stop)

    @contextmanager
    def models(self):
        """Declare models in the block; `self.said` has the ids of what the checks say of them."""
        with isolate_apps("cars") as apps, mock.patch.object(checks, "apps", apps):
            yield
            self.messages = checks.check()
            self.said = {message.id for message in self.messages}

    def test_the_projects_own_models_are_covered(self):
        self.assertEqual(
            [message for message in checks.check() if message.id != "caching.W004"], []
        )

    def test_a_second_manager_that_tells_the_cache_nothing_is_an_error(self):
        with self.models():

            class Lorry(models.Model):
                objects = CacheManager()
                others = Unfiltered()

        self.assertEqual(self.said, {"caching.E001"})

    def test_a_queryset_of_ones_own_by_from_queryset_is_covered(self):
        with self.models():

            class Lorry(models.Model):
                objects = CacheManager.from_queryset(models.QuerySet)()

        self.assertEqual(self.said, set())

    def test_a_plain_parent_of_a_cached_model_is_an_error(self):
        with self.models():

            class Vehicle(models.Model):
                pass

            class Lorry(Vehicle):
                objects = CacheManager()

        self.assertEqual(self.said, {"caching.E001"})

    def test_a_proxy_with_a_plain_manager_is_an_error(self):
        with self.models():

            class Lorry(models.Model):
                objects = CacheManager()

            class Van(Lorry):
                others = Unfiltered()

                class Meta:
                    proxy = True

        self.assertEqual(self.said, {"caching.E001"})

    def test_a_base_manager_that_leaves_rows_out_is_an_error(self):
        with self.models():

            class Lorry(models.Model):
                name = models.CharField(max_length=9)
                objects = Filtered()

                class Meta:
                    base_manager_name = "objects"

        self.assertEqual(self.said, {"caching.E002"})

    def test_a_manager_that_leaves_rows_out_is_not_made_the_base_manager(self):
        with self.models():

            class Lorry(models.Model):
                name = models.CharField(max_length=9)
                objects = Filtered()
                all = CacheManager()

        self.assertEqual(Lorry._base_manager.name, "all")
        self.assertEqual(self.said, set())

    def test_two_cached_parents_are_an_error(self):
        with self.models():

            class Wheeled(models.Model):
                wheeled_id = models.AutoField(primary_key=True)
                objects = CacheManager()

            class Floating(models.Model):
                floating_id = models.AutoField(primary_key=True)
                objects = CacheManager()

            class Amphibious(Wheeled, Floating):
                pass

        self.assertEqual(self.said, {"caching.E003", "caching.E004"})

    def test_a_parent_link_that_is_not_the_pk_is_an_error(self):
        with self.models():

            class Vehicle(models.Model):
                objects = CacheManager()

            class Lorry(Vehicle):
                number = models.AutoField(primary_key=True)
                vehicle = models.OneToOneField(Vehicle, models.CASCADE, parent_link=True)

        self.assertEqual(self.said, {"caching.E004"})

    if checks.DATABASE_LEVEL:  # from Django 6.1 on

        def test_a_foreign_key_that_the_database_follows_is_an_error(self):
            with self.models():

                class Owner(models.Model):
                    pass

                class Lorry(models.Model):
                    owner = models.ForeignKey(Owner, deletion.DB_CASCADE)
                    objects = CacheManager()

            self.assertEqual(self.said, {"caching.E005"})

    def test_two_cached_models_of_one_name_are_an_error(self):
        with self.models():

            class Car(models.Model):
                objects = CacheManager()

        self.assertEqual(self.said, {"caching.E006"})

    def test_two_cached_models_of_one_name_are_told_apart_by_a_prefix(self):
        with self.models():

            class Car(models.Model):
                objects = CacheManager(prefix="other.")

        self.assertEqual(self.said, set())

    def test_a_pk_under_a_collation_is_a_warning(self):
        with self.models():

            class Lorry(models.Model):
                plate = models.CharField(max_length=9, primary_key=True, db_collation="nocase")
                objects = CacheManager()

        self.assertEqual(self.said, {"caching.W001"})

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

    def test_a_cache_that_is_switched_off_is_no_message(self):
        with self.with_backend("django.core.cache.backends.dummy.DummyCache"):
            self.assertEqual(self.ids() + self.ids(checks.check_production), [])

    def test_local_memory_is_a_warning_without_debug_and_an_error_for_production(self):
        with self.with_backend(f"{BACKENDS}.LocalMemoryCache"):
            self.assertEqual(self.ids(), ["caching.W004"])
            self.assertEqual(self.ids(checks.check_production), ["caching.E008"])
        with self.with_backend(f"{BACKENDS}.LocalMemoryCache", debug=True):
            self.assertEqual(self.ids() + self.ids(checks.check_production), [])

    def test_a_memcached_without_its_address_is_a_warning_and_an_error_for_production(self):
        with self.with_backend(f"{BACKENDS}.MemcachedCache"):
            self.assertEqual(self.ids(), ["caching.W005"])
            self.assertEqual(self.ids(checks.check_production), ["caching.E011"])
        with self.with_backend(f"{BACKENDS}.MemcachedCache", LOCATION="127.0.0.1:11211"):
            self.assertEqual(self.ids(), [])

    def test_an_app_that_is_not_installed_is_said_once_by_the_manager(self):
        def said():
            return [message.id for model in registry.cached_models() for message in model.check()]

        self.assertEqual(said(), [])
        without = [app for app in settings.INSTALLED_APPS if app != caching.__name__]
        with override_settings(INSTALLED_APPS=without):
            self.assertEqual(said(), ["caching.E009"])
            with self.with_backend("django.core.cache.backends.locmem.LocMemCache"):
                self.assertEqual(said(), ["caching.E009", "caching.W003"])

    def test_a_manager_whose_queryset_raises_is_an_error(self):
        class Tenants(CacheManager):
            def get_queryset(self):
                raise LookupError("no tenant")

        with self.models():

            class Lorry(models.Model):
                objects = CacheManager()
                tenants = Tenants()

        self.assertEqual(self.said, {"caching.E010"})

    def test_each_hint_can_be_followed(self):
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

    def test_two_databases_that_may_be_one_are_a_question(self):
        there = {**connections["default"].settings_dict, "HOST": "pooler"}
        with mock.patch.dict(connections.settings, {"pooler": there}):
            self.assertEqual(self.ids(), ["caching.W002"])
            with override_settings(CACHING_SAME_DATABASE={"pooler": "default"}):
                self.assertEqual(self.ids(), [])
