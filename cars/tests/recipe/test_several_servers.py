"""Several Memcached servers, each with some of the rows, of which one can be down."""

import time
from contextlib import ExitStack
from types import SimpleNamespace
from unittest import mock, skipUnless

from django.core.cache import cache
from django.test import TransactionTestCase

from cars.caching.backends import client, server
from cars.lab import servers
from cars.tests.support.assertions import HeldMixin
from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.costs import CostMixin
from cars.tests.support.other_clients import read, recorded_outcomes, using
from cars.tests.support.zoo.models import Plain


def server_of(row):
    """Return host and port of the server that the row is on."""
    (each,) = cache._cache.by_server([cache.make_and_validate_key(row.key())])
    return each.server


class SeveralServersTests(CostMixin, HeldMixin, TransactionTestCase):
    """Two Memcached servers, each with some of the rows."""

    SERVERS = 2

    def setUp(self):
        empty_cache()
        self.enterContext(mock.patch.object(server, "LEFT_ALONE", 0))
        self.enterContext(mock.patch.object(client, "MOMENT", 10))  # on a busy machine too
        self.rows = [Plain.objects.create(name=str(number)) for number in range(40)]
        self.pks = [row.pk for row in self.rows]

    def test_rows_are_on_both_servers(self):
        Plain.objects.cache_many(self.pks)
        self.assertEqual(len({server_of(row) for row in self.rows}), 2)
        for each in self.servers:
            self.assertGreater(int(each.stats()[b"curr_items"]), 5)

    def test_many_hits_are_one_get_at_each_server(self):
        Plain.objects.cache_many(self.pks)
        with self.counted() as cost:
            found = Plain.objects.cache_many(self.pks)
        self.assertEqual(list(found), self.pks)
        self.assertEqual(cost.queries, [])
        self.assertEqual(cost.commands, {"get": 40, "set": 0, "other": 0})
        self.assertEqual(cost.round_trips, 2)

    def test_many_misses_are_one_select_and_as_many_round_trips_to_each_as_one(self):
        self.empty()
        with self.counted() as cost:
            found = Plain.objects.cache_many(self.pks)
        self.assertEqual([row.name for row in found.values()], [row.name for row in self.rows])
        self.assertEqual((len(cost.queries), cost.selects), (1, 1))
        self.assertLessEqual(cost.round_trips, 2 * 4)
        with self.assertNumQueries(0):
            Plain.objects.cache_many(self.pks)

    def write(self):
        """Write rows of both servers in every way; return them."""
        with self.assertHeld(*self.rows[:4]):
            Plain.objects.filter(pk__in=self.pks).update(number=5)
        for row in self.rows[:6]:
            row.name += " new"
            row.save()
        Plain.objects.bulk_update([Plain(pk=pk, name="b") for pk in self.pks[6:9]], ["name"])
        self.rows[9].delete()
        Plain.objects.filter(pk__in=self.pks[10:15]).delete()

    def test_writes_hold_and_release_on_both_servers(self):
        Plain.objects.cache_many(self.pks)
        self.write()
        for pk in self.pks:
            self.assertRight(Plain, pk)


@skipUnless(servers.has_memcached(), "no Memcached: put `memcached` on the PATH")
class OneServerDownTests(MemcachedMixin, HeldMixin, TransactionTestCase):
    """Two Memcached servers, of which one stops."""

    def setUp(self):
        empty_cache()
        self.first, self.second = ExitStack(), ExitStack()
        self.addCleanup(self.first.close)
        self.addCleanup(self.second.close)
        addresses = [self.first.enter_context(servers.memcached())]
        addresses.append(self.second.enter_context(servers.memcached()))
        # A server that is down is asked each time, so that no test has to wait.
        self.enterContext(mock.patch.object(server, "LEFT_ALONE", 0))
        self.enterContext(mock.patch.object(client, "MOMENT", 10))  # on a busy machine too
        self.enterContext(using(addresses, pickle=False))
        self.addresses = addresses
        self.rows = [Plain.objects.create(name=str(number)) for number in range(40)]
        self.pks = [row.pk for row in self.rows]
        Plain.objects.cache_many(self.pks)
        self.port = int(addresses[1].rpartition(":")[2])
        self.on_second = [row for row in self.rows if self.port_of(row) == self.port]
        self.on_first = [row for row in self.rows if self.port_of(row) != self.port]
        self.assertTrue(self.on_first and self.on_second)

    def port_of(self, row):
        return server_of(row)[1]

    def test_its_rows_are_misses_and_the_others_are_hits(self):
        self.second.close()
        for _ in range(5):
            with recorded_outcomes() as outcomes:
                self.assertEqual(list(Plain.objects.cache_many(self.pks)), self.pks)
            self.assertEqual(outcomes.count("hit"), len(self.on_first))
            self.assertEqual(outcomes.count("no answer"), len(self.on_second))
        for row in self.on_second[:3]:
            self.assertEqual(read(row.pk), (row.name, "no answer"))
        with self.assertNumQueries(0):
            Plain.objects.cache(self.on_first[0].pk)

    def test_writes_still_work(self):
        self.second.close()
        with (
            mock.patch("cars.caching.protocol.TRIES", 2),
            self.assertLogs("cars.caching", "WARNING"),
        ):
            Plain.objects.filter(pk__in=self.pks).update(number=5)
            for row in (*self.on_first[:3], *self.on_second[:3]):
                row.name = "new"
                row.save()
            self.on_first[3].delete()
            self.on_second[3].delete()
        for row in (*self.on_first[4:], *self.on_second[4:]):
            self.assertEqual(Plain.objects.cache(row.pk).number, 5)
        for row in (*self.on_first[:3], *self.on_second[:3]):
            self.assertEqual(Plain.objects.cache(row.pk).name, "new")
        for row in (self.on_first[3], self.on_second[3]):
            with self.assertRaises(Plain.DoesNotExist):
                Plain.objects.cache(row.pk)
        self.assertRight(Plain, self.on_first[0].pk)

    def test_its_rows_are_not_stored_on_another_server(self):
        row = self.on_second[0]
        for name in ("one", "two"):
            self.second.close()
            for _ in range(10):
                self.assertNotEqual(read(row.pk)[1], "hit")
            self.second.enter_context(servers.memcached(port=self.port))
            row.name = name
            row.save()
            self.assertEqual(read(row.pk), (name, "hit"))
        self.second.close()
        for _ in range(10):
            self.assertEqual(read(row.pk), ("two", "no answer"))

    def test_its_rows_are_not_stored_on_another_server_if_errors_are_raised(self):
        row = self.on_second[0]
        self.second.close()
        clock = SimpleNamespace(time=lambda: clock.now, now=time.time())
        with (
            using(self.addresses, pickle=False, ignore_exc=False),
            mock.patch("pymemcache.client.hash.time", clock),
        ):
            for _ in range(5):
                clock.now += 100
                with self.assertRaises(OSError):
                    cache.get(row.key())
                self.assertEqual(self.port_of(row), self.port)

    def test_its_rows_are_hits_again_when_it_is_back(self):
        self.second.close()
        Plain.objects.cache_many(self.pks)
        self.second.enter_context(servers.memcached(port=self.port))
        Plain.objects.cache_many(self.pks)
        with self.assertNumQueries(0):
            Plain.objects.cache_many(self.pks)

    def test_without_any_server_every_row_is_read_from_the_database(self):
        self.first.close()
        self.second.close()
        for _ in range(5):
            self.assertEqual(list(Plain.objects.cache_many(self.pks)), self.pks)
        self.rows[0].name = "new"
        self.rows[0].save()
        self.assertEqual(Plain.objects.cache(self.pks[0]).name, "new")
