"""Which key a row has: one for each row, and one that Memcached takes."""

import uuid
import warnings
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import combinations

from django.core.cache import caches
from django.core.cache.backends.base import memcache_key_warnings
from django.test import SimpleTestCase, TestCase

from cars.caching.registry import CachedModel
from cars.tests.support.assertions import HeldMixin, entry
from cars.tests.support.caches import forget
from cars.tests.support.zoo.models import Amount, Keeper, License, Moment, Pair, Plain, Text, Uuid

TEXTS = [
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
    "S\u030ckoda",  # the same to the eye, another text to the database
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


class KeyTests(SimpleTestCase):
    def key(self, model, pk):
        return CachedModel(model, "default").key(pk)

    def test_a_row_has_one_key_however_its_pk_is_written(self):
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

    def test_two_rows_have_two_keys(self):
        pairs = [(1, "1"), (11, ""), (1, "1,"), (1, ",1"), (1, "%2C1"), (1, "x" * 500)]
        for model, pks in ((Text, TEXTS), (Pair, pairs), (Plain, [1, -1, 11, 2**62])):
            keys = [self.key(model, pk) for pk in pks]
            for (one, key), (two, other) in combinations(zip(pks, keys, strict=True), 2):
                self.assertNotEqual(key, other, (one, two))

    def test_a_key_reads_as_model_dot_pk(self):
        self.assertEqual(self.key(Plain, 1), "Plain.1")
        self.assertEqual(self.key(Text, "a b"), "Text.a%20b")
        self.assertEqual(self.key(Pair, (1, "a b")), "Pair.1,a%20b")

    def test_memcached_takes_every_key(self):
        for text in TEXTS:
            for key in (self.key(Text, text), self.key(Pair, (1, text))):
                self.assertLess(len(key), 150)
                self.assertTrue(key.isascii())
                self.assertEqual(list(memcache_key_warnings(key)), [])

    def test_none_has_no_key(self):
        for model in (Plain, Text, Uuid):
            with self.assertRaisesMessage(ValueError, "None is not a valid pk"):
                self.key(model, None)


class ReadingTests(HeldMixin, TestCase):
    def setUp(self):
        forget()

    def test_texts_make_the_round_trip(self):
        texts = [text for text in TEXTS if "\x00" not in text]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for number, text in enumerate(texts):
                Text.objects.create(id=text, name=str(number))
                self.assertRight(Text, text)
                self.assertEqual(Text.objects.cache(text).name, str(number))
            with self.assertNumQueries(0):
                found = Text.objects.cache_many(texts)
            self.assertEqual([row.id for row in found.values()], texts)
            forget()
            with self.assertNumQueries(1):
                self.assertEqual(list(Text.objects.cache_many(texts)), texts)
            for text in texts[1:]:
                Text(id=text, name="new").save()
                self.assertRight(Text, text)

    def test_other_pks_make_the_round_trip(self):
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

    def test_a_pk_is_found_as_it_was_asked_for(self):
        row = Plain.objects.create(name="a")
        found = Plain.objects.cache_many([str(row.pk), row.pk, 0])
        self.assertEqual(list(found), [str(row.pk), row.pk])
        self.assertEqual(list(Plain.objects.cache_many(iter([row.pk]))), [row.pk])

    def test_a_uuid_as_text_is_a_hit(self):
        row = Uuid.objects.create(name="a")
        Uuid.objects.cache(row.pk)
        with self.assertNumQueries(0):
            self.assertEqual(Uuid.objects.cache(str(row.pk)), row)
            self.assertEqual(Uuid.objects.cache(row.pk.hex), row)

    def test_what_is_no_pk_raises_what_get_raises(self):
        unfit = {
            Plain: ["abc", "", "1.5", object(), (), None, [1], {}, 10**30, -(10**30), Plain()],
            Uuid: ["abc", 1, None, object()],
            Amount: ["abc", None, object()],
            Moment: ["abc", None],
            Pair: [1, "1b", (1,), (1, "a", 2), ("x", "a"), (1, None), (None, "a")],
            Text: [None],
        }
        for model, pks in unfit.items():
            for pk in pks:
                with self.subTest(model=model.__name__, pk=pk):
                    with self.assertRaises(Exception) as get:
                        model.objects.get(pk=pk)
                    with self.assertRaises(type(get.exception)):
                        model.objects.cache(pk)

    def test_none_among_others_is_left_out(self):
        row = Plain.objects.create(name="a")
        self.assertEqual(list(Plain.objects.cache_many([None, row.pk])), [row.pk])

    def test_django_finds_the_row_by_its_key(self):
        row = Text.objects.create(id="a b " * 100)
        self.assertEqual(caches["default"].get(row.key()), row)
        self.assertTrue(caches["default"].has_key(row.key()))
        self.assertIsNotNone(entry(Text, row.pk))
