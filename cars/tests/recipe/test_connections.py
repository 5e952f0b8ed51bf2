"""The Memcached clients: options, connections, and a server that is down."""

import gc
import socket
import threading
import time
from types import SimpleNamespace
from unittest import mock, skipUnless

from django.conf import settings
from django.core.cache import cache, close_caches
from django.test import TestCase, TransactionTestCase
from pymemcache.client import base

from cars.caching.backends import client, server
from cars.caching.entries import ABSENT, NO_ANSWER, Holds, Lease, Swap
from cars.lab import servers
from cars.models import Car
from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.other_clients import in_another_thread, read, using
from cars.tests.support.zoo.models import Plain


@skipUnless(servers.has_memcached(), "no Memcached: put `memcached` on the PATH")
class OptionsAndConnectionsTests(MemcachedMixin, TestCase):
    """The options and connections of the pymemcache clients."""

    def setUp(self):
        empty_cache()

    def use(self, addresses=None, **options):
        addresses = addresses or settings.MEMCACHED_SERVERS[:1]
        self.enterContext(using(addresses, pickle=False, **options))

    def test_one_server_gets_the_client_for_one_server(self):
        self.use()
        self.assertIsInstance(cache._cache, base.Client)

    def test_tcp_nodelay_is_set(self):
        self.use()
        cache.get("a")
        self.assertTrue(cache._cache.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_tcp_nodelay_is_set_on_each_of_several_servers(self):
        address = self.enterContext(servers.memcached())
        self.use([*settings.MEMCACHED_SERVERS[:1], address])
        cache.get_many([f"a{number}" for number in range(50)])
        for each in cache._cache.clients.values():
            self.assertTrue(each.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_the_options_that_django_documents_work(self):
        documented = {"no_delay": True, "ignore_exc": True, "max_pool_size": 4, "use_pooling": True}
        second = self.enterContext(servers.memcached())
        for addresses in (settings.MEMCACHED_SERVERS[:1], [settings.MEMCACHED_SERVERS[0], second]):
            with using(addresses, **documented, retry_attempts=1, dead_timeout=5):
                empty_cache()
                cache.set("a", 1)
                self.assertEqual(cache.get("a"), 1)
                row = Plain.objects.create(name="a")
                Plain.objects.cache(row.pk)
                with self.assertNumQueries(0):
                    Plain.objects.cache(row.pk)

    def test_the_connection_lives_across_requests(self):
        self.use()
        cache.get("a")
        before = cache._cache.sock
        close_caches()  # as Django does at the end of a request
        cache.get("a")
        self.assertIs(cache._cache.sock, before)
        car = Car.objects.create(make="Toyota")
        for url in ("/cars/", car.get_absolute_url(), "/cars/"):
            self.client.get(url)
            self.assertIs(cache._cache.sock, before)

    def test_a_refused_value_leaves_the_connection_usable(self):
        self.use()
        cache.set("a", 1)
        before = cache._cache.sock
        with self.assertRaises(TypeError):
            cache.set("a", object())
        self.assertEqual(cache.get("a"), 1)
        self.assertIs(cache._cache.sock, before)

    def test_caches_that_differ_in_their_keys_share_the_connection_of_a_thread(self):
        # FreshCacheMixin gives each test another VERSION: a run has thousands of tests.
        self.use()
        socks = set()
        for version in (1, 2):
            config = settings.CACHES["default"] | {"VERSION": version, "KEY_PREFIX": str(version)}
            with self.settings(CACHES={"default": config}):
                cache.set("a", version)
                socks.add(cache._cache.sock)
        self.assertEqual(len(socks), 1)

    def test_the_connection_of_a_thread_that_ends_is_closed(self):
        address = self.enterContext(servers.memcached())
        self.use([address])
        cache.set("a", 1)

        def connections():
            gc.collect()
            return int(cache._cache.stats()[b"curr_connections"])

        before = connections()
        for _ in range(5):
            self.assertEqual(in_another_thread(cache.get, "a"), 1)
        deadline = time.monotonic() + 5
        while connections() > before:
            self.assertLess(time.monotonic(), deadline, "connections are still open")
            time.sleep(0.01)


@skipUnless(servers.has_memcached(), "no Memcached: put `memcached` on the PATH")
class ServerDownTests(MemcachedMixin, TransactionTestCase):
    """A server that is restarted, or is down."""

    def setUp(self):
        empty_cache()
        self.port = servers.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.row = Plain.objects.create(name="a")

    def test_after_a_restart_a_row_is_a_miss_and_then_a_hit(self):
        with using([self.address], pickle=False):
            for _ in range(3):
                with servers.memcached(port=self.port):
                    self.assertEqual(read(self.row.pk), ("a", "miss"))
                    self.assertEqual(read(self.row.pk), ("a", "hit"))
                    Plain.objects.filter(pk=self.row.pk).update(number=7)
                    self.assertEqual(read(self.row.pk), ("a", "hit"))

    def test_a_write_can_be_the_first_call_after_a_restart(self):
        with using([self.address], pickle=False):
            with servers.memcached(port=self.port):
                Plain.objects.cache(self.row.pk)
            with servers.memcached(port=self.port):
                self.row.name = "b"
                self.row.save()
                self.assertEqual(read(self.row.pk), ("b", "hit"))

    def test_a_server_that_was_down_is_used_again_after_a_moment(self):
        with (
            using([self.address], pickle=False),
            mock.patch.object(server, "LEFT_ALONE", 0.05),
            mock.patch.object(client, "MOMENT", 10),  # on a busy machine too
        ):
            with servers.memcached(port=self.port):
                Plain.objects.cache(self.row.pk)
            self.assertEqual(read(self.row.pk), ("a", "no answer"))
            with servers.memcached(port=self.port):
                deadline = time.monotonic() + 5
                while read(self.row.pk)[1] != "hit":
                    self.assertLess(time.monotonic(), deadline)

    def calls(self):
        """Read and write in every way."""
        cache.get("a")
        cache.get_many(["a", "b"])
        cache.set("a", 1)
        cache.add("a", 1)
        cache.set_many({"a": 1})
        cache.delete("a")
        cache.touch("a")
        cache.has_key("a")
        cache.gets_many(["a", "b"])
        cache.cas_many({"a": Swap(ABSENT, Lease("a"), 10)})
        Plain.objects.cache(self.row.pk)

    def test_an_unreachable_server_is_asked_once_a_second(self):
        clock = SimpleNamespace(monotonic=lambda: clock.now, now=1000.0)
        with (
            using([self.address], pickle=False),
            mock.patch.object(server, "monotonic", clock.monotonic),
            mock.patch.object(socket.socket, "connect", side_effect=OSError) as connect,
        ):
            for second in range(1, 4):
                for part in range(3):
                    clock.now = 1000 + second + part / 4
                    self.calls()
                self.assertEqual(connect.call_count, second)

    def test_a_server_that_accepts_connections_but_never_answers_is_asked_once_a_second(self):
        listener = self.enterContext(socket.create_server(("127.0.0.1", self.port)))
        self.assertEqual(listener.getsockname()[1], self.port)
        asked = mock.Mock(wraps=base._recv)
        clock = SimpleNamespace(monotonic=lambda: clock.now, now=1000.0)
        with (
            using([self.address], pickle=False, timeout=0.02),
            mock.patch.object(server, "monotonic", clock.monotonic),
            mock.patch.object(base, "_recv", asked),
        ):
            for second in range(1, 4):
                for part in range(3):
                    clock.now = 1000 + second + part / 4
                    self.calls()
                self.assertEqual(asked.call_count, second)


class BadAnswersTests(MemcachedMixin, TransactionTestCase):
    """What answers each command with the same bytes, and then closes the connection."""

    def assertLeftAlone(self, answer, call):
        """Assert that after the first `call` the server isn't asked, and return the results."""
        empty_cache()
        listener = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        accepted = []

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                accepted.append(connection)
                connection.recv(4096)
                connection.sendall(answer)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        with using([f"127.0.0.1:{listener.getsockname()[1]}"], pickle=False):
            results = [call() for _ in range(5)]
        self.assertEqual(len(accepted), 1)
        listener.shutdown(socket.SHUT_RDWR)
        return results

    def test_one_that_answers_half_is_left_alone_like_a_server_that_is_away(self):
        found = self.assertLeftAlone(b"VALUE half 0 100\r\nha", lambda: cache.get("a"))
        self.assertEqual(found, [None] * 5)

    def test_one_that_is_out_of_memory_is_left_alone_since_it_can_hold_nothing(self):
        swap = {"a": Swap(ABSENT, Holds({"writer": time.time() + 60}), 60)}
        answer = b"SERVER_ERROR out of memory storing object\r\nEND\r\n"
        seen = self.assertLeftAlone(answer, lambda: cache.swap_and_look(swap))
        self.assertEqual(seen, [{"a": NO_ANSWER}] * 5)
