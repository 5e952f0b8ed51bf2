"""The options of a CacheManager: timeout, prefix and cache."""

from contextlib import contextmanager
from unittest import mock

from django.contrib.auth.models import Permission
from django.core.cache import caches
from django.db import models
from django.test import TestCase, override_settings
from django.test.utils import isolate_apps

from cars.caching import CacheManager, registry
from cars.caching.entries import Row
from cars.tests.support.assertions import HeldMixin, cached_model_of
from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.zoo.models import Plain


@contextmanager
def configured(**options):
    """Give the manager of Plain these options inside the block."""
    with mock.patch.dict(registry._configs, {Plain: CacheManager(**options).config}):
        registry.cached_model.cache_clear()
        try:
            yield
        finally:
            registry.cached_model.cache_clear()


class OptionTests(HeldMixin, TestCase):
    """CacheManager(timeout=, prefix=, cache=)."""

    def setUp(self):
        empty_cache()
        self.row = Plain.objects.create(name="a")

    def test_keys_begin_with_the_prefix(self):
        with configured(prefix="zoo:"):
            self.assertEqual(self.row.key(), f"zoo:Plain.{self.row.pk}")
            self.assertRight(Plain, self.row.pk)
            self.assertIsNotNone(caches["default"].get(f"zoo:Plain.{self.row.pk}"))

    def test_only_cached_models_get_a_method_key(self):
        self.assertTrue(hasattr(Plain, "key"))
        self.assertFalse(hasattr(Permission, "key"))

    @isolate_apps("cars.tests.support.zoo")
    def test_a_method_key_of_the_model_stays(self):
        for known in (registry._configs, registry._families):
            self.enterContext(mock.patch.dict(known))

        class Lock(models.Model):
            objects = CacheManager()

            class Meta:
                app_label = "zoo"

            def key(self):
                return "of brass"

        self.assertEqual(Lock().key(), "of brass")

    def test_rows_are_in_the_named_cache(self):
        other = {**caches.settings["default"], "KEY_PREFIX": "other", "VERSION": 7}
        with override_settings(CACHES={**caches.settings, "other": other}):
            empty_cache()
            with configured(cache="other"):
                self.assertRight(Plain, self.row.pk)
                with self.assertHeld(self.row):
                    Plain.objects.update(name="b")
                self.assertEqual(caches["other"].get(self.row.key()).name, "b")
                self.assertIsNone(caches["default"].get(self.row.key()))

    def test_a_row_stays_for_its_timeout(self):
        asked = []
        cas_many = type(self.cache()).cas_many

        def look(cache, swaps):
            asked.extend(s.timeout for s in swaps.values() if isinstance(s.value, Row))
            return cas_many(cache, swaps)

        with (
            configured(timeout=1234),
            mock.patch.object(type(self.cache()), "cas_many", look),
        ):
            empty_cache()
            Plain.objects.cache(self.row.pk)
            self.row.save()
        self.assertEqual(asked, [1234, 1234])

    def cache(self):
        return cached_model_of(Plain).cache


class TimeoutTests(MemcachedMixin, TestCase):
    def test_the_server_is_told_how_long_a_row_stays(self):
        empty_cache()
        row = Plain.objects.create(name="a")
        cache = caches["default"]
        with configured(timeout=1234):
            Plain.objects.cache(row.pk)
            row.save()
        name = cache.make_and_validate_key(row.key())
        server = cache._cache
        (left,) = server.raw_command(f"mg {name} t".encode()).decode().split()[1:]
        self.assertIn(int(left[1:]), range(1225, 1235))
