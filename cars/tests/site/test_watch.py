"""The page /watch/ and its stream, with a real Memcached."""

import signal
import socket
import threading
from contextlib import closing, suppress
from unittest import skipUnless
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import SimpleTestCase, TestCase, override_settings, tag

from cars.caching.inspection import inspect
from cars.caching.protocol import hold, withdraw
from cars.caching.registry import cached_model
from cars.insight.watch import plug, recorder, server, stream, views
from cars.insight.watch import servers as watched
from cars.lab import servers
from cars.models import Car
from cars.tests.support.caches import empty_cache, on_servers
from cars.tests.support.watching import PLACES, Events, WatchTestCase, close, logged_in
from carsite.toolbar import show_toolbar

from . import test_demo


@tag("any-database")
class StreamTests(WatchTestCase):
    def test_a_save_shows_as_a_hold_and_a_row_and_the_next_read_as_found(self):
        car = Car.objects.create(make="Toyota")
        empty_cache()
        events = self.watch()
        car.make = "Volvo"
        car.save()
        Car.objects.cache(car.pk)
        hold, row = "held by a writer for up to 10 minutes", "a row was put ("
        own = "looked again: its own hold stands"
        texts = events.texts(car.key(), hold, own, row, "fetched: found a row")
        self.assertTrue(any(text.endswith(" bytes, for 1 hour)") for text in texts), texts)

    def test_a_miss_shows_as_a_lease_and_a_row(self):
        car = Car.objects.create(make="Toyota")
        cache.delete(car.key())
        events = self.watch()
        Car.objects.cache(car.pk)
        texts = events.texts(car.key(), "a row was put")
        self.assertEqual(texts[0], "fetched: not found")
        self.assertEqual(texts[1], "leased by a reader for 10 seconds")
        self.assertEqual(texts[2], "looked again: its own lease stands")

    def test_each_event_tells_what_stands_under_the_key_after_it_and_until_when(self):
        car = Car.objects.create(make="Toyota")
        empty_cache()
        events = self.watch()
        Car.objects.cache(car.pk)
        lines = events.lines(lambda each: each["what"] == "row")
        self.assertEqual(
            [(each["what"], each["state"]) for each in lines if each["key"] == car.key()],
            [("missing", "nothing"), ("lease", "lease"), ("look", "lease"), ("row", "row")],
        )
        self.assertEqual(round(lines[-1]["until"] - lines[-1]["time"]), 3600)
        self.assertEqual(len({each["connection"] for each in lines}), 1)
        self.assertEqual(len({each["id"] for each in lines}), len(lines))

    def test_a_page_that_opens_gets_the_last_minutes(self):
        events = self.watch()
        cache.set("Car.1", b"x")
        events.lines(lambda each: each["key"] == "Car.1")
        later = self.client.get("/watch/events")
        self.addCleanup(close, later)
        self.assertTrue(Events(later).lines(lambda each: each["key"] == "Car.1"))

    def test_fetches_are_counted_except_those_that_are_part_of_writes(self):
        events = self.watch()
        cache.set("Car.1", b"x")
        cache.get("Car.1")
        cache.get("Car.2")
        self.assertEqual(events.fetches(2), (1, 1))

    def test_the_looks_of_the_admin_are_not_counted_or_shown(self):
        car = Car.objects.create(make="Toyota")
        events = self.watch()
        self.client.get("/admin/cars/car/")
        inspect(car)
        Car.objects.cache(car.pk)
        lines = events.lines(lambda each: each["what"] == "found")
        self.assertEqual(events.fetches(1), (1, 0))
        self.assertNotIn("looks", " ".join(each["key"] for each in lines))
        self.assertEqual(lines[-1]["key"], car.key())

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
        with patch.object(watched, "AT_ONCE", 3):
            cache.set("Car.1", b"x", 3600)
            cache.get_many([f"Car.{n}" for n in range(100)])
            shown = events.lines(lambda each: each["what"] == "gap")  # mostly in one message
        self.assertTrue(any("was put" in event["text"] for event in shown))
        self.assertGreater(shown[-1]["count"], 0)
        self.assertLessEqual(len(shown), 101)

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
            self.assertGreater(each["left"], 0)

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

    def test_a_page_that_reconnects_gets_what_is_new_and_the_seconds_before(self):
        events = self.watch()
        cache.set("Car.1", b"x")
        [old] = events.lines(lambda each: each["key"] == "Car.1")
        cache.set("Car.2", b"x")
        new = events.lines(lambda each: each["key"] == "Car.2")[-1]
        for since, first in (
            (events.id, "Car.1"),
            (f"{old['time'] + stream.OVERLAP}", "Car.2"),
            ("no time", "Car.1"),
        ):
            with self.subTest(since):
                self.assertGreaterEqual(float(events.id), new["time"])
                response = self.client.get("/watch/events", headers={"Last-Event-ID": since})
                self.assertEqual(Events(response).next("log")["events"][0]["key"], first)
                close(response)

    def test_the_recorder_ends_after_the_last_page(self):
        self.watch()
        with patch.object(recorder, "UNUSED", 0):
            [thread] = [each for each in threading.enumerate() if each.name == "watch"][-1:]
            thread.join(10)
        self.assertFalse(thread.is_alive())

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


@tag("any-database")
class PlacesTests(WatchTestCase):
    def test_the_number_of_streams_is_limited_and_the_next_request_gets_a_reason(self):
        watching = [self.client.get("/watch/events") for _ in range(PLACES)]
        for response in watching:
            self.addCleanup(close, response)
            self.assertEqual(response.status_code, 200)
        with self.assertLogs("django.request"):
            full = self.client.get("/watch/events")
        self.assertContains(full, "3 pages are watching already", status_code=503)
        close(watching[0])  # although it was never read
        again = self.client.get("/watch/events")
        self.addCleanup(close, again)
        self.assertEqual(again.status_code, 200)

    def test_closing_a_stream_twice_frees_one_place(self):
        response = self.client.get("/watch/events")
        close(response)
        close(response)
        self.assertEqual(views.places._value, PLACES)

    def test_without_threads_there_is_no_place_and_the_page_says_so(self):
        for places, threads in ((0, True), (PLACES, False)):
            self.client.defaults["wsgi.multithread"] = threads
            with (
                self.subTest(places=places, threads=threads),
                override_settings(WATCH_PLACES=places),
            ):
                page = self.client.get("/watch/")
                self.assertContains(page, views.NO_THREADS)
                self.assertNotContains(page, "watch.js")
                with self.assertLogs("django.request"):
                    answer = self.client.get("/watch/events")
                self.assertContains(answer, views.NO_THREADS, status_code=503)

    def test_a_client_that_takes_no_more_is_disconnected_so_that_no_write_blocks(self):
        ours, browser = socket.socketpair()
        with ours, browser, patch.object(stream, "LENGTH", 0.1):
            ours.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    ours.send(b"x" * 1024)
            response = self.client.get("/watch/events", **{"gunicorn.socket": ours})
            self.addCleanup(close, response)
            self.assertEqual(list(response), [])
            with self.assertRaises(BrokenPipeError):
                ours.send(b"x")


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


@tag("any-database")
class PlugTests(WatchTestCase):
    def test_the_button_of_a_demo_sends_a_signal_and_waits_for_the_server(self):
        for do, runs, number in (("stop", False, signal.SIGUSR1), ("start", True, signal.SIGUSR2)):
            with (
                self.subTest(do),
                override_settings(DEMO_PID=123),
                patch.object(plug.os, "kill") as kill,
                patch.object(plug, "runs", side_effect=[not runs, runs, runs]),
            ):
                page = self.client.post("/watch/memcached", {"do": do}, follow=True)
                self.assertContains(page, plug.DONE[do])
                kill.assert_called_once_with(123, number)

    def test_only_staff_may_stop_it_and_only_in_a_demo(self):
        with patch.object(plug.os, "kill") as kill:
            with self.assertLogs("django.request"):
                self.assertEqual(self.client.post("/watch/memcached").status_code, 404)
            with override_settings(DEMO_PID=123), self.assertLogs("django.request"):
                self.assertEqual(self.client.get("/watch/memcached").status_code, 405)
                self.assertEqual(self.client.post("/watch/memcached").status_code, 400)
                self.client.force_login(self.visitor)
                self.assertEqual(self.client.post("/watch/memcached").status_code, 302)
            kill.assert_not_called()

    def test_the_page_has_the_button_in_a_demo_and_names_a_command_elsewhere(self):
        with override_settings(DEBUG=True):
            self.assertContains(self.client.get("/watch/"), "docker compose stop memcached")
            with override_settings(DEMO_PID=123):
                self.assertContains(self.client.get("/watch/"), "Stop Memcached")
                with patch.object(server, "items", return_value=None):  # it can still run
                    self.assertContains(self.client.get("/watch/"), "Stop Memcached")
                with patch.object(server, "counters", return_value={}):
                    self.assertContains(self.client.get("/watch/"), "Start Memcached")
        self.assertNotContains(self.client.get("/watch/"), "Pull the plug")


class LocalMemoryTests(TestCase):
    def test_the_page_says_how_to_get_a_memcached(self):
        self.client.force_login(User.objects.create_user("staff", is_staff=True))
        with on_servers([]):
            self.assertContains(self.client.get("/watch/"), "apt install memcached")
            self.assertContains(self.client.get("/watch/"), "no server to stop")
            self.assertNotContains(self.client.get("/watch/"), "watch.js")
            with self.assertLogs("django.request"):
                answer = self.client.get("/watch/events")
            self.assertContains(answer, "local memory", status_code=503)


@tag("any-database")
@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class StoppingTests(SimpleTestCase):
    setUp, start = test_demo.DemoTests.setUp, test_demo.DemoTests.start
    serve = test_demo.DemoTests.serve

    def test_ctrl_c_ends_the_demo_while_pages_watch_that_have_the_minutes_before(self):
        demo = self.serve()
        root = "http://{}:{}".format(*demo.address)
        browser, _ = logged_in(root)
        browser.open(f"{root}/cars/1/", timeout=10).close()
        watching = [browser.open(f"{root}/watch/events", timeout=10) for _ in range(2)]
        for stream_ in watching:
            self.addCleanup(stream_.close)
            self.assertEqual(stream_.readline(), b"retry: %d\n" % stream.RETRY)
            # What happened before any page was watching: the demo records from its start.
            log = next(line for line in stream_ if line.startswith(b'data: {"events"'))
            self.assertIn(b'"Car.1"', log)
        demo.end(signal.SIGINT)
        self.assertTrue(demo.output.endswith("\n\nStopped.\n"), demo.output)
