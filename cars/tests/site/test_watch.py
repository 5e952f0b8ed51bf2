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
from django.test import SimpleTestCase, TestCase, override_settings

from cars.caching.protocol import hold, withdraw
from cars.caching.registry import cached_model
from cars.insight.watch import server, stream, views
from cars.lab import servers
from cars.models import Car
from cars.tests.support.caches import forget, on_servers
from cars.tests.support.watching import Events, WatchTestCase, close
from carsite.toolbar import show_toolbar

from . import test_demo


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
        while not (objects := events.next("cached")["objects"]):  # the newest can be missing
            pass
        self.assertEqual({each["key"] for each in objects}, {"Car.1"})

    def test_of_too_many_events_it_shows_the_writes(self):
        events = self.watch()
        with patch.object(stream, "AT_ONCE", 3):
            cache.set("Car.1", b"x", 3600)
            cache.get_many([f"Car.{n}" for n in range(100)])
            told, untold = [], 0
            while len(told) + untold < 101:  # mostly in one message
                data = events.next("log")
                self.assertLessEqual(len(data["events"]), 3)
                told += data["events"]
                untold += data["more"]
        self.assertTrue(any("was put" in event["text"] for event in told))
        self.assertGreater(untold, 0)

    def test_it_shows_what_is_cached(self):
        row, held, leased = (Car.objects.create(make=make) for make in "ABC")
        table = cached_model(Car, "default")
        hold(table, [held.key()], "token")
        self.addCleanup(withdraw, table, [held.key()], "token")
        cache.delete(leased.key())
        cache.set(leased.key(), b"x", 10)
        events, cached = self.watch(), {}
        while len(cached) < 3:  # the newest can be missing at first
            cached = {each["key"]: each for each in events.next("cached")["objects"]}
        self.assertEqual(
            {key: each["kind"] for key, each in cached.items()},
            {row.key(): "row", held.key(): "holds", leased.key(): "lease"},
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
        with patch.object(stream, "HEARTBEAT", 0.2):
            self.watch().next("heartbeat")
        with patch.object(stream, "LENGTH", 0):
            names = [name for name, _ in Events(self.client.get("/watch/events"))]
        self.assertEqual(names, ["retry"])

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
        with on_servers([]):
            self.assertContains(self.client.get("/watch/"), "apt install memcached")
            self.assertNotContains(self.client.get("/watch/"), "watch.js")
            with self.assertLogs("django.request"):
                answer = self.client.get("/watch/events")
            self.assertContains(answer, "local memory", status_code=503)


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
