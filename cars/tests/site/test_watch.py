"""The page /watch/ and its stream, with a real Memcached."""

import re
import signal
from contextlib import closing
from http.cookiejar import CookieJar
from unittest import skipUnless
from unittest.mock import patch
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import SimpleTestCase, TestCase, override_settings, tag

from cars.caching.inspection import inspect
from cars.caching.protocol import hold, withdraw
from cars.caching.registry import cached_model
from cars.insight.watch import server, stream, views
from cars.lab import servers
from cars.models import Car
from cars.tests.support.caches import empty_cache, on_servers
from cars.tests.support.watching import Events, WatchTestCase, close
from carsite.toolbar import show_toolbar

from . import test_demo


class StreamTests(WatchTestCase):
    def test_a_save_shows_as_a_hold_and_a_row_and_the_next_read_as_found(self):
        car = Car.objects.create(make="Toyota")
        empty_cache()
        events = self.watch()
        car.make = "Volvo"
        car.save()
        Car.objects.cache(car.pk)
        hold, row = "held by a writer for up to 10 minutes", "a row was put ("
        texts = events.texts(car.key(), hold, "fetched: found holds", row, "fetched: found a row")
        self.assertTrue(any(text.endswith(" bytes, for 1 hour)") for text in texts), texts)

    def test_a_miss_shows_as_a_lease_and_a_row(self):
        car = Car.objects.create(make="Toyota")
        cache.delete(car.key())
        events = self.watch()
        Car.objects.cache(car.pk)
        texts = events.texts(car.key(), "a row was put")
        self.assertEqual(texts[0], "fetched: not found")
        self.assertEqual(texts[1], "leased by a reader for 10 seconds")

    def test_fetches_are_counted_except_those_that_are_part_of_writes(self):
        events = self.watch()
        cache.set("Car.1", b"x")
        cache.get("Car.1")
        cache.get("Car.2")
        news = {"found": 0, "missing": 0}
        while sum(news.values()) < 2:
            data = events.next("log")
            news = {name: count + data[name] for name, count in news.items()}
        self.assertEqual(news, {"found": 1, "missing": 1})

    def test_the_looks_of_the_admin_are_not_counted_or_shown(self):
        car = Car.objects.create(make="Toyota")
        events = self.watch()
        self.client.get("/admin/cars/car/")
        inspect(car)
        Car.objects.cache(car.pk)
        data = events.next("log")
        while not data["found"]:  # the writes before can come first
            data = events.next("log")
        self.assertEqual((data["found"], data["missing"]), (1, 0))
        self.assertEqual([each["key"] for each in data["events"]][-1:], [car.key()])

    def test_keys_of_other_sites_are_not_shown(self):
        events = self.watch()
        other = server.Client(server.normalize_server_spec(settings.MEMCACHED_SERVERS[0]))
        with closing(other):
            other.set("secret", b"x")
        cache.set("Car.1", b"x")
        data = events.next("log")
        self.assertEqual({event["key"] for event in data["events"]}, {"Car.1"})
        while not (items := events.next("cached")["items"]):  # the newest can be missing at first
            pass
        self.assertEqual({each["key"] for each in items}, {"Car.1"})

    def test_writes_are_shown_first_if_there_are_too_many_events(self):
        events = self.watch()
        with patch.object(stream, "AT_ONCE", 3):
            cache.set("Car.1", b"x", 3600)
            cache.get_many([f"Car.{n}" for n in range(100)])
            shown, hidden = [], 0
            while len(shown) + hidden < 101:  # mostly in one message
                data = events.next("log")
                self.assertLessEqual(len(data["events"]), 3)
                shown += data["events"]
                hidden += data["more"]
        self.assertTrue(any("was put" in event["text"] for event in shown))
        self.assertGreater(hidden, 0)

    def test_the_items_have_their_states(self):
        row, held, leased = (Car.objects.create(make=make) for make in "ABC")
        table = cached_model(Car, "default")
        hold(table, [held.key()], "token")
        self.addCleanup(withdraw, table, [held.key()], "token")
        cache.delete(leased.key())
        cache.set(leased.key(), b"x", 10)
        events, cached = self.watch(), {}
        while len(cached) < 3:  # the newest can be missing at first
            cached = {each["key"]: each for each in events.next("cached")["items"]}
        self.assertEqual(
            {key: each["state"] for key, each in cached.items()},
            {row.key(): "row", held.key(): "holds", leased.key(): "lease"},
        )
        for each in cached.values():
            self.assertLess(each["age"], 60)
            self.assertGreater(each["size"], 50)

    def test_totals_are_those_of_the_server(self):
        before = self.watch().next("totals")["counters"]
        cache.get("Car.1")
        after = self.watch().next("totals")["counters"]
        self.assertEqual(after["missing"] - before["missing"], 1)
        self.assertEqual(set(after), {"found", "missing", "evictions", "items", "bytes", "dropped"})

    def test_the_stream_sends_heartbeats_and_ends(self):
        with patch.object(stream, "HEARTBEAT", 0.2):
            self.watch().next("heartbeat")
        with patch.object(stream, "LENGTH", 0):
            names = [name for name, _ in Events(self.client.get("/watch/events"))]
        self.assertEqual(names, ["retry"])

    def test_headers_forbid_proxies_to_cache_or_buffer_the_stream(self):
        response = self.client.get("/watch/events")
        self.addCleanup(close, response)
        self.assertEqual(response["Content-Type"], "text/event-stream")
        self.assertEqual(response["Cache-Control"], "no-cache")
        self.assertEqual(response["X-Accel-Buffering"], "no")

    def test_reading_the_items_does_not_count_as_a_fetch(self):
        Car.objects.create(make="Toyota")
        events = self.watch()
        before = events.next("totals")["counters"]
        for _ in range(2):
            events.next("cached")
        after = events.next("totals")["counters"]
        self.assertEqual(after["found"], before["found"])


class PlacesTests(WatchTestCase):
    def test_the_number_of_streams_is_limited_and_the_next_request_gets_a_reason(self):
        watching = [self.client.get("/watch/events") for _ in range(views.PLACES)]
        for response in watching:
            self.addCleanup(close, response)
            self.assertEqual(response.status_code, 200)
        with self.assertLogs("django.request"):
            full = self.client.get("/watch/events")
        self.assertContains(full, "4 pages are watching already", status_code=503)
        close(watching[0])  # although it was never read
        again = self.client.get("/watch/events")
        self.addCleanup(close, again)
        self.assertEqual(again.status_code, 200)

    def test_closing_a_stream_twice_frees_one_place(self):
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

    def test_everybody_sees_the_link(self):
        for user in (self.staff, self.visitor):
            self.client.force_login(user)
            self.assertContains(self.client.get("/"), '<a href="/watch/">Watch</a>', html=True)

    def test_the_page_explains_how_it_tells_entries_apart(self):
        page = self.client.get("/watch/")
        self.assertContains(page, "a lease has 10 seconds")
        self.assertContains(page, "a hold at most 10 minutes, a row 1 hour")
        self.assertContains(page, "Found is not a hit")
        self.assertContains(page, "cars/watch.js")

    def test_the_debug_toolbar_ignores_the_stream(self):
        with override_settings(DEBUG=True):
            response = self.client.get("/watch/events")
            self.addCleanup(close, response)
            self.assertNotIn("djdt-request-id", response.headers)
            self.assertFalse(show_toolbar(response.wsgi_request))
            self.assertTrue(show_toolbar(self.client.get("/watch/").wsgi_request))


class LocalMemoryTests(TestCase):
    def test_the_page_says_how_to_get_a_memcached(self):
        self.client.force_login(User.objects.create_user("staff", is_staff=True))
        with on_servers([]):
            self.assertContains(self.client.get("/watch/"), "apt install memcached")
            self.assertNotContains(self.client.get("/watch/"), "watch.js")
            with self.assertLogs("django.request"):
                answer = self.client.get("/watch/events")
            self.assertContains(answer, "local memory", status_code=503)


@tag("any-database")
@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class StoppingTests(SimpleTestCase):
    setUp, start = test_demo.DemoTests.setUp, test_demo.DemoTests.start
    serve = test_demo.DemoTests.serve

    def test_ctrl_c_ends_the_demo_at_once_while_pages_are_watching(self):
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
