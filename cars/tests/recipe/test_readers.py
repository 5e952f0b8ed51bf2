"""How readers fill: leases, waiting for another reader, and rows that can't be stored."""

import pickle
import time
from unittest.mock import patch

from django.core.cache import cache
from django.db import DatabaseError, transaction
from django.test import TestCase, override_settings

from cars.caching import protocol, rows
from cars.caching.entries import ABSENT, Lease, Row, Swap
from cars.caching.registry import CachedModel
from cars.tests.support.caches import empty_cache
from cars.tests.support.clock import pauses
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_another_thread,
    in_local_memory,
    read,
    recorded_outcomes,
)
from cars.tests.support.zoo.models import Plain

CACHED = CachedModel(Plain, "default")


def before_the_select(act):
    """Call `act()` before each SELECT of this block's fills."""
    select = protocol.select

    def act_and_select(cached, keys):
        act()
        return select(cached, keys)

    return patch.object(protocol, "select", act_and_select)


def after_the_select(act):
    """Call `act()` after each SELECT of this block's fills."""
    select = protocol.select

    def select_and_act(cached, keys):
        found = select(cached, keys)
        with patch.object(protocol, "select", select):
            act()
        return found

    return patch.object(protocol, "select", select_and_act)


class ManyPksTests(TestCase):
    """More pks than a cache and a database take at once."""

    def test_300000_pks_are_read_as_in_bulk_does(self):
        rows = Plain.objects.bulk_create(Plain(name=str(number)) for number in range(3))
        pks = [*(row.pk for row in rows), *range(10**6, 10**6 + 300_000)]
        chunks = []

        def select(cached, keys):
            chunks.append(len(keys))
            return self.select(cached, keys)

        self.select = protocol.select
        dummy = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        with override_settings(CACHES=dummy), patch.object(protocol, "select", select):
            found = Plain.objects.cache_many(pks)
        self.assertEqual(list(found), pks[:3])
        self.assertEqual(found, Plain.objects.in_bulk(pks[:3]))
        self.assertEqual(chunks, [protocol.MOST_PKS] * 150 + [3])

    def test_rows_that_are_cached_are_hits(self):
        rows = Plain.objects.bulk_create(Plain(name=str(number)) for number in range(3))
        pks = [row.pk for row in rows]
        for kind, settings in {
            "default": override_settings(),
            "local": in_local_memory,
        }.items():
            with self.subTest(kind), settings:
                empty_cache()
                Plain.objects.cache_many(pks)
                with recorded_outcomes() as outcomes:
                    Plain.objects.cache_many(pks)
                self.assertEqual(outcomes, ["hit"] * 3)

    def test_chunks_are_filled_and_then_served(self):
        rows = Plain.objects.bulk_create(Plain(name=str(number)) for number in range(5))
        pks = [row.pk for row in rows]
        empty_cache()
        with patch.object(protocol, "MOST_PKS", 2):
            for queries in (3, 0):
                with self.assertNumQueries(queries):
                    self.assertEqual(list(Plain.objects.cache_many(pks)), pks)


class ReaderTests(ClientsTestCase):
    def setUp(self):
        super().setUp()
        evict(self.key)

    def put(self, value, seconds=10):
        """Put `value` under the key, where nothing stands."""
        self.assertTrue(cache.cas_many({self.key: Swap(ABSENT, value, seconds)}))

    def test_the_first_reader_fills_and_the_second_is_served(self):
        with self.assertNumQueries(1):
            self.assertEqual(read(self.plain.pk), ("old", "miss"))
        with self.assertNumQueries(0):
            self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_lease_stands_while_its_reader_selects(self):
        seen = []
        with before_the_select(lambda: seen.append(entry_under(self.key))):
            read(self.plain.pk)
        self.assertIsInstance(seen[0], Lease)

    def test_djangos_cache_sees_a_lease_or_a_hold_as_a_miss(self):
        seen = []

        def look():
            seen.append((cache.get(self.key, "nothing"), cache.has_key(self.key)))
            seen.append((cache.get_many([self.key]), self.key in cache))

        with before_the_select(look):
            read(self.plain.pk)
        with before_the_select(look):
            self.rename()
        self.assertEqual(seen, [("nothing", False), ({}, False)] * 2)

    def test_a_reader_does_not_fill_if_a_write_came_after_its_select(self):
        with after_the_select(lambda: in_another_thread(self.rename)):
            self.assertEqual(read(self.plain.pk)[0], "old")
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_reader_whose_lease_was_lost_does_not_fill(self):
        with after_the_select(lambda: evict(self.key)):
            read(self.plain.pk)
        self.assertIsNone(entry_under(self.key))

    def test_a_reader_whose_lease_was_lost_does_not_fill_over_the_lease_of_another(self):
        def another():
            evict(self.key)
            self.put(Lease("another"))

        with after_the_select(another):
            read(self.plain.pk)
        self.assertEqual(entry_under(self.key), Lease("another"))

    def test_a_reader_that_finds_no_row_removes_its_lease(self):
        pk = self.plain.pk + 1
        with self.assertRaises(Plain.DoesNotExist):
            Plain.objects.cache(pk)
        self.assertIsNone(entry_under(f"Plain.{pk}"))
        Plain.objects.create(pk=pk, name="now there")
        self.assertEqual(read(pk), ("now there", "hit"))

    def test_a_row_created_while_a_reader_looks_for_it_is_served(self):
        pk = self.plain.pk + 1
        with after_the_select(
            lambda: in_another_thread(lambda: Plain.objects.create(pk=pk, name="new"))
        ):
            with self.assertRaises(Plain.DoesNotExist):
                Plain.objects.cache(pk)
        self.assertEqual(read(pk), ("new", "hit"))

    def test_a_reader_whose_select_raises_removes_its_lease(self):
        for error in (DatabaseError, KeyboardInterrupt):
            with before_the_select(lambda error=error: (_ for _ in ()).throw(error)):
                with self.assertRaises(error):
                    read(self.plain.pk)
            self.assertIsNone(entry_under(self.key))

    def test_a_reader_waits_until_another_reader_has_filled(self):
        self.put(Lease("another"))

        def fill(seconds):
            row = rows.pack(CACHED, (self.plain.pk, "filled", 0))
            cache.cas_many({self.key: Swap(cache.gets_many([self.key])[self.key], row, 10)})

        with pauses(protocol, fill), self.assertNumQueries(0):
            self.assertEqual(read(self.plain.pk), ("filled", "waited"))

    def test_a_reader_is_served_a_row_that_was_filled_before_it_could_take_the_lease(self):
        take = protocol._take_leases

        def fill_first(*args):
            with patch.object(protocol, "_take_leases", take):
                in_another_thread(read, self.plain.pk)
            return take(*args)

        with patch.object(protocol, "_take_leases", fill_first), self.assertNumQueries(0):
            self.assertEqual(read(self.plain.pk), ("old", "waited"))

    @override_settings(CACHING_WAIT=0.02)
    def test_the_lease_of_a_dead_reader_delays_others_no_longer_than_the_setting_says(self):
        self.put(Lease("dead"))
        slept = []

        def pause(seconds):
            slept.append(seconds)
            time.sleep(seconds)

        with pauses(protocol, pause), self.assertNumQueries(1):
            self.assertEqual(read(self.plain.pk), ("old", "given up"))
        self.assertLessEqual(sum(slept), 0.02)
        self.assertEqual(entry_under(self.key), Lease("dead"))

    def test_any_number_of_rows_is_read(self):
        pks = [self.plain.pk, *(Plain.objects.create(name="more").pk for _ in range(4))]
        with patch.object(protocol, "MOST_PKS", 2):
            for number in range(len(pks) + 1):
                with self.subTest(number):
                    self.assertEqual(list(Plain.objects.cache_many(pks[:number])), pks[:number])

    def test_a_transaction_that_misses_many_rows_fills_a_limited_number_at_its_end(self):
        rows = Plain.objects.bulk_create(Plain(name=str(number)) for number in range(7))
        pks = [row.pk for row in rows]
        empty_cache()
        with patch.object(protocol, "MOST_PKS", 4):
            with transaction.atomic():
                for part in (pks[:3], pks[3:4], pks[4:]):
                    self.assertEqual(list(Plain.objects.cache_many(part)), part)
            filled = [row.pk for row in rows if entry_under(row.key())]
        self.assertEqual(filled, pks[:4])

    @override_settings(CACHING_WAIT=10)
    def test_a_waiting_reader_looks_soon_and_then_less_often(self):
        self.put(Lease("another"))
        slept = []

        def pause(seconds):
            slept.append(seconds)
            if len(slept) == 20:
                evict(self.key)

        with pauses(protocol, pause):
            read(self.plain.pk)
        self.assertLessEqual(slept[0], 0.001)
        self.assertEqual(slept, sorted(slept))
        self.assertEqual(slept[-1], protocol.LONGEST_PAUSE)

    @override_settings(CACHING_WAIT=10)
    def test_a_waiting_reader_reads_the_database_when_the_lease_is_gone(self):
        self.put(Lease("another"))
        with pauses(protocol, lambda seconds: evict(self.key)):
            self.assertEqual(read(self.plain.pk), ("old", "given up"))

    def test_a_writer_releases_over_the_lease_of_a_dead_reader(self):
        self.put(Lease("dead"))
        self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_with_another_fingerprint_is_leased_over_and_replaced(self):
        self.put(Row(b"other fingerprint" + pickle.dumps((1, "wrong", 0))))
        self.assertIsNone(cache.get(self.key))
        self.assertEqual(read(self.plain.pk), ("old", "miss"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_an_unusable_row_that_a_writer_replaces_first_is_not_leased_over(self):
        self.put(Row(b"other fingerprint"))
        backend = CACHED.cache
        swap_and_look = backend.swap_and_look

        def swap_and_save(swaps):
            seen = swap_and_look(swaps)
            if first.pop():
                in_another_thread(self.rename)
            return seen

        first = [False, True]
        with patch.object(backend, "swap_and_look", swap_and_save):
            self.assertEqual(read(self.plain.pk), ("new", "waited"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_value_of_the_application_is_replaced(self):
        cache.set(self.key, "no row")
        self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_that_cannot_be_packed_does_not_stop_others_from_being_filled(self):
        lambdas = {"wrong": lambda: None}  # a value that can't be packed
        other = Plain.objects.create(name="wrong")
        evict(other.key())
        select = protocol.select

        def select_lambdas(cached, keys):
            found = select(cached, keys)
            return {key: [lambdas.get(value, value) for value in row] for key, row in found.items()}

        with patch.object(protocol, "select", select_lambdas):
            found = Plain.objects.cache_many([self.plain.pk, other.pk])
        self.assertEqual([row.name for row in found.values()], ["old", lambdas["wrong"]])
        self.assertIsNone(entry_under(other.key()))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


@in_local_memory
class LocalMemoryReaderTests(ReaderTests):
    pass
