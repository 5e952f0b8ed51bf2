"""A CacheManager that is added after its class was made raises a clear error."""

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test import TestCase
from django.test.utils import isolate_apps

from cars.caching import CacheManager
from cars.tests.support.zoo.models import Keeper


@isolate_apps("cars.tests.support.zoo")
def late_model():
    """Return a model on the table of Keeper, with a CacheManager that was added late."""

    class Late(models.Model):
        name = models.CharField(max_length=50)

        class Meta:
            app_label = "zoo"
            db_table = Keeper._meta.db_table

    # As a project would add one to a model that isn't its own, for example auth.User.
    Late.add_to_class("cached", CacheManager())
    return Late


class LateManagerTests(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Late = late_model()

    def test_each_method_raises_improperly_configured_and_says_what_to_do(self):
        manager = self.Late.cached
        calls = {
            "cache": lambda: manager.cache(1),
            "cache_many": lambda: manager.cache_many([1]),
            "acache": lambda: async_to_sync(manager.acache)(1),
            "acache_many": lambda: async_to_sync(manager.acache_many)([1]),
            "expire": lambda: manager.expire([1]),
            "forget": lambda: manager.forget([1]),
        }
        for name, call in calls.items():
            with self.subTest(name), self.assertRaises(ImproperlyConfigured) as raised:
                call()
            message = str(raised.exception)
            self.assertIn("zoo.Late is not cached", message)
            self.assertIn("added after the class was made", message)
            self.assertIn("Declare the manager in the class body", message)

    def test_none_as_a_pk_raises_does_not_exist_as_ever(self):
        with self.assertRaises(self.Late.DoesNotExist):
            self.Late.cached.cache(None)

    def test_its_querysets_read_and_write_as_djangos(self):
        row = self.Late.cached.create(name="a")
        with self.assertNumQueries(1):
            self.Late.cached.filter(pk=row.pk).update(name="b")
        with self.assertNumQueries(1):
            self.Late.cached.bulk_create([self.Late(name="d")])
        self.assertEqual(
            list(self.Late.cached.order_by("name").values_list("name", flat=True)), ["b", "d"]
        )
        self.assertEqual(self.Late.cached.all()._raw_delete("default"), 2)

    def test_djangos_checks_of_the_model_do_not_raise(self):
        self.Late.check()
