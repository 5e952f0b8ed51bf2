"""Arbitrary bytes as a row: never an error, never an instance with missing values."""

import datetime

import msgspec
from django.core.cache import caches
from django.test import TestCase
from hypothesis import strategies as st

from cars.caching import rows
from cars.caching.entries import Row
from cars.caching.rows import fingerprint, packing
from cars.tests.support.assertions import cached_model_of, entry
from cars.tests.support.caches import empty_cache
from cars.tests.support.strategies import each, fields_of, many, native, packed
from cars.tests.support.zoo.models import Custom, Everything, Plain


class FuzzTests(TestCase):
    """Arbitrary bytes are unpacked to an instance with all of its values, or to None."""

    def unpack(self, model, data):
        """Unpack `data` after the fingerprint of `model`; assert that an unusable row is logged."""
        cached = cached_model_of(model)
        prefix = fingerprint.fingerprint_of(cached)
        with self.assertLogs("cars.caching", "DEBUG") as logs:
            packing.logger.debug("assertLogs wants one")
            instance = rows.unpack_any(Row(prefix + data))
        if instance is None:
            self.assertEqual([record.levelname for record in logs.records], ["DEBUG", "WARNING"])
            self.assertIn(model._meta.label, logs.output[1])
        else:
            self.assertEqual(len(logs.records), 1)
            self.assertIs(type(instance), model)
            self.assertEqual(len(msgspec.msgpack.decode(data)), len(fields_of(model)))
            self.assertEqual(instance.get_deferred_fields(), set())
        return instance

    def test_any_bytes_are_unpacked_to_none(self):
        def check(data):
            with self.assertNoLogs("cars.caching"):
                self.assertIsNone(rows.unpack_any(Row(data)))

        each(st.binary(max_size=100), check, many)

    def test_any_bytes_after_a_fingerprint_are_safe(self):
        each(st.binary(max_size=100), lambda data: self.unpack(Plain, data), many)

    def test_any_data_after_a_fingerprint_are_safe(self):
        def check(value):
            for model in (Plain, Everything, Custom):
                self.unpack(model, packed(value))

        each(native, check, many)

    def test_any_list_of_values_after_a_fingerprint_is_safe(self):
        def check(values):
            instance = self.unpack(Plain, packed(values))
            if len(values) != len(fields_of(Plain)):
                self.assertIsNone(instance)

        each(st.lists(native, max_size=6), check, many)

    def test_any_values_of_all_fields_are_safe(self):
        number = len(fields_of(Everything))
        values = st.lists(native, min_size=number, max_size=number)
        each(values, lambda values: self.unpack(Everything, packed(values)))

    def test_a_row_with_a_changed_or_missing_byte_is_safe(self):
        row = Everything.objects.create(
            moment=datetime.datetime.now(datetime.UTC), json={"a": [1]}, decimal="1.5", text="a"
        )
        Everything.objects.cache(row.pk)
        data = entry(Everything, row.pk)[fingerprint.SIZE :]
        for place in range(len(data)):
            self.assertIsNone(self.unpack(Everything, data[:place]))
            for byte in (0, 0x80, 0x90, 0xC1, 0xDD, data[place] ^ 1):
                changed = bytearray(data)
                changed[place] = byte
                self.unpack(Everything, bytes(changed))
        self.assertIsNone(self.unpack(Everything, data + b"\xc0"))

    def test_lists_that_claim_to_be_huge_or_are_deep_are_unpacked_to_none(self):
        for data in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000):
            self.assertIsNone(self.unpack(Plain, data))
            self.assertIsNone(self.unpack(Plain, b"\x93\x01\xa1a" + data))

    def test_a_value_that_its_field_cant_read_makes_the_row_unusable(self):
        names = [field.name for field in fields_of(Everything)]

        def unpack(name, value):
            values = [None] * len(names)
            values[names.index(name)] = value
            return self.unpack(Everything, packed(values))

        def extension(name, text):
            """Return a text of the field: the code is the number of the field, from -128 on."""
            return msgspec.msgpack.Ext(names.index(name) - 128, text)

        self.assertIsNotNone(unpack("date", "2026-11-22"))
        for name in ("moment", "date", "decimal", "uuid"):
            for value in ("", "\0", b"\xff", "no such", [], True):
                with self.subTest(name, value=value):
                    self.assertIsNone(unpack(name, value))
        self.assertIsNotNone(unpack("json", extension("json", b"[1]")))
        for text in (b"", b"\0", b"\xff", b"no such", b"{"):
            with self.subTest("json", text=text):
                self.assertIsNone(unpack("json", extension("json", text)))
        self.assertIsNone(unpack("json", msgspec.msgpack.Ext(len(names) - 128, b"1")))

    def test_an_unusable_row_is_logged_and_a_miss(self):
        empty_cache()
        row = Plain.objects.create(name="a")
        Plain.objects.cache(row.pk)
        key = row.key()
        prefix = entry(Plain, row.pk)[: fingerprint.SIZE]
        for data in (
            b"",
            packed([row.pk, "x"]),
            packed([row.pk, "x", 1, 1]),
            packed({"name": "x"}),
        ):
            with self.subTest(data):
                caches["default"].set(key, Row(prefix + data))
                with self.assertLogs("cars.caching", "WARNING") as logs, self.assertNumQueries(1):
                    self.assertEqual(Plain.objects.cache(row.pk).name, "a")
                self.assertIn(key, logs.output[0])
                with self.assertNumQueries(0), self.assertNoLogs("cars.caching"):
                    self.assertEqual(Plain.objects.cache(row.pk).name, "a")
