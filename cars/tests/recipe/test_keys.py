"""The keys of rows: one for each row, and valid for Memcached."""

import uuid
import warnings
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import combinations
from unittest import mock

from django.core.cache import caches
from django.core.cache.backends.base import memcache_key_warnings
from django.db.models import BigAutoField
from django.test import SimpleTestCase, TestCase

from cars.caching.registry import CachedModel
from cars.tests.support.assertions import HeldMixin, entry
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Amount, Keeper, License, Moment, Pair, Plain, Text, Uuid

STRINGS = [
    "",
    "a",
    "A",
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\r\nset x 0 0 1",
    "\x01\x7f",
    "Škoda",
    "S\u030ckoda",  # looks the same, but is another string
    "車🚗",
    "%",
    "%25",
    "a%20b",
    "@",
    "1@archive",
    "1,a",
    "a.b/c?d=e&f",
    "sha256:" + "0" * 64,
    "sha256%3A" + "0" * 64,
    "x" * 100,
    "x" * 101,
    "x" * 500,
    "x" * 499 + "y",
    "Š" * 500,
    "\\",
    "'; DROP",
]


class NegatedField(BigAutoField):
    """Shows other numbers than the database has."""

    def get_prep_value(self, value):
        return None if value is None else -int(value)


class RowKeyTests(SimpleTestCase):
    def key(self, model, pk):
        return CachedModel(model, "default").key(pk)

    def test_a_number_and_its_string_have_one_key_also_where_the_field_stores_another_one(self):
        with mock.patch.object(Plain._meta, "pk", NegatedField()):
            self.assertEqual(self.key(Plain, 5), self.key(Plain, "5"))
            self.assertNotEqual(self.key(Plain, 5), self.key(Plain, -5))

    def test_equal_pks_have_one_key(self):
        one = uuid.UUID("12345678123456781234567812345678")
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        same = {
            Plain: [1, "1", " 1", 1.0, True, Decimal(1)],
            Uuid: [one, str(one), one.hex, one.urn, f"{{{one}}}", str(one).upper()],
            Amount: [Decimal("1.50"), Decimal("1.5"), "1.5", "1.500", 1.5],
            Moment: [noon, noon.astimezone(timezone(timedelta(hours=2))), "2026-01-01T12:00Z"],
            Pair: [(1, "a"), ("1", "a")],
            License: [7, "7", Keeper(pk=7).pk],
        }
        for model, pks in same.items():
            with self.subTest(model.__name__):
                self.assertEqual(len({self.key(model, pk) for pk in pks}), 1, pks)

    def test_different_pks_have_different_keys(self):
        pairs = [(1, "1"), (11, ""), (1, "1,"), (1, ",1"), (1, "%2C1"), (1, "x" * 500)]
        for model, pks in ((Text, STRINGS), (Pair, pairs), (Plain, [1, -1, 11, 2**62])):
            keys = [self.key(model, pk) for pk in pks]
            for (one, key), (two, other) in combinations(zip(pks, keys, strict=True), 2):
                self.assertNotEqual(key, other, (one, two))

    def test_a_key_is_the_model_name_a_dot_and_the_pk(self):
        self.assertEqual(self.key(Plain, 1), "Plain.1")
        self.assertEqual(self.key(Text, "a b"), "Text.a%20b")
        self.assertEqual(self.key(Pair, (1, "a b")), "Pair.1,a%20b")

    def test_every_key_is_valid_for_memcached(self):
        for text in STRINGS:
            for key in (self.key(Text, text), self.key(Pair, (1, text))):
                self.assertLess(len(key), 150)
                self.assertTrue(key.isascii())
                self.assertEqual(list(memcache_key_warnings(key)), [])

    def test_none_has_no_key(self):
        for model in (Plain, Text, Uuid):
            with self.assertRaisesMessage(ValueError, "None is not a valid pk"):
                self.key(model, None)


class ReadingByKeyTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()

    def test_rows_with_string_pks_are_read_and_written(self):
        strings = [text for text in STRINGS if "\x00" not in text]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for number, text in enumerate(strings):
                Text.objects.create(id=text, name=str(number))
                self.assertRight(Text, text)
                self.assertEqual(Text.objects.cache(text).name, str(number))
            with self.assertNumQueries(0):
                found = Text.objects.cache_many(strings)
            self.assertEqual([row.id for row in found.values()], strings)
            empty_cache()
            with self.assertNumQueries(1):
                self.assertEqual(list(Text.objects.cache_many(strings)), strings)
            for text in strings[1:]:
                Text(id=text, name="new").save()
                self.assertRight(Text, text)

    def test_rows_with_other_pks_are_read_and_written(self):
        noon = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
        for row in (
            Uuid(name="x"),
            Amount(id=Decimal("1.50")),
            Amount(id="-0.05"),
            Moment(id=noon),
            Pair(left=-1, right="a b"),
        ):
            row.save()
            self.assertRight(type(row), row.pk)
            with self.assertHeld(type(row).objects.get(pk=row.pk)):
                row.name = "new"
                row.save()

    def test_rows_are_returned_by_the_pks_that_were_passed(self):
        row = Plain.objects.create(name="a")
        found = Plain.objects.cache_many([str(row.pk), row.pk, 0])
        self.assertEqual(list(found), [str(row.pk), row.pk])
        self.assertEqual(list(Plain.objects.cache_many(iter([row.pk]))), [row.pk])

    def test_a_uuid_as_a_string_is_a_hit(self):
        row = Uuid.objects.create(name="a")
        Uuid.objects.cache(row.pk)
        with self.assertNumQueries(0):
            self.assertEqual(Uuid.objects.cache(str(row.pk)), row)
            self.assertEqual(Uuid.objects.cache(row.pk.hex), row)

    def test_an_invalid_pk_raises_what_get_raises(self):
        invalid = {
            Plain: ["abc", "", "1.5", object(), (), None, [1], {}, 10**30, -(10**30), Plain()],
            Uuid: ["abc", 1, None, object()],
            Amount: ["abc", None, object()],
            Moment: ["abc", None],
            Pair: [1, "1b", (1,), (1, "a", 2), ("x", "a"), (1, None), (None, "a")],
            Text: [None],
        }
        for model, pks in invalid.items():
            for pk in pks:
                with self.subTest(model=model.__name__, pk=pk):
                    with self.assertRaises(Exception) as get:
                        model.objects.get(pk=pk)
                    with self.assertRaises(type(get.exception)):
                        model.objects.cache(pk)

    def test_none_among_other_pks_is_left_out(self):
        row = Plain.objects.create(name="a")
        self.assertEqual(list(Plain.objects.cache_many([None, row.pk])), [row.pk])

    def test_djangos_cache_finds_the_row_by_its_key(self):
        row = Text.objects.create(id="a b " * 100)
        self.assertEqual(caches["default"].get(row.key()), row)
        self.assertTrue(caches["default"].has_key(row.key()))
        self.assertIsNotNone(entry(Text, row.pk))
