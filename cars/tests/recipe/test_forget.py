"""`forget` removes rows from the cache, and says how many; leases and holds stay."""

from unittest.mock import patch

from django.core.cache import cache
from django.db import transaction
from django.test import TestCase

from cars.caching import protocol
from cars.caching.entries import ABSENT, Holds, Lease, Row, Swap
from cars.lab import servers
from cars.tests.support.assertions import HeldMixin
from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.other_clients import entry_under, read, using
from cars.tests.support.zoo.models import Pair, Plain, PlainProxy


class ForgetTests(HeldMixin, TestCase):
    databases = {"default", "archive"}

    def setUp(self):
        empty_cache()
        self.rows = [Plain.objects.create(name=str(number)) for number in range(3)]
        self.pks = [row.pk for row in self.rows]
        empty_cache()

    def test_it_returns_how_many_rows_it_has_removed(self):
        Plain.objects.cache_many(self.pks[:2])
        self.assertEqual(Plain.objects.forget(self.pks), 2)
        self.assertEqual(Plain.objects.forget(self.pks), 0)

    def test_the_next_read_is_a_miss_and_fills(self):
        Plain.objects.cache_many(self.pks)
        Plain.objects.forget(self.pks[:1])
        self.assertEqual(read(self.pks[0]), ("0", "miss"))
        self.assertEqual(read(self.pks[0]), ("0", "hit"))
        self.assertEqual(read(self.pks[1]), ("1", "hit"))

    def test_it_runs_no_query(self):
        Plain.objects.cache_many(self.pks)
        with self.assertNumQueries(0):
            Plain.objects.forget(self.pks)

    def test_it_accepts_any_iterable_and_counts_a_row_once(self):
        Plain.objects.cache_many(self.pks)
        first = self.pks[0]
        self.assertEqual(Plain.objects.forget(pk for pk in (first, str(first), first)), 1)
        self.assertEqual(Plain.objects.forget([]), 0)

    def test_it_removes_rows_of_a_composite_pk(self):
        pair = Pair.objects.create(left=1, right="a b")
        Pair.objects.cache(pair.pk)
        self.assertEqual(Pair.objects.forget([pair.pk]), 1)

    def test_a_proxy_removes_the_rows_of_its_model(self):
        Plain.objects.cache_many(self.pks)
        self.assertEqual(PlainProxy.objects.forget(self.pks), 3)

    def test_it_leaves_the_rows_of_another_database(self):
        archived = Plain.objects.db_manager("archive")
        row = archived.create(pk=self.pks[0], name="there")
        archived.cache(row.pk)
        Plain.objects.cache(row.pk)
        self.assertEqual(Plain.objects.forget([row.pk]), 1)
        with self.assertNumQueries(0, using="archive"):
            archived.cache(row.pk)
        self.assertEqual(archived.forget([row.pk]), 1)

    def test_it_leaves_a_lease(self):
        lease = Lease("reader")
        cache.cas_many({self.rows[0].key(): Swap(ABSENT, lease, 10)})
        self.assertEqual(Plain.objects.forget(self.pks), 0)
        self.assertEqual(entry_under(self.rows[0].key()), lease)

    def test_it_leaves_a_hold_which_is_released_afterwards(self):
        with transaction.atomic():
            Plain.objects.filter(pk=self.pks[0]).update(name="new")
            self.assertEqual(Plain.objects.forget(self.pks), 0)
            self.assertIsInstance(entry_under(self.rows[0].key()), Holds)
        self.assertRight(Plain, self.pks[0])

    def test_it_leaves_a_value_of_the_application(self):
        cache.set(self.rows[0].key(), "a string")
        self.assertEqual(Plain.objects.forget(self.pks), 0)
        self.assertEqual(cache.get(self.rows[0].key()), "a string")

    def test_it_removes_a_row_that_can_not_be_used(self):
        cache.set(self.rows[0].key(), Row(b"unusable"))
        self.assertEqual(Plain.objects.forget(self.pks), 1)

    def test_it_neither_removes_nor_counts_an_entry_that_a_writer_has_changed_meanwhile(self):
        Plain.objects.cache_many(self.pks)
        backend = type(Plain.objects._cached().cache)
        gets_many = backend.gets_many

        def gets_and_hold(backend, keys):
            seen = gets_many(backend, keys)
            with patch.object(type(backend), "gets_many", gets_many):
                protocol.hold(Plain.objects._cached(), [self.rows[0].key()], "writer")
            return seen

        with patch.object(backend, "gets_many", gets_and_hold):
            self.assertEqual(Plain.objects.forget(self.pks), 2)
        self.assertIsInstance(entry_under(self.rows[0].key()), Holds)

    def test_it_removes_more_rows_than_a_chunk(self):
        number = 2 * protocol.CHUNK + 1
        rows = Plain.objects.bulk_create(Plain(name="many") for _ in range(number))
        pks = [row.pk for row in rows]
        Plain.objects.cache_many(pks)
        self.assertEqual(Plain.objects.forget(pks), number)
        self.assertEqual(cache.get_many([row.key() for row in rows]), {})

    def test_an_invalid_pk_raises_value_error_and_nothing_is_removed(self):
        Plain.objects.cache_many(self.pks)
        with self.assertRaises(ValueError):
            Plain.objects.forget([*self.pks, "abc"])
        self.assertIsInstance(entry_under(self.rows[0].key()), Row)


@using([], MAX_ENTRIES=5000)  # by default 300, so that rows would be evicted
class LocalMemoryForgetTests(ForgetTests):
    pass


class ServerDownForgetTests(MemcachedMixin, TestCase):
    def test_it_returns_0_and_does_not_raise(self):
        rows = [Plain.objects.create(name="a") for _ in range(2)]
        pks = [row.pk for row in rows]
        addresses = [f"127.0.0.1:{servers.free_port()}" for _ in range(2)]
        for down in (addresses[:1], addresses):
            with self.subTest(servers=len(down)), using(down):
                self.assertEqual(Plain.objects.forget(pks), 0)
        for row in rows:
            self.assertEqual(read(row.pk), ("a", "hit"))

    def test_it_counts_the_rows_of_the_server_that_is_up(self):
        with servers.memcached() as address:
            with using([address, f"127.0.0.1:{servers.free_port()}"]):
                rows = Plain.objects.bulk_create(Plain(name="a") for _ in range(50))
                pks = [row.pk for row in rows]
                Plain.objects.cache_many(pks)
                cached = sum(entry_under(row.key()) is not None for row in rows)
                self.assertGreater(cached, 0)
                self.assertLess(cached, 50)
                self.assertEqual(Plain.objects.forget(pks), cached)
