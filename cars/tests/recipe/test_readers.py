"""How readers fill: leases, waiting for another's, and what can't be put into the cache."""

import pickle
import time
from unittest.mock import patch

from django.core.cache import cache
from django.db import DatabaseError
from django.test import override_settings

from cars.caching import protocol, rows
from cars.caching.entries import ABSENT, Lease, Row, Swap
from cars.caching.registry import CachedModel
from cars.tests.support.other_clients import (
    ClientsTestCase,
    elsewhere,
    in_local_memory,
    lose,
    read,
    standing,
)
from cars.tests.support.zoo.models import Plain

CACHED = CachedModel(Plain, "default")


def before_the_select(act):
    """Call `act()` before each SELECT of this block's fills."""
    select = protocol.select

    def act_and_select(table, keys):
        act()
        return select(table, keys)

    return patch.object(protocol, "select", act_and_select)


def after_the_select(act):
    """Call `act()` after each SELECT of this block's fills."""
    select = protocol.select

    def select_and_act(table, keys):
        found = select(table, keys)
        with patch.object(protocol, "select", select):
            act()
        return found

    return patch.object(protocol, "select", select_and_act)


class ReaderTests(ClientsTestCase):
    def setUp(self):
        super().setUp()
        lose(self.key)

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
        with before_the_select(lambda: seen.append(standing(self.key))):
            read(self.plain.pk)
        self.assertIsInstance(seen[0], Lease)

    def test_a_lease_or_a_hold_is_a_miss_to_the_rest_of_the_site(self):
        seen = []

        def look():
            seen.append((cache.get(self.key, "nothing"), cache.has_key(self.key)))
            seen.append((cache.get_many([self.key]), self.key in cache))

        with before_the_select(look):
            read(self.plain.pk)
        with before_the_select(look):
            self.rename()
        self.assertEqual(seen, [("nothing", False), ({}, False)] * 2)

    def test_a_reader_that_was_overtaken_by_a_write_does_not_fill(self):
        with after_the_select(lambda: elsewhere(self.rename)):
            self.assertEqual(read(self.plain.pk)[0], "old")
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_reader_whose_lease_was_lost_does_not_fill(self):
        with after_the_select(lambda: lose(self.key)):
            read(self.plain.pk)
        self.assertIsNone(standing(self.key))

    def test_a_reader_whose_lease_was_lost_and_taken_by_another_does_not_fill(self):
        def another():
            lose(self.key)
            self.put(Lease("another"))

        with after_the_select(another):
            read(self.plain.pk)
        self.assertEqual(standing(self.key), Lease("another"))

    def test_no_such_row_takes_the_lease_off_and_a_row_created_then_is_served(self):
        pk = self.plain.pk + 1
        with self.assertRaises(Plain.DoesNotExist):
            Plain.objects.cache(pk)
        self.assertIsNone(standing(f"Plain.{pk}"))
        Plain.objects.create(pk=pk, name="now there")
        self.assertEqual(read(pk), ("now there", "hit"))

    def test_a_row_created_while_a_reader_looks_for_it_is_served(self):
        pk = self.plain.pk + 1
        with after_the_select(lambda: elsewhere(lambda: Plain.objects.create(pk=pk, name="new"))):
            with self.assertRaises(Plain.DoesNotExist):
                Plain.objects.cache(pk)
        self.assertEqual(read(pk), ("new", "hit"))

    def test_a_select_that_raises_takes_the_lease_off(self):
        for error in (DatabaseError, KeyboardInterrupt):
            with before_the_select(lambda error=error: (_ for _ in ()).throw(error)):
                with self.assertRaises(error):
                    read(self.plain.pk)
            self.assertIsNone(standing(self.key))

    def test_a_reader_waits_for_the_fill_of_another(self):
        self.put(Lease("another"))

        def fill(seconds):
            row = rows.pack(CACHED, (self.plain.pk, "filled", 0))
            cache.cas_many({self.key: Swap(cache.gets_many([self.key])[self.key], row, 10)})

        with patch.object(protocol.time, "sleep", fill), self.assertNumQueries(0):
            self.assertEqual(read(self.plain.pk), ("filled", "waited"))

    def test_a_reader_that_finds_the_row_filled_between_its_look_and_its_lease_is_served(self):
        take = protocol._take_leases

        def fill_first(*args):
            with patch.object(protocol, "_take_leases", take):
                elsewhere(read, self.plain.pk)
            return take(*args)

        with patch.object(protocol, "_take_leases", fill_first), self.assertNumQueries(0):
            self.assertEqual(read(self.plain.pk), ("old", "waited"))

    @override_settings(CACHING_WAIT=0.02)
    def test_the_lease_of_a_dead_reader_delays_others_no_more_than_the_wait(self):
        self.put(Lease("dead"))
        pauses, sleep = [], time.sleep

        def pause(seconds):
            pauses.append(seconds)
            sleep(seconds)

        with patch.object(time, "sleep", pause), self.assertNumQueries(1):
            self.assertEqual(read(self.plain.pk), ("old", "given up"))
        self.assertLessEqual(sum(pauses), 0.02)
        self.assertEqual(standing(self.key), Lease("dead"))

    @override_settings(CACHING_WAIT=10)
    def test_a_reader_that_waits_goes_to_the_database_when_the_lease_is_gone(self):
        self.put(Lease("another"))
        with patch.object(protocol.time, "sleep", lambda seconds: lose(self.key)):
            self.assertEqual(read(self.plain.pk), ("old", "given up"))

    def test_the_lease_of_a_dead_reader_does_not_keep_a_writer_from_releasing(self):
        self.put(Lease("dead"))
        self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_of_another_layout_is_leased_over_and_replaced(self):
        self.put(Row(b"another layout.." + pickle.dumps((1, "wrong", 0))))
        self.assertIsNone(cache.get(self.key))
        self.assertEqual(read(self.plain.pk), ("old", "miss"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_row_that_others_replace_first_is_not_leased_over(self):
        self.put(Row(b"another layout.."))
        backend = CACHED.cache
        gets_many = backend.gets_many

        def gets_and_save(keys):
            seen = gets_many(keys)
            if first.pop():
                elsewhere(self.rename)
            return seen

        first = [False, True]
        with patch.object(backend, "gets_many", gets_and_save):
            self.assertEqual(read(self.plain.pk), ("new", "waited"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_what_somebody_else_put_under_the_key_is_replaced(self):
        cache.set(self.key, "no row")
        self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_that_cannot_be_packed_is_read_from_the_database_beside_others(self):
        lambdas = {"wrong": lambda: None}  # a value that pickle refuses
        other = Plain.objects.create(name="wrong")
        lose(other.key())
        select = protocol.select

        def select_lambdas(table, keys):
            found = select(table, keys)
            return {key: [lambdas.get(value, value) for value in row] for key, row in found.items()}

        with patch.object(protocol, "select", select_lambdas), self.assertLogs("cars.caching"):
            found = Plain.objects.cache_many([self.plain.pk, other.pk])
        self.assertEqual([row.name for row in found.values()], ["old", lambdas["wrong"]])
        self.assertIsNone(standing(other.key()))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


@in_local_memory
class LocalMemoryReaderTests(ReaderTests):
    pass
