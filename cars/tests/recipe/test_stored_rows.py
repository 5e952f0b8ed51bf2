"""A stored row is read as it was written, or not used at all."""

import datetime
import pickle
import uuid
from decimal import Decimal
from unittest import mock

import msgspec
from django.core.cache import caches
from django.db import models
from django.test import TestCase

from cars.caching import reads
from cars.caching.entries import EXPIRE, Row, Swap
from cars.caching.rows import fingerprint, packing
from cars.tests.support.assertions import HeldMixin, cached_model_of, entry
from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.zoo.models import Animal, Everything, Keeper, Plain, Text

NOW = datetime.datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=datetime.UTC)

VALUES = {
    "big": [0, 2**63 - 1, -(2**63)],
    "binary": [b"", bytes(range(256))],
    "boolean": [True, False],
    "char": ["", "a\nb", "車🚗", "x" * 100],
    "date": [datetime.date.min, datetime.date.max, NOW.date()],
    "moment": [NOW, datetime.datetime(1, 1, 2, tzinfo=datetime.UTC)],
    "decimal": [Decimal("0"), Decimal("-0.000001"), Decimal("999999999.999999")],
    "duration": [datetime.timedelta(0), datetime.timedelta(days=-400, microseconds=1)],
    "email": ["a@example.com"],
    "file": ["", "a/b.txt"],
    "path": ["/tmp/a"],
    "float": [0.0, -1.5e300, 0.1 + 0.2, float("inf")],
    "integer": [0, -(2**31), 2**31 - 2],
    "ip": ["127.0.0.1", "::1"],
    "json": [{}, [], "text", 1.5, True, {"a": [None, {"b": "車"}]}, [None]],
    "positive": [0, 2**31 - 1],
    "positive_big": [2**63 - 1],
    "positive_small": [32767],
    "slug": ["a-b"],
    "small": [-32768],
    "text": ["", "x" * 10_000],
    "time": [datetime.time.min, datetime.time.max],
    "url": ["https://example.com/?a=b&c"],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
}


def typed(instance):
    """Return the values of the fields of `instance`, each with its type."""
    values = {f.attname: getattr(instance, f.attname) for f in instance._meta.concrete_fields}
    values = {n: bytes(v) if isinstance(v, memoryview) else v for n, v in values.items()}
    return {name: (type(value), value) for name, value in values.items()}


class EverythingTests(TestCase):
    """A row with a field of each of Django's types."""

    def setUp(self):
        empty_cache()

    def assertSame(self, **values):
        row = Everything.objects.create(**values)
        selected = typed(Everything.objects.get(pk=row.pk))
        for _ in range(2):
            with self.assertNumQueries(0):
                cached = Everything.objects.cache(row.pk)
            self.assertEqual(typed(cached), selected)
            empty_cache()
            self.assertEqual(typed(Everything.objects.cache(row.pk)), selected)
        self.assertFalse(cached._state.adding)
        self.assertEqual(cached._state.db, "default")
        self.assertEqual(cached.get_deferred_fields(), set())
        cached.save()
        self.assertEqual(typed(Everything.objects.get(pk=row.pk)), selected)

    def test_there_are_values_for_every_field(self):
        here = {*VALUES, "id", "generated", "one", "other"}
        self.assertEqual({f.name for f in Everything._meta.concrete_fields}, here)

    def test_a_row_with_values_comes_back_as_it_was(self):
        for number in range(max(map(len, VALUES.values()))):
            self.assertSame(**{name: all_[number % len(all_)] for name, all_ in VALUES.items()})

    def test_a_row_with_nulls_comes_back_as_it_was(self):
        self.assertSame()

    def test_a_row_with_relations_comes_back_as_it_was(self):
        keeper, plain = Keeper.objects.create(name="Ann"), Plain.objects.create(name="a")
        self.assertSame(one=keeper, other=plain)
        cached = Everything.objects.cache(Everything.objects.get().pk)
        self.assertEqual((cached.one, cached.other), (keeper, plain))

    def test_a_json_null_comes_back_as_it_was(self):
        self.assertSame(json=models.Value(None, models.JSONField()))

    def test_a_file_field_comes_back_as_a_file(self):
        row = Everything.objects.create(file="a/b.txt")
        self.assertEqual(Everything.objects.cache(row.pk).file.name, "a/b.txt")
        self.assertEqual(Everything.objects.cache(row.pk).file.storage, row.file.storage)

    def test_two_reads_return_two_objects(self):
        row = Everything.objects.create(json={"a": []})
        Everything.objects.cache(row.pk).json["a"].append(1)
        self.assertEqual(Everything.objects.cache(row.pk).json, {"a": []})


class UnusableTests(HeldMixin, TestCase):
    """A value that can't be used under a row's key is a miss, and is replaced by the row."""

    def setUp(self):
        empty_cache()
        self.row = Plain.objects.create(name="a")
        self.cached = cached_model_of(Plain)
        self.key = self.cached.key(self.row.pk)
        Plain.objects.cache(self.row.pk)
        self.data = entry(Plain, self.row.pk)

    def plant(self, value):
        cache = self.cached.cache
        (seen,) = cache.gets_many([self.key]).values()
        self.assertTrue(cache.cas_many({self.key: Swap(seen, value, 60)}))

    def assertReplaced(self):
        cache = caches["default"]
        self.assertIsNone(cache.get(self.key))
        self.assertFalse(cache.has_key(self.key))
        self.assertEqual(cache.get_many([self.key]), {})
        self.assertRight(Plain, self.row.pk)
        self.assertIsInstance(entry(Plain, self.row.pk), Row)

    def unusable(self):
        """Yield rows that can't be used: cut short, or with other contents."""
        prefix = self.data[: fingerprint.SIZE]
        for end in range(len(self.data)):
            yield self.data[:end]
        yield self.data[fingerprint.SIZE :]
        yield bytes(len(self.data))
        for values in ({"id": 1}, (), (1,), (1, "a", 0, 0), None, "abc", 7, object):
            yield prefix + pickle.dumps(values)
        for values in ({"id": 1}, (), (1,), (1, "a", 0, 0), (1,) * 9, None, "abc", 7):
            yield prefix + msgspec.msgpack.encode(values)
        yield prefix + b"garbage"
        yield prefix + b"cno.such.module\nthing\n."

    def test_an_unusable_row_is_replaced(self):
        for data in self.unusable():
            with self.subTest(data):
                self.plant(Row(data))
                self.assertReplaced()

    def test_a_row_of_another_model_is_replaced(self):
        for model in (Animal, Text):
            other = model.objects.create(id=self.row.pk, name="x")
            model.objects.cache(other.pk)
            self.plant(entry(model, other.pk))
            self.assertRight(Plain, self.row.pk)
            self.assertIsInstance(entry(Plain, self.row.pk), Row)

    def test_an_unusable_row_is_held_by_writers(self):
        for data in (b"", b"garbage", self.data[:-3]):
            self.plant(Row(data))
            seen = entry(Plain, self.row.pk)
            self.assertIsInstance(seen, Row)
            Plain.objects.filter(pk=self.row.pk).update(name="b")
            self.assertRight(Plain, self.row.pk)

    def test_a_value_of_the_application_is_replaced(self):
        for value in ("text", 7, {"id": 1}, b"", b"bytes", True, None, [1]):
            with self.subTest(value):
                caches["default"].set(self.key, value)
                self.assertRight(Plain, self.row.pk)
                self.assertIsInstance(entry(Plain, self.row.pk), Row)
                caches["default"].set(self.key, value)
                self.row.number += 1
                self.row.save()
                self.assertRight(Plain, self.row.pk)
                self.assertIsInstance(entry(Plain, self.row.pk), Row)

    def test_an_instance_stored_by_the_application_is_replaced(self):
        pickling = {"BACKEND": "cars.caching.backends.LocalMemoryCache"}
        with self.settings(CACHES={"default": pickling}):
            caches["default"].set(self.key, Plain(pk=self.row.pk, name="old"))
            self.assertEqual(caches["default"].get(self.key).name, "old")
            self.assertRight(Plain, self.row.pk)
            self.assertIsInstance(entry(Plain, self.row.pk), Row)

    def test_a_value_of_the_application_among_rows_is_a_miss(self):
        other = Plain.objects.create(name="b")
        caches["default"].set(self.key, "text")
        found = Plain.objects.cache_many([self.row.pk, other.pk])
        self.assertEqual([row.name for row in found.values()], ["a", "b"])

    def test_a_lost_row_is_filled_again(self):
        self.plant(EXPIRE)
        self.assertIsNone(entry(Plain, self.row.pk))
        self.assertRight(Plain, self.row.pk)

    def test_a_row_with_the_fingerprint_of_an_older_model_is_replaced(self):
        fingerprint_of = packing.fingerprint_of
        older = {Plain: b"another."}

        def fingerprint_of_older(cached):
            return older.get(cached.model) or fingerprint_of(cached)

        with (
            mock.patch.object(packing, "fingerprint_of", fingerprint_of_older),
            mock.patch.object(reads, "fingerprint_of", fingerprint_of_older),
        ):
            Plain.objects.cache(self.row.pk)
        self.assertEqual(entry(Plain, self.row.pk)[: fingerprint.SIZE], b"another.")
        self.assertReplaced()

    def test_the_fingerprint_changes_with_the_fields(self):
        database = ("sqlite",)
        first = fingerprint._digest.__wrapped__(Plain, database)
        for change in (
            {"attname": "other"},
            {"column": "other"},
            {"__class__": models.BigIntegerField},
        ):
            field = Plain._meta.get_field("number")
            ((name, value),) = change.items()
            old = getattr(field, name)
            setattr(field, name, value)
            try:
                self.assertNotEqual(fingerprint._digest.__wrapped__(Plain, database), first)
            finally:
                setattr(field, name, old)
        self.assertEqual(fingerprint._digest.__wrapped__(Plain, database), first)
        self.assertNotEqual(fingerprint._digest.__wrapped__(Plain, ("postgresql",)), first)


class UnreadableTests(MemcachedMixin, HeldMixin, TestCase):
    """Bytes in Memcached that don't match their flags."""

    def setUp(self):
        empty_cache()
        self.rows = [Plain.objects.create(name=name) for name in "ab"]
        self.pks = [row.pk for row in self.rows]

    def plant(self, data, flags):
        cache = caches["default"]
        name = cache.make_and_validate_key(cached_model_of(Plain).key(self.pks[0]))
        server = cache._cache
        with mock.patch.object(server.serde, "serialize", lambda key, value: (value, flags)):
            self.assertTrue(cache._cache.set(name, data))

    def test_they_are_replaced_and_other_rows_are_still_read(self):
        for flags in (1, 2, 3, 1 << 8, 1 << 9, 1 << 10):
            for data in (b"", b"\xff\xfe", b"a:b", b"cno.such\nthing\n."):
                if flags == 1 << 9 and data.isascii():
                    continue  # a valid lease, which stands until its timeout
                with self.subTest(flags=flags, data=data):
                    Plain.objects.cache_many(self.pks)
                    self.plant(data, flags)
                    caches["default"].get(cached_model_of(Plain).key(self.pks[0]))
                    found = Plain.objects.cache_many(self.pks)
                    self.assertEqual([row.name for row in found.values()], ["a", "b"])
                    self.plant(data, flags)
                    with self.assertHeld(self.rows[1]):
                        Plain.objects.update(number=models.F("number") + 1)
                    for pk in self.pks:
                        self.assertRight(Plain, pk)
