"""Values inside of arrays, ranges and JSON are the same when they come back, or aren't cached."""

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from unittest import mock

from django.core.cache import cache
from django.core.management import call_command
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, connections, models
from django.test import TestCase, TransactionTestCase
from django.test.utils import isolate_apps

from cars.caching import CacheManager, registry, verify
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Everything

SUMMER, WINTER = (datetime(2024, month, 1, 12, tzinfo=UTC) for month in (7, 1))


class DecimalDecoder(json.JSONDecoder):
    """Reads numbers with a point as Decimals."""

    def __init__(self, **options):
        super().__init__(**{**options, "parse_float": Decimal})


class SampleCase:
    """Makes a cached model for one test, with its table."""

    def sample(self, **fields):
        for known in (registry._configs, registry._families):
            self.enterContext(mock.patch.dict(known))
        self.enterContext(isolate_apps("cars.tests.support.zoo"))
        meta = type("Meta", (), {"app_label": "zoo"})
        attributes = {"__module__": __name__, "Meta": meta, "objects": CacheManager(), **fields}
        model = type("Sample", (models.Model,), attributes)
        with connection.schema_editor() as editor:
            editor.create_model(model)
        self.addCleanup(self.drop, model)
        empty_cache()
        return model

    def drop(self, model):
        with connection.schema_editor() as editor:
            editor.delete_model(model)

    def assertComesBack(self, model, pk, is_cached=True):
        expected = model._base_manager.get(pk=pk)
        for number in range(3):
            with self.assertNumQueries(1 if number == 0 or not is_cached else 0):
                found = model.objects.cache(pk)
            for field in model._meta.concrete_fields:
                values = [getattr(one, field.attname) for one in (found, expected)]
                self.assertEqual(*map(repr, values), field.name)


class JsonTests(SampleCase, TransactionTestCase):
    def test_a_decimal_that_a_decoder_makes_is_the_same_or_not_cached(self):
        json_field = models.JSONField(encoder=DjangoJSONEncoder, decoder=DecimalDecoder)
        model = self.sample(value=json_field)
        row = model.objects.create(value={"price": 1.5, "list": [2.25]})
        empty_cache()
        expected = model._base_manager.get()
        self.assertIsInstance(expected.value["price"], Decimal)
        for _ in range(3):
            self.assertEqual(repr(model.objects.cache(row.pk).value), repr(expected.value))

    def test_json_comes_back_with_its_types(self):
        model = self.sample(value=models.JSONField())
        row = model.objects.create(value=[1, 1.5, True, "1", {"a": [None, False, 2**60]}])
        empty_cache()
        self.assertComesBack(model, row.pk)


class PriceField(models.DecimalField):
    """Writes its value for a serialiser as it is, not as a string."""

    def value_to_string(self, obj):
        return self.value_from_object(obj)


class FieldThatWritesNoStringTests(SampleCase, TransactionTestCase):
    def test_its_values_are_cached_if_their_string_is_read_back(self):
        model = self.sample(value=PriceField(max_digits=9, decimal_places=2))
        row = model.objects.create(value=Decimal("1.50"))
        empty_cache()
        self.assertComesBack(model, row.pk)


if connection.vendor == "postgresql":  # arrays and ranges of PostgreSQL

    class PostgresTests(SampleCase, TransactionTestCase):
        """Only what a SELECT gives is served, in the time zone of the connection."""

        @classmethod
        def setUpClass(cls):
            super().setUpClass()
            cls.addClassCleanup(cls.forget_time_zone)
            zone = {"TIME_ZONE": "Europe/Berlin"}
            cls.enterClassContext(mock.patch.dict(connection.settings_dict, zone))
            cls.forget_time_zone()

        @classmethod
        def forget_time_zone(cls):
            """Let the connection follow its settings, which have changed."""
            for name in "timezone", "timezone_name":
                connections["default"].__dict__.pop(name, None)
            connection.ensure_timezone()

        def assertIsRight(self, model, pk):
            expected = model._base_manager.get(pk=pk)
            for _ in range(3):
                self.assertEqual(repr(model.objects.cache(pk).value), repr(expected.value))

        def test_an_array_of_moments_is_cached_in_the_time_zone_of_the_connection(self):
            from django.contrib.postgres.fields import ArrayField

            for field, value in (
                (ArrayField(models.DateTimeField()), [SUMMER, WINTER]),
                (ArrayField(models.DateTimeField(null=True)), [SUMMER, None]),
                (ArrayField(ArrayField(models.DateTimeField())), [[SUMMER], [WINTER]]),
                (ArrayField(models.DateTimeField(), null=True), None),
            ):
                with self.subTest(value=value):
                    model = self.sample(value=field)
                    row = model.objects.create(value=value)
                    empty_cache()
                    found = repr(model._base_manager.get().value)
                    self.assertEqual(found.count("Berlin"), found.count("datetime.datetime("))
                    self.assertComesBack(model, row.pk)
                    self.doCleanups()

        def test_an_array_of_decimals_keeps_their_scale(self):
            from django.contrib.postgres.fields import ArrayField

            model = self.sample(
                value=ArrayField(models.DecimalField(max_digits=9, decimal_places=3))
            )
            row = model.objects.create(value=[Decimal("1.500"), Decimal("2")])
            empty_cache()
            self.assertIsRight(model, row.pk)

        def test_ranges_are_right(self):
            from django.contrib.postgres import fields

            for kind, value in (
                (fields.DateTimeRangeField, (SUMMER, None)),
                (fields.IntegerRangeField, (1, 5)),
                (fields.DecimalRangeField, (Decimal("1.50"), Decimal("2.0"))),
            ):
                with self.subTest(kind):
                    model = self.sample(value=kind())
                    row = model.objects.create(value=value)
                    empty_cache()
                    self.assertIsRight(model, row.pk)
                    self.doCleanups()


class NumberTests(TestCase):
    def setUp(self):
        empty_cache()

    if connection.vendor == "postgresql":  # SQLite stores NaN as NULL

        def test_verify_cache_finds_a_row_with_nan_fresh(self):
            row = Everything.objects.create(float=math.nan)
            self.assertTrue(math.isnan(Everything.objects.cache(row.pk).float))
            with self.assertNumQueries(0):
                self.assertTrue(math.isnan(Everything.objects.cache(row.pk).float))
            output = StringIO()
            with mock.patch.object(verify, "PAUSE", 0):
                call_command("verify_cache", stdout=output)
            self.assertIn("zoo.Everything (default): 1 fresh, 0 stale", output.getvalue())

    def test_incr_of_a_string_raises_and_does_not_say_that_the_key_is_missing(self):
        cache.set("word", "text")
        with self.assertRaises(Exception) as raised:
            cache.incr("word")
        self.assertNotIn("not found", str(raised.exception))
        self.assertEqual(cache.get("word"), "text")
        with self.assertRaisesMessage(ValueError, "not found"):
            cache.incr("missing")
