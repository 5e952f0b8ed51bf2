"""/watch/ with several servers, an unreachable server, and one that refuses its log."""

import socket
from contextlib import closing
from select import select
from unittest.mock import patch

from django.core.cache import cache
from django.test import tag

from cars.insight.watch import server
from cars.lab import servers
from cars.tests.support.caches import on_servers
from cars.tests.support.fake_server import FakeServer
from cars.tests.support.watching import Events, WatchTestCase, close


@tag("any-database")
class ServersTests(WatchTestCase):
    def test_all_servers_are_watched(self):
        addresses = [self.enterContext(servers.memcached()) for _ in range(2)]
        self.enterContext(on_servers(addresses))
        events = self.watch()
        keys = {f"Car.{n}" for n in range(40)}
        for key in keys:
            cache.set(key, b"x")
        seen = {}
        while seen.keys() != keys:
            seen |= {each["key"]: each["server"] for each in events.next("log")["events"]}
        self.assertEqual(set(seen.values()), set(addresses))
        self.assertEqual(events.next("totals")["counters"]["items"], 40)
        while events.next("cached")["count"] != 40:  # the newest can be missing at first
            pass

    def test_a_server_that_is_down_is_named_and_the_others_are_watched(self):
        taken = self.enterContext(socket.socket())  # keeps the port unused
        taken.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{taken.getsockname()[1]}"
        up = self.enterContext(servers.memcached())
        self.enterContext(on_servers([up, down]))
        events = Events(self.client.get("/watch/events"))
        self.addCleanup(close, events.response)
        while not (states := events.next("totals")["servers"])[0]["watching"]:
            pass
        problems = {each["address"]: each["problem"] for each in states}
        self.assertEqual(problems, {up: "", down: "doesn't answer"})
        self.enterContext(on_servers([up]))
        cache.set("Car.1", b"x")
        self.assertEqual(events.next("log")["events"][0]["key"], "Car.1")

    def test_a_server_that_comes_back_is_watched_again(self):
        port = servers.free_port()
        self.enterContext(patch.object(server, "RETRY", 0.1))
        with servers.memcached(port=port) as address:
            self.enterContext(on_servers([address]))
            events = self.watch()
        while not events.next("totals")["servers"][0]["problem"]:
            pass
        with servers.memcached(port=port):
            while not events.next("totals")["servers"][0]["watching"]:
                pass
            cache.set("Car.1", b"x")
            cache.set("Car.1", b"x")
            self.assertEqual(events.next("log")["events"][-1]["key"], "Car.1")

    def test_a_server_that_is_away_has_no_counters(self):
        self.assertEqual(server.counters("127.0.0.1:1"), {})

    def test_a_server_that_lists_its_items_for_another_client_is_asked_again(self):
        item = b"key=Car.1 exp=-1 la=1795375681 cas=5 fetch=yes cls=1 size=72\n"
        busy = b"BUSY currently processing crawler request\r\n"
        with FakeServer([busy, item + b"END\r\n"], []) as address:
            self.assertEqual([each.key for each in server.items(address)], ["Car.1"])

    def read(self, watcher):
        """Wait for an answer of the server and read it."""
        select([watcher.socket], [], [], 5)
        return watcher.read()

    def test_a_server_without_a_log_of_deletions_is_watched_without_them(self):
        received = []
        with FakeServer([b"ERROR\r\n", b"OK\r\n"], received) as address:
            watcher = server.Watcher(address)
            with closing(watcher):
                self.assertTrue(watcher.open())
                self.assertTrue(self.read(watcher) and self.read(watcher))
        self.assertEqual(received, [*server.COMMANDS[:2]])

    def test_the_answer_of_a_server_that_refuses_its_log_is_shown(self):
        with FakeServer([b"WATCHER_TOO_MANY log watcher limit reached\r\n"], []) as address:
            watcher = server.Watcher(address)
            with closing(watcher):
                self.assertTrue(watcher.open())
                self.assertFalse(self.read(watcher))
        self.assertIn("WATCHER_TOO_MANY log watcher limit", watcher.problem)
