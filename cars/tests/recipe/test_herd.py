"""Many readers of one cold key, and a lease whose reader has died."""

import multiprocessing
import threading
import time
from unittest import SkipTest, mock

from django.core.cache import caches
from django.db import connection, connections
from django.test import TestCase, TransactionTestCase, override_settings, tag

from cars.caching import events, protocol
from cars.caching.entries import ABSENT, Lease, Swap
from cars.lab import servers
from cars.tests.support.caches import empty_cache
from cars.tests.support.other_clients import recorded_outcomes
from cars.tests.support.zoo.models import Plain
from carsite import settings as site

PROCESSES = THREADS = 8


class Clock:
    """Replaces the module `time`: `sleep` returns at once, and its seconds are added up."""

    time = staticmethod(time.time)

    def __init__(self):
        self.slept = 0

    def monotonic(self):
        return self.slept

    def sleep(self, seconds):
        self.slept += seconds


class DeadReaderTests(TestCase):
    """A reader has died, and its lease still stands."""

    def setUp(self):
        empty_cache()
        self.row = Plain.objects.create(name="a")
        empty_cache()
        self.cache = caches["default"]
        self.lease = Lease("dead reader")
        self.cache.cas_many({self.row.key(): Swap(ABSENT, self.lease, 60)})
        self.clock = Clock()

    def read(self):
        with (
            mock.patch.object(protocol, "time", self.clock),
            recorded_outcomes() as self.outcomes,
        ):
            return Plain.objects.cache(self.row.pk)

    def test_other_readers_wait_no_longer_than_the_setting_says(self):
        for wait in (0, 0.25, 2):
            self.clock.slept = 0
            with self.subTest(wait), override_settings(CACHING_WAIT=wait):
                self.assertEqual(self.read().name, "a")
                self.assertAlmostEqual(self.clock.slept, wait)

    def test_another_reader_reads_the_database_once_and_leaves_the_lease(self):
        with self.assertNumQueries(1):
            self.assertEqual(self.read().name, "a")
        self.assertEqual(self.outcomes, [events.GIVEN_UP])
        standing = self.cache.gets_many([self.row.key()])[self.row.key()]
        self.assertEqual(standing.value, self.lease)

    def test_a_waiting_reader_polls_rarely(self):
        with (
            override_settings(CACHING_WAIT=0.25),
            mock.patch.object(self.cache, "gets_many", wraps=self.cache.gets_many) as look,
        ):
            self.read()
        self.assertLessEqual(look.call_count, 20)

    def test_a_writer_does_not_wait_for_the_lease(self):
        with mock.patch.object(protocol, "time", self.clock):
            self.row.name = "b"
            self.row.save()
        self.assertEqual(self.clock.slept, 0)
        with self.assertNumQueries(0):
            self.assertEqual(self.read().name, "b")


# Only PostgreSQL counts the scans of each table.
if connection.vendor == "postgresql":

    @tag("processes")
    class HerdTests(TransactionTestCase):
        """Many readers of one cold key."""

        @classmethod
        def setUpClass(cls):
            if not servers.has_memcached():
                raise SkipTest("no Memcached: put `memcached` on the PATH")
            super().setUpClass()
            # The tests' usual keys contain the process id; these are the same in all processes.
            address = cls.enterClassContext(servers.memcached())
            config = site.caches([address])
            # Longer than a busy machine takes to answer.
            config["default"]["OPTIONS"] |= {"timeout": 60, "connect_timeout": 60}
            cls.enterClassContext(override_settings(CACHES=config))

        # With 64 threads on a few cores, the reader with the lease may be scheduled later than the
        # others wait by default.
        @override_settings(CACHING_WAIT=60, CACHING_LEASE=120)
        def test_one_select_reaches_the_database(self):
            row = Plain.objects.create(name="a")
            caches["default"].clear()
            before = self.scans()
            results = self.read_by_all(row.pk)
            self.assertEqual(self.scans() - before, 1)
            self.assertEqual({name for name, _ in results}, {"a"})
            outcomes = [outcome for _, outcome in results]
            self.assertEqual(len(outcomes), PROCESSES * THREADS)
            self.assertEqual(outcomes.count(events.MISS), 1)
            self.assertLessEqual({*outcomes}, {events.MISS, events.WAITED, events.HIT})

        def read_by_all(self, pk):
            """Return, for each thread, the name that it has read and the outcome."""
            connections.close_all()  # a child must not inherit connections
            context = multiprocessing.get_context("fork")
            start = context.Barrier(PROCESSES * THREADS)
            results = context.Queue()
            children = [
                context.Process(target=_read_in_threads, args=(pk, start, results), daemon=True)
                for _ in range(PROCESSES)
            ]
            for child in children:
                child.start()
            found = [results.get(timeout=120) for _ in children]
            for child in children:
                child.join()
            return [result for of_process in found for result in of_process]

        def scans(self):
            """Return how often the table was scanned, with or without an index."""
            # A connection reports its counts when it is closed.
            deadline = time.monotonic() + 30
            while self.ask(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ):
                self.assertLess(time.monotonic(), deadline, "a connection is still open")
                time.sleep(0.01)
            self.ask("SELECT pg_stat_force_next_flush()")  # of this connection
            return self.ask(
                "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables"
                " WHERE relname = %s",
                Plain._meta.db_table,
            )

        def ask(self, sql, *params):
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchone()[0]


def _read_in_threads(pk, start, results):
    found = []

    def read():
        connection.ensure_connection()
        caches["default"].get("nothing")  # connects
        start.wait(60)
        with recorded_outcomes() as outcomes:
            name = Plain.objects.cache(pk).name
        found.append((name, next(o for o in outcomes if o != events.FILLED)))
        connection.close()

    threads = [threading.Thread(target=read) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(found)
