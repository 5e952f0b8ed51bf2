"""The cache backends: what can be stored, and what is never unpickled."""

import datetime
import enum
import uuid
from decimal import Decimal
from unittest import mock, skipUnless

from django.conf import settings
from django.core.cache import cache
from django.core.cache.backends.base import InvalidCacheKey
from django.test import SimpleTestCase, TestCase
from django.utils.safestring import SafeString
from hypothesis import strategies as st
from pymemcache.client import base
from pymemcache.serde import pickle_serde

from cars.caching.backends import MemcachedCache, serde
from cars.caching.entries import ABSENT, Holds, Lease, Row, Swap
from cars.lab import servers
from cars.tests.support.assertions import HeldMixin, entry
from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.other_clients import using
from cars.tests.support.strategies import documents, each, exact
from cars.tests.support.zoo.models import Plain


class Colour(enum.IntEnum):
    RED = 1


PLAIN = [
    *("", "車🚗", "x" * 10_000, "7", b"", bytes(range(256)), True, False),
    *(0, 1, -1, 2**63, -(2**63), 2**64, -(2**100), 10**50),
    *(0.0, -0.0, 0.1, -1.5e300, float("inf"), float("-inf"), float("nan")),
    *([], [None], [1, [2.5, ["a", [b"\xff", [True]]]]], [2**64 - 1, -(2**63)]),
    *({}, {"": None}, {"a": {"b": [{"車": b"\xff"}]}, "c": 1.0, "d": False}),
]
REFUSED = [
    *((), (1,), {1}, frozenset(), object(), 1j, bytearray(b"a"), memoryview(b"a"), range(3)),
    *(datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), datetime.timedelta(1)),
    *(Decimal("1.5"), uuid.UUID(int=1), SafeString("a"), Colour.RED, Plain(name="a"), ABSENT),
    *({1: "a"}, {b"a": 1}, {SafeString("a"): 1}, {None: 1}, {(): 1}),
    *([(1,)], {"a": {"b": (1,)}}, [[{2: 1}]], {"a": [Decimal(1)]}, [2**64], {"a": -(2**63) - 1}),
]


class PlainDataTests(SimpleTestCase):
    """OPTIONS["pickle"] = False, in local memory."""

    def setUp(self):
        self.enterContext(using([], pickle=False))
        empty_cache()

    def assertSame(self, found, value):
        self.assertEqual(exact(found), exact(value))

    def test_plain_data_comes_back_as_it_was(self):
        for number, value in enumerate(PLAIN):
            with self.subTest(value):
                cache.set("set", value)
                self.assertSame(cache.get("set", "default"), value)
                self.assertSame(cache.get_many(["set", "none"]), {"set": value})
                self.assertTrue(cache.has_key("set"))
                self.assertTrue(cache.add(f"add{number}", value))
                self.assertSame(cache.get(f"add{number}", "default"), value)
                self.assertEqual(cache.set_many({"many": value, "more": 1}), [])
                self.assertSame(cache.get_many(["many"]), {"many": value})
                self.assertSame(cache.get_or_set(f"or{number}", lambda v=value: v), value)
                self.assertSame(cache.get_or_set(f"or{number}", "another"), value)

    def test_any_plain_data_comes_back_as_it_was(self):
        def check(value):
            if not isinstance(value, int):
                value = self.with_64_bits(value)
            cache.set("a", value)
            self.assertSame(cache.get("a", "default"), value)

        each(documents | st.binary() | st.floats() | st.integers(-(2**200), 2**200), check)

    def with_64_bits(self, value):
        if isinstance(value, list):
            return [self.with_64_bits(item) for item in value]
        if isinstance(value, dict):
            return {name: self.with_64_bits(item) for name, item in value.items()}
        return value % 2**64 if type(value) is int else value

    def test_numbers_can_be_incremented_and_decremented(self):
        cache.set("a", 5)
        self.assertSame(cache.incr("a"), 6)
        self.assertSame(cache.incr("a", 10), 16)
        self.assertSame(cache.decr("a", 15), 1)
        self.assertSame(cache.get("a"), 1)
        with self.assertRaises(ValueError):
            cache.incr("none")

    def test_any_other_value_raises_an_error_that_names_it_and_nothing_is_stored(self):
        writes = {
            "set": lambda value: cache.set("a", value),
            "add": lambda value: cache.add("a", value),
            "set_many": lambda value: cache.set_many({"b": 1, "a": value}),
            "get_or_set": lambda value: cache.get_or_set("a", value),
            "get_or_set of a callable": lambda value: cache.get_or_set("a", lambda: value),
        }
        for value in REFUSED:
            for name, write in writes.items():
                if name == "get_or_set" and callable(value):
                    continue
                with self.subTest(name, value=value):
                    empty_cache()
                    with self.assertRaises(TypeError) as raised:
                        write(value)
                    self.assertIn(repr(self.culprit(value)), str(raised.exception))
                    self.assertIn("OPTIONS['pickle']", str(raised.exception))
                    self.assertEqual(cache.get_many(["a", "b"]), {})
                    cache.set("a", "before")
                    with self.assertRaises(TypeError):
                        cache.set("a", value)
                    self.assertEqual(cache.get("a"), "before")

    def culprit(self, value):
        """Return the innermost part of `value`, or the key in it, that can't be stored."""
        if type(value) is list:
            return self.culprit(value[0])
        if type(value) is dict:
            ((name, item),) = value.items()
            return self.culprit(item) if type(name) is str else name
        return value


class MemcachedPlainDataTests(MemcachedMixin, PlainDataTests):
    """The same in Memcached, with the client for one server."""

    def setUp(self):
        self.enterContext(using(settings.MEMCACHED_SERVERS, pickle=False))
        empty_cache()


@skipUnless(servers.has_memcached(), "no Memcached: put `memcached` on the PATH")
class SeveralMemcachedPlainDataTests(MemcachedMixin, PlainDataTests):
    """The same in Memcached, with the client for several servers, which would hide a TypeError."""

    def setUp(self):
        second = self.enterContext(servers.memcached())
        self.enterContext(using([*settings.MEMCACHED_SERVERS[:1], second], pickle=False))
        empty_cache()


exploded = []


def explode():
    exploded.append(1)


class InvalidKeyTests(MemcachedMixin, SimpleTestCase):
    def test_a_key_that_memcached_does_not_accept_raises_invalid_cache_key(self):
        for key in ("a b", "a\tb", "a\x7f", "x" * 251):
            for call in (cache.get, cache.delete, lambda key: cache.get_many([key])):
                with self.subTest(key), self.assertRaises(InvalidCacheKey):
                    call(key)

    def test_a_subclass_can_override_make_key(self):
        class Tenants(MemcachedCache):
            def make_key(self, key, version=None):
                return f"tenant:{super().make_key(key, version)}"

        tenants = Tenants(settings.MEMCACHED_SERVERS, {})
        self.assertEqual(tenants.make_and_validate_key("a"), "tenant::1:a")


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return explode, ()


class PlantedPickleTests(MemcachedMixin, HeldMixin, TestCase):
    """A pickle in Memcached, put there by another client."""

    def setUp(self):
        empty_cache()
        exploded.clear()
        self.row = Plain.objects.create(name="a")
        self.key = self.row.key()
        address = base.normalize_server_spec(settings.MEMCACHED_SERVERS[0])
        self.addCleanup((client := base.Client(address, serde=pickle_serde)).close)
        self.client = client

    def plant(self, key, value=None):
        self.client.set(cache.make_and_validate_key(key), value or Bomb(), noreply=False)

    def use(self, **options):
        self.enterContext(using(settings.MEMCACHED_SERVERS[:1], **options))

    def test_without_pickle_it_is_a_miss_and_is_not_unpickled(self):
        self.use(pickle=False)
        for value in (None, (1, 2), self.row, {"a": 1}, Row(b"a"), Lease("a"), Holds({"a": 9e9})):
            self.plant("a", value)
            self.assertIsNone(cache.get("a"))
            self.assertEqual(cache.get("a", "default"), "default")
            self.assertEqual(cache.get_many(["a", "b"]), {})
            self.assertFalse(cache.has_key("a"))
            self.assertFalse("a" in cache)
            self.assertIsInstance(cache.gets_many(["a"])["a"].value, Row)
            self.assertEqual(cache.get_or_set("a", "default"), "default")
        self.assertEqual(exploded, [])

    def test_without_pickle_the_row_is_read_and_replaces_it(self):
        self.use(pickle=False)
        other = Plain.objects.create(name="b")
        for reading in (
            lambda: Plain.objects.cache(self.row.pk),
            lambda: Plain.objects.cache_many([self.row.pk, other.pk])[self.row.pk],
        ):
            self.plant(self.key)
            self.assertEqual(reading().name, "a")
            self.assertIsInstance(entry(Plain, self.row.pk), Row)
            self.assertNotEqual(entry(Plain, self.row.pk), b"")
            self.plant(self.key)
            self.row.save()
            self.assertRight(Plain, self.row.pk)
        self.assertEqual(exploded, [])

    def test_without_pickle_no_flags_cause_unpickling(self):
        self.use(pickle=False)
        data = pickle_serde.serialize("a", Bomb())[0]
        plain = base.Client(self.client.server)
        self.addCleanup(plain.close)
        every = {*range(64), *(1 << bit | low for bit in range(6, 16) for low in (0, 1, 16))}
        for flags in every:
            plain.set(cache.make_and_validate_key(f"a{flags}"), data, flags=flags)
        plain.get("a")  # once this is answered, all of them are stored
        with mock.patch.object(serde.logger, "warning"):
            found = cache.get_many([f"a{flags}" for flags in every])
            cache.gets_many([f"a{flags}" for flags in every])
        self.assertEqual(found["a0"], data)  # bytes, not unpickled
        self.assertEqual(exploded, [])

    def test_by_default_pickles_work_as_in_django(self):
        self.use()
        for value in ((1, 2), {3}, Decimal("1.50"), {1: 2}, datetime.date(2026, 1, 1), True):
            cache.set("a", value)
            self.assertEqual(exact(cache.get("a")), exact(value))
            self.plant("a", value)
            self.assertEqual(exact(cache.get("a")), exact(value))
        cache.set("a", self.row)
        self.assertEqual(cache.get("a"), self.row)
        self.plant("a")
        cache.get("a")
        self.assertEqual(exploded, [1])

    def test_rows_leases_and_holds_are_stored_alike_with_and_without_pickle(self):
        written = {}

        class Raw:
            def deserialize(self, key, data, flags):
                return data, flags

        raw = base.Client(self.client.server, serde=Raw())
        self.addCleanup(raw.close)
        for options in ({}, {"pickle": False}):
            self.use(**options)
            empty_cache()
            Plain.objects.cache(self.row.pk)
            values = {"row": entry(Plain, self.row.pk), "lease": Lease("ab")}
            values["holds"] = Holds({"a": 9e9, "b": 9e9 + 0.5})
            for name, value in values.items():
                with self.subTest(name, **options):
                    cache.cas_many({name: Swap(ABSENT, value, 60)})
                    self.assertEqual(cache.gets_many([name])[name].value, value)
                    found = data, flags = raw.get(cache.make_and_validate_key(name))
                    self.assertFalse(flags & 1)
                    self.assertNotIn(b"cars", data)
                    self.assertEqual(written.setdefault(name, found), found)
        self.assertEqual(len({flags for _, flags in written.values()}), 3)
