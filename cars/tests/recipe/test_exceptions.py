"""The exceptions to "never stale" that lie in the cache: each test shows a stale read, and its end.

`test_unseen_writes` and `test_database_exceptions` have the others.
"""

import socket
import time
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from unittest import skipUnless
from unittest.mock import patch

from django.core.cache import cache
from django.db import transaction
from django.test import override_settings

from cars.caching import entries, owed, protocol
from cars.lab import servers
from cars.tests.support import caches as test_caches
from cars.tests.support.caches import MemcachedMixin
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_another_thread,
    read,
    using,
)
from cars.tests.support.outages import another_process, owing, unreachable
from cars.tests.support.zoo.models import Plain

from .test_options import configured
from .test_unseen_writes import set_raw

DUMMY = "django.core.cache.backends.dummy.DummyCache"


class Killed(BaseException):
    """Stands for the death of a process."""


class LostEntryTests(ClientsTestCase):
    """The exception "lost entry": the entry is lost while a write of its row is open."""

    def rename_and_lose_the_hold(self, hook):
        with transaction.atomic():
            transaction.on_commit(hook)
            self.rename()
            evict(self.key)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))

    def test_a_row_is_stale_from_the_commit_to_the_release(self):
        seen = []
        self.rename_and_lose_the_hold(lambda: seen.append(in_another_thread(read, self.plain.pk)))
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))

    def test_a_row_stays_stale_if_the_writer_is_killed_as_well(self):
        def die():
            raise Killed

        with self.assertRaises(Killed):
            in_another_thread(self.rename_and_lose_the_hold, die)
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_row_is_not_stale_if_a_commit_hook_raises_as_well(self):
        def fail():
            raise ValueError

        with self.assertRaises(ValueError):
            self.rename_and_lose_the_hold(fail)
        self.assertEqual(read(self.plain.pk), ("new", "miss"))


class UnreachableServerTests(MemcachedMixin, ClientsTestCase):
    """The exception "unreachable server": a writer can't reach it while others can."""

    def test_a_row_is_stale_until_other_processes_have_looked_at_what_is_owed(self):
        self.enterContext(owing())
        with patch.object(owed, "FRESH", 3600):
            self.assertEqual(read(self.plain.pk), ("old", "hit"))
            with another_process(), unreachable():
                self.rename()
            self.assertEqual(read(self.plain.pk), ("old", "hit"))
        end = time.monotonic() + 10
        while read(self.plain.pk)[0] == "old":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)


class OneAnswerHandler(BaseRequestHandler):
    """Asks Memcached over a new connection for each command, as a proxy may do."""

    def setup(self):
        self.server.connections.append(self.request)

    def handle(self):
        while command := self.request.recv(2**20):
            with socket.create_connection(self.server.behind) as connection:
                connection.sendall(command + b"mn\r\n")  # its answer marks the end
                answer = b""
                while not answer.endswith(b"MN\r\n"):
                    answer += connection.recv(2**20)
            self.request.sendall(answer.removesuffix(b"MN\r\n"))


@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class ProxiedServerTests(ClientsTestCase):
    """The exception "proxied server": a connection to a proxy outlives a restart of Memcached."""

    def setUp(self):
        super().setUp()
        self.memcached = self.enterContext(servers.memcached_program().running())

    @contextmanager
    def proxy(self):
        with ThreadingTCPServer(("127.0.0.1", 0), OneAnswerHandler) as proxy:
            proxy.daemon_threads = True
            proxy.behind = "127.0.0.1", self.memcached.port
            proxy.connections = []
            Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
            try:
                yield "{}:{}".format(*proxy.server_address)
            finally:
                proxy.shutdown()
                for connection in proxy.connections:  # else their threads would wait for ever
                    connection.shutdown(socket.SHUT_RDWR)

    def read_during_a_restart(self):
        """Read the row; after the SELECT Memcached is restarted, and another thread writes."""

        def select_and_restart(*arguments):
            rows = select(*arguments)
            if not restarted:
                restarted.append(True)
                self.memcached.end()
                self.memcached.start()
                in_another_thread(self.rename)
            return rows

        select, restarted = protocol.select, []
        with patch.object(protocol, "select", select_and_restart):
            return read(self.plain.pk)

    def test_a_row_is_stale_if_the_numbers_that_cas_compares_come_again(self):
        with self.proxy() as address, using([address], timeout=10):
            cache.set("another", 1)  # so that the lease has the number that the row will have
            self.assertEqual(self.read_during_a_restart(), ("old", "miss"))
            self.assertEqual(Plain.objects.get().name, "new")
            self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_row_is_not_stale_without_a_proxy(self):
        with using([self.memcached.address], timeout=10):
            cache.set("another", 1)
            self.assertEqual(self.read_during_a_restart(), ("old", "miss"))
            self.assertEqual(read(self.plain.pk), ("new", "hit"))


class CrowdedRowTests(ClientsTestCase):
    """The exception "crowded row": a hold is refused 20 times, since others change the entry."""

    def test_a_row_is_stale_from_the_commit_to_the_release(self):
        seen = []
        with self.assertLogs("cars.caching", "WARNING"), transaction.atomic():
            transaction.on_commit(lambda: seen.append(in_another_thread(read, self.plain.pk)))
            with patch.multiple(protocol, add_holds=lambda *arguments: set(), TRIES=2):
                self.rename()
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))


class DeadlineTests(ClientsTestCase):
    """The exception "passed deadline": a hold ends before its transaction."""

    @override_settings(CACHING_HOLD=0.1)
    def test_a_row_is_stale_from_the_commit_to_the_release_if_the_transaction_is_too_long(self):
        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(in_another_thread(read, self.plain.pk)))
            self.rename()
            end = time.monotonic() + 10
            while entry_under(self.key) and time.monotonic() < end:
                time.sleep(0.02)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))

    def test_a_row_is_stale_as_long_if_the_clock_of_another_writer_is_ahead(self):
        def write_ahead():
            with patch.object(entries.time, "time", return_value=time.time() + 3600):
                Plain.objects.expire([self.plain.pk])

        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(in_another_thread(read, self.plain.pk)))
            self.rename()
            in_another_thread(write_ahead)
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))


class TouchedEntryTests(ClientsTestCase):
    """The exception "touched entry": the application calls `cache.touch` on the key of a row."""

    def test_a_row_is_stale_from_the_commit_to_the_release_if_its_holds_are_touched(self):
        seen = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(in_another_thread(read, self.plain.pk)))
            self.rename()
            cache.touch(self.key, 0)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))
        self.assertEqual(seen, [("old", "hit")])
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "miss"))

    def test_a_stale_row_that_is_touched_stays_for_the_new_timeout(self):
        other = Plain.objects.create(name="other")
        with configured(timeout=1):
            for pk in (self.plain.pk, other.pk):
                evict(Plain(pk=pk).key())
                read(pk)
            cache.touch(self.key, 600)
            set_raw("new")
            end = time.monotonic() + 10
            while entry_under(other.key()) and time.monotonic() < end:
                time.sleep(0.02)
            self.assertEqual(read(other.pk), ("new", "miss"))
            self.assertEqual(read(self.plain.pk), ("old", "hit"))


class AnotherCacheTests(ClientsTestCase):
    """The exception "another cache": processes with different caches write the same rows."""

    @override_settings(CACHES={"default": {"BACKEND": DUMMY}})
    def rename_without_cache(self):
        self.rename()

    def test_a_row_is_stale_after_a_write_by_a_process_without_a_cache(self):
        self.rename_without_cache()
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_row_is_stale_after_a_write_under_another_prefix(self):
        with patch.object(test_caches, "RUN", "another-prefix"):
            self.rename()
            self.assertEqual(read(self.plain.pk), ("new", "hit"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


class SharedPrefixTests(ClientsTestCase):
    """The exception "shared prefix": two sites have one prefix and databases of one name."""

    def test_a_row_of_another_site_is_served_unless_it_has_another_prefix(self):
        set_raw("other")  # this is the database of the other site now
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        with patch.object(test_caches, "RUN", "another-prefix"):
            self.assertEqual(read(self.plain.pk), ("other", "miss"))
