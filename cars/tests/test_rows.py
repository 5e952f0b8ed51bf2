"""Packed rows: what the cache gives is what a SELECT gives, in value and type."""

import datetime
import pickle
import uuid
from contextlib import contextmanager
from decimal import Decimal
from unittest import mock

import msgspec
from django.core.cache import caches
from django.db import connection, connections, models
from django.test import SimpleTestCase, TestCase, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..caching import marks, rows
from ..caching.entries import Row
from ..models import Car
from .cache import forget
from .held import entry, table_of
from .zoo.fields import Point, Secret, Word
from .zoo.models import Amount, Custom, Everything, Moment, Plain, Unpackable, Uuid

# Derandomized: a test that fails does so every time, and on every machine.
few = settings(derandomize=True, deadline=None, max_examples=25, database=None)
many = settings(few, max_examples=150, suppress_health_check=[HealthCheck.too_slow])

# What both databases can store.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def each(strategy, check, how=few):
    """Call `check` with values that `strategy` draws.

    All of them in the transaction of one test: none of them needs another test's rows.
    """

    @how
    @given(strategy)
    def call(value):
        check(value)

    call()


def text(longest):
    return st.text(characters, max_size=longest)


def integers(bits, least=None):
    """Numbers of so many bits, their borders often."""
    least, most = -(2 ** (bits - 1)) if least is None else least, 2 ** (bits - 1) - 1
    return st.sampled_from([least, least + 1, most - 1, most]) | st.integers(least, most)


offsets = st.integers(-959, 959).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)
moments = st.datetimes(
    datetime.datetime(2, 1, 1), datetime.datetime(9998, 12, 31), timezones=offsets
)
finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | integers(64) | finite | text(20)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text(10), inner, max_size=5),
    max_leaves=20,
)


def deep(depth):
    document = {"車": 2**70}
    for _ in range(depth):
        document = {"a": [document]}
    return document


# SQLite has 15 digits.
DECIMAL = Decimal("9" * (9 if connection.vendor == "sqlite" else 14) + ".999999")

VALUES = {
    "big": integers(64),
    "binary": st.binary(max_size=300),
    "boolean": st.booleans(),
    "char": text(100),
    "date": st.dates(),
    "moment": moments,
    "decimal": st.decimals(-DECIMAL, DECIMAL, places=6)
    | st.decimals(-10, 10, places=2)
    | st.sampled_from([Decimal("-0"), DECIMAL, Decimal("0.000001")]),
    "duration": st.timedeltas(datetime.timedelta(days=-(10**8)), datetime.timedelta(days=10**8)),
    "email": text(254),
    "file": text(100),
    "path": text(100),
    "float": st.floats() | st.sampled_from([-0.0, float("inf"), 5e-324, 2.0**64, 1.0]),
    "integer": integers(32).filter(lambda number: number < 2**31 - 1),  # one more is generated
    "ip": st.ip_addresses().map(str),
    "json": documents | st.sampled_from([deep(100), [], {}, "", 2**64, -(2**63) - 1, [[]]]),
    "positive": integers(32, 0),
    "positive_big": integers(64, 0),
    "positive_small": integers(16, 0),
    "slug": text(50),
    "small": integers(16),
    "text": text(300),
    "time": st.times(),
    "url": text(200),
    "uuid": st.uuids() | st.sampled_from([uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]),
}


def exactly(instance):
    """Return the values of `instance` so that any two that differ at all are not equal."""
    return {field.attname: exact(getattr(instance, field.attname)) for field in fields_of(instance)}


def exact(value):
    """Return the type of `value` and its repr: True is not 1, 0.0 not -0.0, 1.0 not 1.00."""
    return type(value), repr(bytes(value) if isinstance(value, memoryview) else value)


def fields_of(model):
    return model._meta.concrete_fields


class RowTestCase(TestCase):
    """One row, written past the cache with one value after another."""

    def assertSame(self, row, **values):
        """Write `values`: a miss and then a hit give what a SELECT gives."""
        plainly = models.QuerySet(type(row)).filter(pk=row.pk)
        plainly.update(**values)
        forget()
        selected = exactly(plainly.get())
        self.assertEqual(exactly(type(row).objects.cache(row.pk)), selected)
        with self.assertNumQueries(0):
            cached = type(row).objects.cache(row.pk)
        self.assertEqual(exactly(cached), selected)

    def assertAllSame(self, row, strategies):
        for name, strategy in strategies.items():
            with self.subTest(name):
                each(strategy, lambda value, name=name: self.assertSame(row, **{name: value}))


class RoundTripTests(RowTestCase):
    def test_there_is_a_strategy_for_every_field(self):
        others = {"id", "generated", "one", "other"}
        self.assertEqual({field.name for field in fields_of(Everything)}, {*VALUES, *others})

    def test_each_field_of_djangos(self):
        self.assertAllSame(Everything.objects.create(), VALUES)

    def test_rows_of_all_fields_at_once(self):
        row = Everything.objects.create()
        some = {name: st.none() | strategy for name, strategy in VALUES.items()}
        each(st.fixed_dictionaries(some), lambda values: self.assertSame(row, **values))

    def test_fields_of_somebodys_own(self):
        points = st.builds(Point, st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
        values = {"point": points, "word": text(50).map(Word)}
        row = Custom.objects.create()
        self.assertAllSame(row, values)
        self.assertSame(row, point=None, word=None)
        self.assertSame(row, point=Point(1, 2), word=Word("a"))
        cached = Custom.objects.cache(row.pk)
        self.assertEqual((cached.point, type(cached.word)), (Point(1, 2), Word))

    def test_references_to_pks_that_are_no_numbers(self):
        row = Custom.objects.create()
        moment = datetime.datetime(2026, 3, 29, 1, 59, 59, 999999, tzinfo=datetime.UTC)
        for others in (
            {"to_uuid": Uuid.objects.create(name="a")},
            {"to_amount": Amount.objects.create(id=Decimal("-1.50"))},
            {"to_moment": Moment.objects.create(id=moment)},
        ):
            with self.subTest(others):
                self.assertSame(row, **others)


@contextmanager
def connection_in(zone):
    """Let the database's datetimes come in this time zone, as DATABASES can say."""
    try:
        with mock.patch.dict(connection.settings_dict, TIME_ZONE=zone):
            forget_time_zone()
            yield
    finally:
        forget_time_zone()


def forget_time_zone():
    for name in ("timezone", "timezone_name"):
        vars(connections["default"]).pop(name, None)
    connection.ensure_timezone()


class TimeZoneTests(RowTestCase):
    """A datetime comes in the time zone of its connection, not with its offset alone."""

    def setUp(self):
        self.row = Everything.objects.create()
        summer, autumn = (datetime.datetime(2026, m, 1, tzinfo=datetime.UTC) for m in (7, 11))
        twice = datetime.datetime(2026, 10, 25, 0, 30, tzinfo=datetime.UTC)  # 2:30 in Prague
        self.moments = summer, autumn, twice, twice + datetime.timedelta(hours=1)

    def test_moments_come_in_the_time_zone_of_the_connection(self):
        with connection_in("Europe/Prague"):
            for moment in self.moments:
                self.assertSame(self.row, moment=moment)
            read = Everything.objects.cache(self.row.pk)
            self.assertEqual(str(read.moment.tzinfo), "Europe/Prague")

    def test_in_another_time_zone_a_row_is_a_miss(self):
        self.assertSame(self.row, moment=self.moments[0])
        with connection_in("Europe/Prague"):
            with self.assertNumQueries(1):
                read = Everything.objects.cache(self.row.pk)
            self.assertEqual(str(read.moment.tzinfo), "Europe/Prague")

    def test_without_time_zones_it_has_none(self):
        with override_settings(USE_TZ=False, TIME_ZONE="Europe/Prague"):
            for moment in self.moments:
                self.assertSame(self.row, moment=moment.replace(tzinfo=None))


class UnpackableTests(TestCase):
    """A value that can't be packed stays out of the cache, and so does its row."""

    def setUp(self):
        forget()
        self.row = Unpackable.objects.create(name="a", secret=Secret("s"))
        forget()

    def assertStaysOut(self):
        for _ in range(2):
            with self.assertLogs("cars.caching", "ERROR") as logs, self.assertNumQueries(1):
                read = Unpackable.objects.cache(self.row.pk)
            self.assertEqual(len(logs.records), 1)
            self.assertIn(self.row.key(), logs.output[0])
            self.assertEqual(read.secret, Secret("s"))
            self.assertIsNone(entry(Unpackable, self.row.pk))

    def test_it_is_read_from_the_database(self):
        self.assertStaysOut()

    def test_the_log_names_the_field(self):
        with self.assertLogs("cars.caching", "ERROR") as logs:
            Unpackable.objects.cache(self.row.pk)
        self.assertIn("zoo.Unpackable.secret", logs.output[0])

    def test_among_others_only_it_stays_out(self):
        other = Unpackable.objects.create(name="b")
        forget()
        with self.assertLogs("cars.caching", "ERROR"), self.assertNumQueries(1):
            found = Unpackable.objects.cache_many([self.row.pk, other.pk])
        self.assertEqual([read.name for read in found.values()], ["a", "b"])
        self.assertIsNone(entry(Unpackable, self.row.pk))
        self.assertIsInstance(entry(Unpackable, other.pk), Row)

    def test_a_write_that_makes_it_so_leaves_nothing_behind(self):
        for write in (
            lambda row: row.save(),
            lambda row: Unpackable.objects.filter(pk=row.pk).update(secret=Secret("s")),
        ):
            Unpackable.objects.filter(pk=self.row.pk).update(secret=None)
            Unpackable.objects.cache(self.row.pk)
            self.assertIsInstance(entry(Unpackable, self.row.pk), Row)
            with self.assertLogs("cars.caching", "ERROR"):
                write(self.row)
                Unpackable.objects.cache_many([])  # where what has been held is released
            self.assertStaysOut()

    def test_a_text_that_is_no_unicode_cant_be_packed(self):
        """SQLite has such texts in JSON."""
        with self.assertRaises(UnicodeEncodeError):
            rows.pack(table_of(Plain), [1, "\ud800", 2])


def packed(values):
    return msgspec.msgpack.encode(values)


native = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | text(9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text(5), inner, max_size=3),
    max_leaves=10,
)


class FuzzTests(TestCase):
    """Whatever bytes stand for a row: an instance with all of its values, or none."""

    def unpack(self, model, data):
        """Unpack `data` behind the mark of `model`: a row that can't be used is logged."""
        table = table_of(model)
        mark = marks.marks_of(table)[-1]
        with self.assertLogs("cars.caching", "DEBUG") as logs:
            rows.logger.debug("assertLogs wants one")
            instance = rows.unpack(Row(mark + data))
        if instance is None:
            self.assertEqual([record.levelname for record in logs.records], ["DEBUG", "WARNING"])
            self.assertIn(model._meta.label, logs.output[1])
        else:
            self.assertEqual(len(logs.records), 1)
            self.assertIs(type(instance), model)
            self.assertEqual(len(msgspec.msgpack.decode(data)), len(fields_of(model)))
            self.assertEqual(instance.get_deferred_fields(), set())
        return instance

    def test_any_bytes_at_all(self):
        def check(data):
            with self.assertNoLogs("cars.caching"):
                self.assertIsNone(rows.unpack(Row(data)))

        each(st.binary(max_size=100), check, many)

    def test_any_bytes_behind_a_mark(self):
        each(st.binary(max_size=100), lambda data: self.unpack(Plain, data), many)

    def test_any_data_behind_a_mark(self):
        def check(value):
            for model in (Plain, Everything, Custom):
                self.unpack(model, packed(value))

        each(native, check, many)

    def test_any_values_behind_a_mark(self):
        def check(values):
            instance = self.unpack(Plain, packed(values))
            if len(values) != len(fields_of(Plain)):
                self.assertIsNone(instance)

        each(st.lists(native, max_size=6), check, many)

    def test_any_values_of_every_field(self):
        number = len(fields_of(Everything))
        values = st.lists(native, min_size=number, max_size=number)
        each(values, lambda values: self.unpack(Everything, packed(values)))

    def test_a_row_with_one_byte_changed_or_missing(self):
        row = Everything.objects.create(
            moment=datetime.datetime.now(datetime.UTC), json={"a": [1]}, decimal="1.5", text="a"
        )
        Everything.objects.cache(row.pk)
        data = entry(Everything, row.pk)[marks.SIZE :]
        for place in range(len(data)):
            self.assertIsNone(self.unpack(Everything, data[:place]))
            for byte in (0, 0x80, 0x90, 0xC1, 0xDD, data[place] ^ 1):
                changed = bytearray(data)
                changed[place] = byte
                self.unpack(Everything, bytes(changed))
        self.assertIsNone(self.unpack(Everything, data + b"\xc0"))

    def test_lists_that_claim_to_be_huge_or_are_deep(self):
        for data in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000):
            self.assertIsNone(self.unpack(Plain, data))
            self.assertIsNone(self.unpack(Plain, b"\x93\x01\xa1a" + data))

    def test_a_value_that_its_field_cant_read(self):
        """An extension: the number of the field in two bytes, and a text."""
        for field in ("moment", "date", "decimal", "json", "uuid"):
            number = [f.name for f in fields_of(Everything)].index(field)
            for written in (b"", b"\0", b"\xff\xff", b"no such", b"\xff", b"{"):
                values = [None] * len(fields_of(Everything))
                prefix = number.to_bytes(2) if len(written) > 2 or written == b"\xff" else b""
                values[number] = msgspec.msgpack.Ext(0, prefix + written)
                with self.subTest(field, written=written):
                    self.assertIsNone(self.unpack(Everything, packed(values)))

    def test_a_row_that_cant_be_used_is_logged_and_a_miss(self):
        forget()
        row = Plain.objects.create(name="a")
        Plain.objects.cache(row.pk)
        key = row.key()
        mark = entry(Plain, row.pk)[: marks.SIZE]
        for data in (
            b"",
            packed([row.pk, "x"]),
            packed([row.pk, "x", 1, 1]),
            packed({"name": "x"}),
        ):
            with self.subTest(data):
                caches["default"].set(key, Row(mark + data))
                with self.assertLogs("cars.caching", "WARNING") as logs, self.assertNumQueries(1):
                    self.assertEqual(Plain.objects.cache(row.pk).name, "a")
                self.assertIn("zoo.Plain", logs.output[0])
                with self.assertNumQueries(0), self.assertNoLogs("cars.caching"):
                    self.assertEqual(Plain.objects.cache(row.pk).name, "a")


class SizeTests(SimpleTestCase):
    """A packed row is small."""

    # What Memcached adds: its header, the number for `cas`, flags, the key and the byte after it,
    # and the end of the line after the value.
    HEADER, CAS, FLAGS, NUL, END = 48, 8, 4, 1, 2

    def item(self, data):
        """Return how many bytes the item of a car with the value `data` has in Memcached."""
        key = "carsite:1:Car.12345"
        return self.HEADER + self.CAS + self.FLAGS + len(key) + self.NUL + len(data) + self.END

    def test_a_typical_car(self):
        car = Car.from_db(
            "default",
            [field.attname for field in fields_of(Car)],
            [12345, "Toyota", "Avensis", 1997, "saloon", "Japan", 186_000, Decimal("2450.00")],
        )
        values = [getattr(car, field.attname) for field in fields_of(Car)]
        data = rows.pack(table_of(Car), values)
        pickled = pickle.dumps(car, pickle.HIGHEST_PROTOCOL)
        self.assertLess(len(data), 80)
        self.assertLessEqual(4 * len(data), len(pickled))
        # Of the whole item much is Memcached's own, which no packing makes smaller.
        self.assertLessEqual(self.item(data), 0.36 * self.item(pickled))
