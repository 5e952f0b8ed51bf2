"""Packed rows: the cache returns what a SELECT returns, in value and type."""

import datetime
import pickle
from contextlib import contextmanager
from decimal import Decimal
from unittest import mock

from django.db import connection, connections, models
from django.test import SimpleTestCase, TestCase, override_settings
from hypothesis import strategies as st

from cars.caching import protocol, rows
from cars.caching.entries import Row
from cars.models import Car
from cars.tests.support.assertions import cached_model_of, entry
from cars.tests.support.caches import empty_cache
from cars.tests.support.strategies import VALUES, each, exactly, fields_of, text
from cars.tests.support.zoo.fields import Point, Secret, Word
from cars.tests.support.zoo.models import (
    Amount,
    Custom,
    Everything,
    Moment,
    Plain,
    Unpackable,
    Uuid,
)


class RowTestCase(TestCase):
    """Tests with one row, which is written past the cache with one value after another."""

    def assertSame(self, row, **values):
        """Write `values`; assert that a miss and then a hit return what a SELECT returns."""
        plainly = models.QuerySet(type(row)).filter(pk=row.pk)
        plainly.update(**values)
        empty_cache()
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

    def test_each_django_field_comes_back_as_it_was(self):
        self.assertAllSame(Everything.objects.create(), VALUES)

    def test_rows_with_values_in_all_fields_come_back_as_they_were(self):
        row = Everything.objects.create()
        some = {name: st.none() | strategy for name, strategy in VALUES.items()}
        each(st.fixed_dictionaries(some), lambda values: self.assertSame(row, **values))

    def test_custom_fields_come_back_as_they_were(self):
        points = st.builds(Point, st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
        values = {"point": points, "word": text(50).map(Word)}
        row = Custom.objects.create()
        self.assertAllSame(row, values)
        self.assertSame(row, point=None, word=None)
        self.assertSame(row, point=Point(1, 2), word=Word("a"))
        cached = Custom.objects.cache(row.pk)
        self.assertEqual((cached.point, type(cached.word)), (Point(1, 2), Word))

    def test_foreign_keys_to_pks_that_are_not_numbers_come_back_as_they_were(self):
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
    """Set the TIME_ZONE of the database, as DATABASES can."""
    try:
        with mock.patch.dict(connection.settings_dict, TIME_ZONE=zone):
            reset_time_zone()
            yield
    finally:
        reset_time_zone()


def reset_time_zone():
    for name in ("timezone", "timezone_name"):
        vars(connections["default"]).pop(name, None)
    connection.ensure_timezone()


class TimeZoneTests(RowTestCase):
    """A datetime comes back in the time zone of its connection, not with a fixed offset."""

    def setUp(self):
        self.row = Everything.objects.create()
        summer, autumn = (datetime.datetime(2026, m, 1, tzinfo=datetime.UTC) for m in (7, 11))
        twice = datetime.datetime(2026, 10, 25, 0, 30, tzinfo=datetime.UTC)  # 2:30 in Prague
        self.moments = summer, autumn, twice, twice + datetime.timedelta(hours=1)

    def test_datetimes_come_back_in_the_time_zone_of_the_connection(self):
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

    def test_without_time_zone_support_a_datetime_comes_back_naive(self):
        with override_settings(USE_TZ=False, TIME_ZONE="Europe/Prague"):
            for moment in self.moments:
                self.assertSame(self.row, moment=moment.replace(tzinfo=None))


class UnpackableTests(TestCase):
    """A value that can't be packed stays out of the cache, and so does its row."""

    def setUp(self):
        empty_cache()
        protocol._warned.clear()
        with self.assertLogs("cars.caching", "WARNING"):
            self.row = Unpackable.objects.create(name="a", secret=Secret("s"))
        empty_cache()
        protocol._warned.clear()

    def assertStaysOut(self):
        for _ in range(2):
            with self.assertNumQueries(1):
                read = Unpackable.objects.cache(self.row.pk)
            self.assertEqual(read.secret, Secret("s"))
            self.assertIsNone(entry(Unpackable, self.row.pk))

    def test_a_row_that_cant_be_packed_is_read_from_the_database(self):
        self.assertStaysOut()

    def test_the_log_names_the_row_and_the_field_once(self):
        with self.assertLogs("cars.caching", "WARNING") as logs:
            Unpackable.objects.cache(self.row.pk)
            Unpackable.objects.cache(self.row.pk)
        self.assertEqual(len(logs.records), 1)
        self.assertIn(self.row.key(), logs.output[0])
        self.assertIn("zoo.Unpackable.secret", logs.output[0])

    def test_only_the_row_that_cant_be_packed_stays_out(self):
        other = Unpackable.objects.create(name="b")
        empty_cache()
        with self.assertNumQueries(1):
            found = Unpackable.objects.cache_many([self.row.pk, other.pk])
        self.assertEqual([read.name for read in found.values()], ["a", "b"])
        self.assertIsNone(entry(Unpackable, self.row.pk))
        self.assertIsInstance(entry(Unpackable, other.pk), Row)

    def test_a_write_of_a_value_that_cant_be_packed_leaves_nothing(self):
        for write in (
            lambda row: row.save(),
            lambda row: Unpackable.objects.filter(pk=row.pk).update(secret=Secret("s")),
        ):
            Unpackable.objects.filter(pk=self.row.pk).update(secret=None)
            Unpackable.objects.cache(self.row.pk)
            self.assertIsInstance(entry(Unpackable, self.row.pk), Row)
            write(self.row)
            self.assertStaysOut()

    def test_a_string_with_a_lone_surrogate_cant_be_packed(self):
        """SQLite can return such strings from JSON."""
        with self.assertRaises(UnicodeEncodeError):
            rows.pack(cached_model_of(Plain), [1, "\ud800", 2])


class SizeTests(SimpleTestCase):
    """A packed row is small."""

    # What Memcached adds: its header, the number for `cas`, the flags, the key and the byte after
    # it, and the line end after the value.
    HEADER, CAS, FLAGS, NUL, END = 48, 8, 4, 1, 2

    def item(self, data):
        """Return the size in bytes of Memcached's item for a car with the value `data`."""
        key = "carsite:1:Car.12345"
        return self.HEADER + self.CAS + self.FLAGS + len(key) + self.NUL + len(data) + self.END

    def test_a_typical_car_takes_less_than_80_bytes(self):
        car = Car.from_db(
            "default",
            [field.attname for field in fields_of(Car)],
            [12345, "Toyota", "Avensis", 1997, "saloon", "Japan", 186_000, Decimal("2450.00")],
        )
        values = [getattr(car, field.attname) for field in fields_of(Car)]
        data = rows.pack(cached_model_of(Car), values)
        pickled = pickle.dumps(car, pickle.HIGHEST_PROTOCOL)
        self.assertLess(len(data), 80)
        self.assertLessEqual(4 * len(data), len(pickled))
        # Much of the item is Memcached's overhead, which no packing makes smaller.
        self.assertLessEqual(self.item(data), 0.36 * self.item(pickled))
