"""The page /watch/ and its stream, with a real Memcached."""

import json
import re
import signal
import socket
import time
from contextlib import closing
from http.cookiejar import CookieJar
from select import select
from threading import BoundedSemaphore, Thread
from unittest import skipUnless
from unittest.mock import patch
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import SimpleTestCase, TestCase, override_settings

from carsite import settings as site
from carsite.toolbar import show_toolbar

from .. import servers
from ..caching.keys import table_of
from ..caching.store import hold, let_go
from ..models import Car
from ..watch import server, stream, views, words
from . import test_demo
from .cache import MemcachedMixin, forget, make_key


class Events:
    """The server-sent events of a response, as they come."""

    def __init__(self, response):
        self.response = response
        self._blocks = iter(response.streaming_content)

    def __iter__(self):
        """Yield the name and the data of each; a heartbeat is called "heartbeat"."""
        for block in self._blocks:
            fields = dict(line.split(": ", 1) for line in block.decode().strip().splitlines())
            if "" in fields:
                yield "heartbeat", fields[""]
            elif "retry" in fields:
                yield "retry", int(fields["retry"])
            else:
                yield fields["event"], json.loads(fields["data"])

    def next(self, wanted):
        """Return the data of the next event called `wanted`."""
        return next(data for name, data in self if name == wanted)

    def texts(self, key, *wanted):
        """Return what happens to `key`, until each of `wanted` has begun one, in this order."""
        texts, left = [], list(wanted)
        for name, data in self:
            for event in data["events"] if name == "log" else []:
                if event["key"] == key:
                    texts.append(event["text"])
                    if left and texts[-1].startswith(left[0]):
                        del left[0]
            if not left:
                return texts
        raise AssertionError(f"the stream has ended without {left}: {texts}")


def close(response):
    """Close the stream as a server does, but not the connection that the test needs."""
    with patch.object(BaseDatabaseWrapper, "close_if_unusable_or_obsolete"):
        response.close()


class WatchTestCase(MemcachedMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.staff = User.objects.create_user("staff", is_staff=True)
        cls.visitor = User.objects.create_user("visitor")

    def setUp(self):
        forget()
        self.client.force_login(self.staff)
        self.enterContext(patch.object(stream, "LENGTH", 10))
        self.enterContext(patch.object(views, "places", BoundedSemaphore(views.PLACES)))

    def watch(self):
        """Return the events of a stream that has begun."""
        response = self.client.get("/watch/events")
        self.assertEqual(response.status_code, 200)
        self.addCleanup(close, response)
        events = Events(response)
        while not all(each["watching"] for each in events.next("totals")["servers"]):
            pass
        return events


class StreamTests(WatchTestCase):
    def test_a_save_goes_by_as_a_hold_and_a_row_and_the_next_read_as_found(self):
        car = Car.objects.create(make="Toyota")
        forget()
        events = self.watch()
        car.make = "Volvo"
        car.save()
        Car.objects.cache(car.pk)
        held, put = "held by a writer, 10 minutes at most", "a row was put ("
        texts = events.texts(
            car.key(), held, "looked up: found a hold", put, "looked up: found a row"
        )
        self.assertTrue(any(text.endswith(" bytes, stays an hour)") for text in texts), texts)

    def test_a_miss_goes_by_as_a_lease_and_a_row(self):
        car = Car.objects.create(make="Toyota")
        cache.delete(car.key())
        events = self.watch()
        Car.objects.cache(car.pk)
        texts = events.texts(car.key(), "a row was put")
        self.assertEqual(texts[0], "looked up: not found")
        self.assertEqual(texts[1], "leased by a reader, who has 10 seconds to fill it")

    def test_it_counts_lookups_and_not_those_that_are_part_of_writes(self):
        events = self.watch()
        cache.set("Car.1", b"x")
        cache.get("Car.1")
        cache.get("Car.2")
        news = {"found": 0, "missing": 0}
        while sum(news.values()) < 2:
            data = events.next("log")
            news = {name: count + data[name] for name, count in news.items()}
        self.assertEqual(news, {"found": 1, "missing": 1})

    def test_other_sites_keys_are_not_shown(self):
        events = self.watch()
        other = server.Client(server.normalize_server_spec(settings.MEMCACHED_SERVERS[0]))
        with closing(other):
            other.set("secret", b"x")
        cache.set("Car.1", b"x")
        data = events.next("log")
        self.assertEqual({event["key"] for event in data["events"]}, {"Car.1"})
        keys = {each["key"] for each in events.next("cached")["objects"]}
        self.assertEqual(keys, {"Car.1"})

    def test_of_too_many_events_it_shows_the_writes(self):
        events = self.watch()
        with patch.object(stream, "AT_ONCE", 3):
            cache.set("Car.1", b"x", 3600)
            cache.get_many([f"Car.{n}" for n in range(100)])
            data = events.next("log")
        self.assertEqual(len(data["events"]), 3)
        self.assertTrue(any("was put" in event["text"] for event in data["events"]))
        self.assertEqual(data["more"], data["found"] + data["missing"] + 1 - 3)

    def test_it_shows_what_is_cached(self):
        row, held, leased = (Car.objects.create(make=make) for make in "ABC")
        table = table_of(Car, "default")
        hold(table, [held.key()], "token")
        self.addCleanup(let_go, table, [held.key()], "token")
        cache.delete(leased.key())
        cache.set(leased.key(), b"x", 10)
        cached = {each["key"]: each for each in self.watch().next("cached")["objects"]}
        self.assertEqual(
            {key: each["kind"] for key, each in cached.items()},
            {row.key(): "row", held.key(): "hold", leased.key(): "lease"},
        )
        for each in cached.values():
            self.assertLess(each["age"], 60)
            self.assertGreater(each["size"], 50)

    def test_totals_are_the_servers_own(self):
        before = self.watch().next("totals")["counters"]
        cache.get("Car.1")
        after = self.watch().next("totals")["counters"]
        self.assertEqual(after["missing"] - before["missing"], 1)
        self.assertEqual(set(after), {"found", "missing", "evictions", "items", "bytes", "dropped"})

    def test_its_heart_beats_and_it_ends(self):
        with patch.object(stream, "LENGTH", 1), patch.object(stream, "HEARTBEAT", 0.2):
            started = time.monotonic()
            names = [name for name, _ in Events(self.client.get("/watch/events"))]
        self.assertEqual(names[0], "retry")
        self.assertIn(names.count("heartbeat"), (2, 3, 4, 5))
        self.assertLess(time.monotonic() - started, 3)

    def test_nothing_on_the_way_may_keep_it(self):
        response = self.client.get("/watch/events")
        self.addCleanup(close, response)
        self.assertEqual(response["Content-Type"], "text/event-stream")
        self.assertEqual(response["Cache-Control"], "no-cache")
        self.assertEqual(response["X-Accel-Buffering"], "no")

    def test_looking_at_what_is_cached_is_no_access_and_no_lookup(self):
        Car.objects.create(make="Toyota")
        events = self.watch()
        before = events.next("totals")["counters"]
        for _ in range(2):
            events.next("cached")
        after = events.next("totals")["counters"]
        self.assertEqual(after["found"], before["found"])


class PlacesTests(WatchTestCase):
    def test_there_is_room_for_a_few_and_the_next_is_told(self):
        watching = [self.client.get("/watch/events") for _ in range(views.PLACES)]
        for response in watching:
            self.addCleanup(close, response)
            self.assertEqual(response.status_code, 200)
        with self.assertLogs("django.request"):
            full = self.client.get("/watch/events")
        self.assertContains(full, "4 pages are watching already", status_code=503)
        close(watching[0])  # though it was never begun
        again = self.client.get("/watch/events")
        self.addCleanup(close, again)
        self.assertEqual(again.status_code, 200)

    def test_a_place_is_free_again_once(self):
        response = self.client.get("/watch/events")
        close(response)
        close(response)
        self.assertEqual(views.places._value, views.PLACES)


class AccessTests(WatchTestCase):
    def test_only_staff_may_watch(self):
        for login in (None, self.visitor):
            self.client.logout()
            if login:
                self.client.force_login(login)
            with self.subTest(login):
                self.assertRedirects(
                    self.client.get("/watch/"), "/admin/login/?next=/watch/", target_status_code=200
                )
                with self.assertLogs("django.request"):
                    answer = self.client.get("/watch/events")
                self.assertContains(answer, "not logged in as staff", status_code=403)

    def test_only_staff_see_the_link(self):
        link = '<a href="/watch/">Watch</a>'
        self.assertContains(self.client.get("/"), link, html=True)
        self.client.force_login(self.visitor)
        self.assertNotContains(self.client.get("/"), link, html=True)

    def test_the_page_says_how_it_knows(self):
        page = self.client.get("/watch/")
        self.assertContains(page, "a lease 10 seconds")
        self.assertContains(page, "a hold 10 minutes at most, a row an hour")
        self.assertContains(page, "Found is not a hit")
        self.assertContains(page, "cars/watch.js")

    def test_the_debug_toolbar_leaves_the_stream_alone(self):
        with override_settings(DEBUG=True):
            response = self.client.get("/watch/events")
            self.addCleanup(close, response)
            self.assertNotIn("djdt-request-id", response.headers)
            self.assertFalse(show_toolbar(response.wsgi_request))
            self.assertTrue(show_toolbar(self.client.get("/watch/").wsgi_request))


class LocalMemoryTests(TestCase):
    def test_the_page_says_how_to_get_a_memcached(self):
        self.client.force_login(User.objects.create_user("staff", is_staff=True))
        with override_settings(MEMCACHED_SERVERS=[], CACHES=site.caches([])):
            self.assertContains(self.client.get("/watch/"), "apt install memcached")
            self.assertNotContains(self.client.get("/watch/"), "watch.js")
            with self.assertLogs("django.request"):
                answer = self.client.get("/watch/events")
            self.assertContains(answer, "local memory", status_code=503)


@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class ServersTests(WatchTestCase):
    def use(self, *addresses):
        """Let the site use these servers."""
        caches = site.caches(list(addresses))
        caches["default"]["KEY_FUNCTION"] = make_key
        overridden = override_settings(MEMCACHED_SERVERS=list(addresses), CACHES=caches)
        self.enterContext(overridden)

    def test_all_servers_are_watched(self):
        addresses = [self.enterContext(servers.memcached()) for _ in range(2)]
        self.use(*addresses)
        events = self.watch()
        keys = {f"Car.{n}" for n in range(40)}
        for key in keys:
            cache.set(key, b"x")
        seen = {}
        while seen.keys() != keys:
            seen |= {each["key"]: each["server"] for each in events.next("log")["events"]}
        self.assertEqual(set(seen.values()), set(addresses))
        self.assertEqual(events.next("totals")["counters"]["items"], 40)
        self.assertEqual(events.next("cached")["count"], 40)

    def test_one_that_is_away_is_named_and_the_others_are_watched(self):
        away = f"127.0.0.1:{servers.free_port()}"
        here = self.enterContext(servers.memcached())
        self.use(here, away)
        events = Events(self.client.get("/watch/events"))
        self.addCleanup(events.response.close)
        while not (states := events.next("totals")["servers"])[0]["watching"]:
            pass
        troubles = {each["address"]: each["trouble"] for each in states}
        self.assertEqual(troubles, {here: "", away: "doesn't answer"})
        self.use(here)
        cache.set("Car.1", b"x")
        self.assertEqual(events.next("log")["events"][0]["key"], "Car.1")

    def test_one_that_comes_back_is_watched_again(self):
        port = servers.free_port()
        self.enterContext(patch.object(server, "RETRY", 0.1))
        with servers.memcached(port=port) as address:
            self.use(address)
            events = self.watch()
        while not events.next("totals")["servers"][0]["trouble"]:
            pass
        with servers.memcached(port=port):
            while not events.next("totals")["servers"][0]["watching"]:
                pass
            cache.set("Car.1", b"x")
            cache.set("Car.1", b"x")
            self.assertEqual(events.next("log")["events"][-1]["key"], "Car.1")

    def read(self, watcher):
        """Read what the server answers, when it does."""
        select([watcher.socket], [], [], 5)
        return watcher.read()

    def test_a_server_without_a_log_of_deletions_gives_the_rest(self):
        asked = []
        with pretender([b"ERROR\r\n", b"OK\r\n"], asked) as address:
            watcher = server.Watcher(address)
            with closing(watcher):
                self.assertTrue(watcher.open())
                self.assertTrue(self.read(watcher) and self.read(watcher))
        self.assertEqual(asked, [*server.COMMANDS[:2]])

    def test_a_server_that_refuses_to_show_its_log_is_quoted(self):
        with pretender([b"WATCHER_TOO_MANY log watcher limit reached\r\n"], []) as address:
            watcher = server.Watcher(address)
            with closing(watcher):
                self.assertTrue(watcher.open())
                self.assertFalse(self.read(watcher))
        self.assertIn("WATCHER_TOO_MANY log watcher limit", watcher.trouble)


class pretender:  # noqa: N801
    """A server that gives these answers, one to each line; notes the lines in `asked`."""

    def __init__(self, answers, asked):
        self.answers, self.asked = answers, asked

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = Thread(target=self.serve)
        self.thread.start()
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rb") as lines:
            for answer in self.answers:
                self.asked.append(lines.readline())
                connection.sendall(answer)

    def __exit__(self, *args):
        self.thread.join(5)
        self.listener.close()


class WordsTests(SimpleTestCase):
    def test_what_was_put_is_told_by_its_timeout(self):
        for timeout, kind in (
            (3600, "row"), (602, "hold"), (601, "hold"), (300, "hold"), (10, "lease"),
            (-1, "expired"), (7200, "row"), (0, "row"),
        ):  # fmt: skip
            with self.subTest(timeout):
                self.assertEqual(words.kind_put("Car.1", timeout), kind)
        self.assertEqual(words.kind_put("other", 10), "value")

    def test_it_says_where_it_is_not_sure(self):
        self.assertEqual(words.kind_standing("Car.1", 3600, fetched=False), "row")
        self.assertEqual(words.kind_standing("Car.1", 1800, fetched=True), "row")
        self.assertEqual(words.kind_standing("Car.1", 602, fetched=True), "hold")
        self.assertEqual(words.kind_standing("Car.1", 300, fetched=True), "row or hold")

    def test_it_says_durations_as_one_would(self):
        for seconds, said in (
            (1, "a second"), (10, "10 seconds"), (60, "a minute"), (602, "10 minutes"),
            (3600, "an hour"), (86400, "a day"), (172800, "2 days"),
        ):  # fmt: skip
            self.assertEqual(words.duration(seconds), said)


class EntryTests(SimpleTestCase):
    def test_lines_of_metadump_are_read(self):
        line = b"key=a%20b exp=1795379286 la=1795375686 cas=7 fetch=no cls=1 size=73\n"
        self.assertEqual(
            server.parse_entry(line), server.Entry("a b", 1795379286, 1795375686, False, 73)
        )
        forever = b"key=a exp=-1 la=1795375681 cas=5 fetch=yes cls=1 size=72\n"
        self.assertEqual(server.parse_entry(forever), server.Entry("a", None, 1795375681, True, 72))
        self.assertIsNone(server.parse_entry(b"BUSY currently processing crawler request\r\n"))


@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class StoppingTests(SimpleTestCase):
    setUp, start = test_demo.DemoTests.setUp, test_demo.DemoTests.start
    serve = test_demo.DemoTests.serve

    def test_ctrl_c_ends_the_demo_at_once_though_somebody_watches(self):
        demo = self.serve()
        root = "http://{}:{}".format(*demo.address)
        browser = build_opener(HTTPCookieProcessor(CookieJar()))
        form = browser.open(f"{root}/accounts/login/", timeout=10).read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)[1]
        data = {"csrfmiddlewaretoken": token, "username": "demo", "password": "demo"}
        browser.open(f"{root}/accounts/login/", urlencode(data).encode(), timeout=10).close()
        watching = [browser.open(f"{root}/watch/events", timeout=10) for _ in range(2)]
        for stream_ in watching:
            self.addCleanup(stream_.close)
            self.assertEqual(stream_.readline(), b"retry: 200\n")
        self.assertLess(demo.end(signal.SIGINT), 3)
        self.assertTrue(demo.output.endswith("\n\nStopped.\n"), demo.output)
