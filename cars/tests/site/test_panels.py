"""The debug toolbar's panel "Objects", and the Server-Timing header."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from time import perf_counter
from types import SimpleNamespace
from unittest import skipUnless

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory, SimpleTestCase, TestCase, override_settings
from django.utils.html import strip_tags

from cars.caching import events
from cars.caching.entries import ABSENT, Lease, Swap
from cars.lab import servers
from cars.models import Car
from cars.tests.support.caches import empty_cache
from carsite import settings as site

if "debug_toolbar" in settings.INSTALLED_APPS:
    from debug_toolbar.store import get_store

    from cars.insight.panels import ObjectsPanel

needs_the_toolbar = skipUnless(
    "debug_toolbar" in settings.INSTALLED_APPS, "the tests run with DJANGO_DEBUG=off"
)


@needs_the_toolbar
@override_settings(DEBUG=True)
class ObjectsPanelTests(TestCase):
    def setUp(self):
        empty_cache()
        self.car = Car.objects.create(make="Toyota")
        self.url = self.car.get_absolute_url()

    def fetch(self, page):
        """Return the HTML of the stored panel, fetched as the toolbar's script does."""
        request_id = re.search(r'data-request-id="(\w+)"', page.content.decode())[1]
        return self.client.get(
            "/__debug__/render_panel/", {"request_id": request_id, "panel_id": "ObjectsPanel"}
        ).json()["content"]

    def calls(self, page):
        """Return the panel's rows: calling line, objects, outcome with its steps, time."""
        rows = re.findall(r"<tr class.*?>(.*?)</tr>", self.fetch(page), re.DOTALL)
        return [
            [
                " ".join(strip_tags(cell.replace("><", "> <")).split())
                for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)
            ]
            for row in rows
        ]

    def test_the_panel_shows_a_filled_miss_then_a_hit(self):
        empty_cache()
        first, second = (self.client.get(self.url) for _ in range(2))
        [(_, keys, miss, _)], [(_, _, hit, _)] = self.calls(first), self.calls(second)
        self.assertEqual(keys, self.car.key())
        self.assertEqual(
            miss,
            "0 hits, 1 miss cache: get – no row cache: take the lease – leased: a miss "
            "database: SELECT – the row as it is now cache: put the row – stored",
        )
        self.assertEqual(hit, "1 hit, 0 misses cache: get – the row: a hit")
        self.assertContains(first, "0 hits, 1 miss in ")
        self.assertContains(second, "1 hit, 0 misses in ")

    def test_the_panel_names_the_calling_line(self):
        [(line, _, _, time)] = self.calls(self.client.get(self.url))
        self.assertRegex(line, r"^cars/views\.py:\d+ car = Car\.objects\.cache\(pk\)$")
        self.assertRegex(time, r"^\d+\.\d\d ms$")

    def test_the_objects_of_one_line_of_code_are_one_row(self):
        Car.objects.bulk_create(Car(make="Volvo") for _ in range(24))
        for outcome in ("1 hit, 24 misses", "25 hits, 0 misses"):
            [(_, keys, text, _)] = self.calls(self.client.get("/cars/"))
            self.assertIn(" and 22 more", keys)
            self.assertTrue(text.startswith(outcome), text)

    def test_a_cache_that_does_not_answer_is_no_miss(self):
        with override_settings(CACHES=site.caches([f"127.0.0.1:{servers.free_port()}"])):
            page = self.client.get(self.url)
            self.assertContains(page, "1 without an answer in ")
            [(_, _, text, _)] = self.calls(page)
        self.assertTrue(text.startswith("1 without an answer cache: get – no answer"), text)

    def test_a_fill_by_another_reader_that_takes_too_long_is_named(self):
        empty_cache()
        cache.cas_many({self.car.key(): Swap(ABSENT, Lease("another reader's"), 60)})
        with self.settings(CACHING_WAIT=0.01):
            page = self.client.get(self.url)
        [(_, _, text, _)] = self.calls(page)
        self.assertIn("cache: wait for another reader – no row in time", text)

    def test_a_save_shows_its_steps_and_was_called_from_django(self):
        self.client.force_login(User.objects.create_superuser("root"))
        self.client.post(f"{self.url}edit/", {"make": "Volvo"})  # a redirect has no toolbar
        [*_, request_id] = get_store().request_ids()
        stats = get_store().panel(request_id, "ObjectsPanel")
        [call] = stats["calls"]
        done = "held, written and committed, read again, put"
        self.assertEqual((call["keys"], call["text"]), (self.car.key(), done))
        self.assertEqual((call["kind"], len(call["steps"])), ("write", 5))
        self.assertRegex(call["place"], r"^django/forms/models\.py:\d+$")
        self.assertEqual(call["code"], "self.instance.save()")

    def test_a_page_without_objects_has_a_panel_that_says_so(self):
        page = self.client.get("/accounts/login/")
        self.assertContains(page, "Objects: none")
        self.assertIn("neither read nor wrote objects", self.fetch(page))

    def test_the_panel_records_nothing_after_the_response(self):
        page = self.client.get(self.url)
        before = self.fetch(page)
        Car.objects.cache(self.car.pk)
        self.assertEqual(self.fetch(page), before)

    def test_every_response_has_a_server_timing_with_hits_misses_and_time(self):
        empty_cache()
        first, second = (self.client.get(self.url) for _ in range(2))
        pages = (first, second, self.client.get("/accounts/login/"))
        pattern = r'cache;desc="([^"]*)";dur=(0\.00$)?'
        found = [re.findall(pattern, page["Server-Timing"]) for page in pages]
        self.assertEqual(
            found,
            [[("0 hits, 1 miss", "")], [("1 hit, 0 misses", "")], [("0 hits, 0 misses", "0.00")]],
        )


class WithoutDebugTests(TestCase):
    def test_responses_have_no_server_timing(self):
        self.assertNotIn("Server-Timing", self.client.get("/cars/"))


@needs_the_toolbar
class ObjectsPanelTogetherTests(SimpleTestCase):
    def panel(self, get_response):
        store = SimpleNamespace(save_panel=lambda *args: None)
        toolbar = SimpleNamespace(stats={}, store=store, request_id="")
        return ObjectsPanel(toolbar, get_response)

    def run_panel(self, get_response):
        request = RequestFactory().get("/")
        panel = self.panel(get_response)
        panel.generate_stats(request, panel.process_request(request))
        return panel

    def test_concurrent_requests_record_only_their_own_objects(self):
        count = 4
        barrier = Barrier(count)

        def serve(number):
            def get_response(request):
                for _ in range(50):
                    barrier.wait(10)  # all threads are inside their requests
                    events.tell(events.HIT, Car, perf_counter(), f"Car.{number}")
                return HttpResponse()

            return {call["keys"] for call in self.run_panel(get_response).get_stats()["calls"]}

        with ThreadPoolExecutor(count) as pool:
            recorded = list(pool.map(serve, range(count)))
        self.assertEqual(recorded, [{f"Car.{number}"} for number in range(count)])

    def test_the_panel_stops_listening_if_the_view_raises(self):
        def get_response(request):
            raise RuntimeError("on purpose")

        self.run_panel(lambda request: HttpResponse())
        with self.assertRaises(RuntimeError):
            self.run_panel(get_response)
        self.assertEqual(events._listeners.get(), ())

    def test_for_a_read_in_a_template_the_panel_names_the_line_that_renders_it(self):
        template = Engine().from_string("{{ ask }}")

        def get_response(request):
            ask = partial(events.tell, events.HIT, Car, perf_counter(), "Car.1")
            return HttpResponse(template.render(Context({"ask": ask})))

        [call] = self.run_panel(get_response).get_stats()["calls"]
        self.assertEqual(
            call["code"], 'return HttpResponse(template.render(Context({"ask": ask})))'
        )
