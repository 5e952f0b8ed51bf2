"""What a hit gives: planted and damaged rows, classes, values, kinds of pks, timeouts."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from math import inf, nan

from django.core.cache import cache
from django.db import connection
from django.db.models import signals
from django.test import TestCase, override_settings

from cars.caching import entries, registry
from cars.caching.entries import Holds, Row
from cars.tests.support.assertions import HeldMixin, cached_model_of, entry
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import (
    Amount,
    Everything,
    Keeper,
    License,
    Plain,
    PlainProxy,
    PolitePlain,
    Text,
)


def plant(key, value):
    """Put `value` under `key`, whatever stands there."""
    seen = cache.gets_many([key])[key]
    cache.cas_many({key: entries.Swap(seen, value, 60)})


class PlantedRowTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.plain = Plain.objects.create(name="own", number=1)
        self.other = Plain.objects.create(name="other", number=2)

    def test_a_row_of_another_pk_is_replaced(self):
        Plain.objects.cache_many([self.plain.pk, self.other.pk])
        plant(self.plain.key(), entry(Plain, self.other.pk))
        self.assertEqual(Plain.objects.cache(self.plain.pk).name, "own")
        self.assertRight(Plain, self.plain.pk)

    def test_a_row_of_another_pk_is_replaced_among_many(self):
        Plain.objects.cache_many([self.plain.pk, self.other.pk])
        plant(self.plain.key(), entry(Plain, self.other.pk))
        found = Plain.objects.cache_many([self.plain.pk, self.other.pk])
        self.assertEqual([found[p.pk].name for p in (self.plain, self.other)], ["own", "other"])
        self.assertRight(Plain, self.plain.pk)

    def test_a_row_with_a_string_in_an_integer_field_is_replaced(self):
        Plain.objects.cache(self.plain.pk)
        row = entry(Plain, self.plain.pk)
        self.assertTrue(row.endswith(b"\x01"))
        plant(self.plain.key(), Row(row[:-1] + b"\xa1x"))
        with self.assertLogs("cars.caching", "WARNING"):
            self.assertEqual(Plain.objects.cache(self.plain.pk).number, 1)
        self.assertRight(Plain, self.plain.pk)

    def test_a_row_with_a_missing_value_or_other_bytes_at_its_end_is_replaced(self):
        for change in (lambda row: row[:-1], lambda row: row + b"x", lambda row: row[:8]):
            Plain.objects.cache(self.plain.pk)
            plant(self.plain.key(), Row(change(entry(Plain, self.plain.pk))))
            with self.assertLogs("cars.caching", "WARNING"):
                self.assertEqual(Plain.objects.cache(self.plain.pk).name, "own")
            self.assertRight(Plain, self.plain.pk)

    def test_a_save_over_a_damaged_row_does_not_raise(self):
        plant(self.plain.key(), Row(b"damaged"))
        self.plain.name = "new"
        self.plain.save()
        self.assertRight(Plain, self.plain.pk)

    def test_holds_without_a_finite_deadline_never_raise(self):
        for deadline in (inf, -inf, nan):
            with self.subTest(deadline):
                plant(self.plain.key(), Holds({"planted": deadline}))
                self.assertEqual(Plain.objects.cache(self.plain.pk).pk, self.plain.pk)
                self.plain.name = f"after {deadline}"
                self.plain.save()
                self.assertEqual(Plain.objects.cache(self.plain.pk).name, self.plain.name)
                Plain.objects.filter(pk=self.plain.pk).update(name="updated")
                self.assertEqual(Plain.objects.cache(self.plain.pk).name, "updated")


class ProxyTests(TestCase):
    def setUp(self):
        empty_cache()
        self.plain = Plain.objects.create(name="Ann")

    def test_its_own_init_and_from_db_are_called_for_a_hit(self):
        Plain.objects.cache(self.plain.pk)
        with self.assertNumQueries(0):
            found = PolitePlain.objects.cache(self.plain.pk)
        self.assertIs(type(found), PolitePlain)
        self.assertEqual((found.greeting, found.made_by), ("Dear Ann", "PolitePlain"))

    def test_its_own_init_and_from_db_are_called_for_a_miss(self):
        found = PolitePlain.objects.cache(self.plain.pk)
        self.assertEqual((found.greeting, found.made_by), ("Dear Ann", "PolitePlain"))
        self.assertIs(type(Plain.objects.cache(self.plain.pk)), Plain)

    def test_its_receivers_of_post_init_are_called(self):
        received = []

        def receive(instance, **kwargs):
            received.append(type(instance))

        signals.post_init.connect(receive, sender=PlainProxy)
        self.addCleanup(signals.post_init.disconnect, receive, sender=PlainProxy)
        for _ in range(2):
            received.clear()
            PlainProxy.objects.cache(self.plain.pk)
            self.assertEqual(received, [PlainProxy])
            received.clear()
            Plain.objects.cache(self.plain.pk)
            self.assertEqual(received, [])


class Level(IntEnum):
    FIRST = 1


class Word(StrEnum):
    ONE = "one word"


class PkTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()

    def test_an_enum_stands_for_its_value(self):
        Plain.objects.create(pk=1, name="a")
        Text.objects.create(pk="one word", name="b")
        self.assertEqual(cached_model_of(Plain).key(Level.FIRST), "Plain.1")
        self.assertEqual(cached_model_of(Text).key(Word.ONE), cached_model_of(Text).key("one word"))
        Plain.objects.cache(1), Text.objects.cache("one word")
        with self.assertNumQueries(0):
            self.assertEqual(Plain.objects.cache(Level.FIRST).name, "a")
            self.assertEqual(Text.objects.cache(Word.ONE).name, "b")

    def test_a_write_by_an_enum_holds_the_row(self):
        plain, text = Plain.objects.create(pk=1), Text.objects.create(pk="one word")
        with self.assertHeld(plain):
            Plain(pk=Level.FIRST, name="new").save()
        with self.assertHeld(text):
            Text(pk=Word.ONE, name="new").save()

    def test_decimals_of_another_scale_are_one_pk(self):
        key = cached_model_of(Amount).key
        self.assertEqual(key(Decimal("1.5")), key(Decimal("1.50")))
        self.assertEqual(key(Decimal("100")), key(Decimal("1E2")))

    def test_an_instance_stands_for_its_pk(self):
        keeper = Keeper.objects.create(name="Ann")
        row = License.objects.create(keeper=keeper, name="x")
        License.objects.cache(row.pk)
        with self.assertNumQueries(0):
            self.assertEqual(License.objects.cache(keeper).name, "x")
            self.assertEqual(License.objects.cache_many([keeper])[keeper].name, "x")

    def test_a_string_and_a_number_that_are_one_pk_get_an_instance_each(self):
        plain = Plain.objects.create(name="a")
        for _ in range(2):
            found = Plain.objects.cache_many([plain.pk, str(plain.pk)])
            self.assertEqual(list(found), [plain.pk, str(plain.pk)])
            one, other = found.values()
            self.assertEqual(one, other)
            self.assertIsNot(one, other)
            self.assertIsNot(one._state, other._state)


class DeepValueTests(TestCase):
    """What is read back is the same in depth, or isn't cached."""

    def setUp(self):
        empty_cache()

    def assertComesBack(self, model, pk):
        from_database = model._base_manager.get(pk=pk)
        for _ in range(2):
            found = model.objects.cache(pk)
            for field in model._meta.concrete_fields:
                expected, value = (getattr(o, field.attname) for o in (from_database, found))
                self.assertEqual(repr(value), repr(expected), field.name)

    @override_settings(TIME_ZONE="Europe/Berlin")
    def test_a_moment_comes_back_in_the_time_zone_of_a_select(self):
        moment = datetime(2024, 7, 1, 12, tzinfo=UTC)
        row = Everything.objects.create(moment=moment, json={"at": ["1.50", 1, 1.0, None]})
        self.assertComesBack(Everything, row.pk)

    def test_json_with_numbers_and_strings_comes_back_with_its_types(self):
        row = Everything.objects.create(json=[1, 1.0, True, "1", {"a": [None, 2**70]}])
        self.assertComesBack(Everything, row.pk)


class TimeoutTests(TestCase):
    """The timeout of a CacheManager means what Django's does."""

    def setUp(self):
        empty_cache()
        self.plain = Plain.objects.create(name="a")
        empty_cache()

    def queries_with(self, timeout):
        cached = cached_model_of(Plain)
        config = type(cached.config)(timeout, cached.config.prefix, cached.config.cache)

        before = registry._configs[Plain]
        registry._configs[Plain] = config
        self.addCleanup(registry._configs.__setitem__, Plain, before)
        registry.cached_model.cache_clear()
        self.addCleanup(registry.cached_model.cache_clear)
        Plain.objects.cache(self.plain.pk)
        with connection.execute_wrapper(self.count):
            self.queries = 0
            self.assertEqual(Plain.objects.cache(self.plain.pk).name, "a")
        self.plain.name = "b"
        self.plain.save()
        self.assertEqual(Plain.objects.cache(self.plain.pk).name, "b")
        return self.queries

    def count(self, execute, *args):
        self.queries += 1
        return execute(*args)

    def test_none_is_for_ever(self):
        self.assertEqual(self.queries_with(None), 0)

    def test_0_stores_nothing(self):
        self.assertEqual(self.queries_with(0), 1)

    def test_a_negative_timeout_stores_nothing(self):
        self.assertEqual(self.queries_with(-1), 1)

    def test_more_than_30_days_are_kept(self):
        self.assertEqual(self.queries_with(60 * 24 * 3600), 0)
