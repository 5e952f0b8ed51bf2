"""What the recipe can't cover is said by a system check, and what to do instead."""

from contextlib import contextmanager
from unittest import mock

from django.db import connections, models
from django.db.models import deletion
from django.test import SimpleTestCase, override_settings
from django.test.utils import isolate_apps

from .. import caching
from ..caching import checks, keys
from ..caching.manager import CacheManager

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
        for registry in (keys._configs, keys._families):
            patch = mock.patch.dict(registry)
            patch.start()
            self.addCleanup(patch.stop)

    @contextmanager
    def models(self):
        """Declare models in the block; `self.said` has the ids of what the checks say of them."""
        with isolate_apps("cars") as apps, mock.patch.object(checks, "apps", apps):
            yield
            self.said = {message.id for message in checks.check()}

    def test_the_projects_own_models_are_covered(self):
        self.assertEqual(checks.check(), [])

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

    def ids(self):
        return {message.id for message in checks.check()}

    def test_a_cache_that_cannot_compare_and_swap_is_an_error(self):
        dummy = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        with override_settings(CACHES=dummy):
            self.assertEqual(self.ids(), {"caching.E007"})

    def test_local_memory_is_an_error_without_debug(self):
        memory = {"default": {"BACKEND": f"{BACKENDS}.LocalMemoryCache"}}
        with override_settings(CACHES=memory, DEBUG=False):
            self.assertEqual(self.ids(), {"caching.E008"})
        with override_settings(CACHES=memory, DEBUG=True):
            self.assertEqual(self.ids(), set())

    def test_two_databases_that_may_be_one_are_a_question(self):
        there = {**connections["default"].settings_dict, "HOST": "pooler"}
        with mock.patch.dict(connections.settings, {"pooler": there}):
            self.assertEqual(self.ids(), {"caching.W002"})
            with override_settings(CACHING_SAME_DATABASE={"pooler": "default"}):
                self.assertEqual(self.ids(), set())
