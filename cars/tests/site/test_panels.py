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
from cars.insight.lookups import Covered
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

    def rows(self, page):
        """Return the panel's rows: key, outcome, time, calling line."""
        rows = re.findall(r"<tr>(.*?)</tr>", self.fetch(page), re.DOTALL)[1:]
        return [
            [strip_tags(cell.replace("><", "> <")) for cell in re.findall(r"<td>(.*?)</td>", row)]
            for row in rows
        ]

    def outcomes(self, page):
        return [(key, outcome) for key, outcome, *_ in self.rows(page)]

    def test_the_panel_shows_a_filled_miss_then_a_hit(self):
        empty_cache()
        first, second = (self.client.get(self.url) for _ in range(2))
        self.assertEqual(self.outcomes(first), [(self.car.key(), "miss, filled")])
        self.assertEqual(self.outcomes(second), [(self.car.key(), "hit")])
        self.assertContains(first, "0 hits, 1 miss in ")
        self.assertContains(second, "1 hit, 0 misses in ")

    def test_the_panel_names_the_calling_line(self):
        [(_, _, time, line)] = self.rows(self.client.get(self.url))
        self.assertRegex(line, r"^cars/views\.py:\d+ car = Car\.objects\.cache\(pk\)$")
        self.assertRegex(time, r"^\d+\.\d\d ms$")

    def test_a_cache_that_does_not_answer_is_no_miss(self):
        with override_settings(CACHES=site.caches([f"127.0.0.1:{servers.free_port()}"])):
            page = self.client.get(self.url)
            self.assertContains(page, "1 without an answer in ")
            self.assertEqual(self.outcomes(page)[0][1], "the cache does not answer")

    def test_a_fill_by_another_reader_that_takes_too_long_is_named(self):
        empty_cache()
        cache.cas_many({self.car.key(): Swap(ABSENT, Lease("another reader's"), 60)})
        with self.settings(CACHING_WAIT=0.01):
            page = self.client.get(self.url)
        [(_, outcome)] = self.outcomes(page)
        self.assertEqual(outcome, "miss, another reader’s fill took too long")

    def test_a_save_is_written_and_filled_and_was_called_from_django(self):
        self.client.force_login(User.objects.create_superuser("root"))
        self.client.post(f"{self.url}edit/", {"make": "Volvo"})  # a redirect has no toolbar
        [*_, request_id] = get_store().request_ids()
        stats = get_store().panel(request_id, "ObjectsPanel")
        [row] = stats["rows"]
        self.assertEqual((row["key"], row["text"]), (self.car.key(), "written, filled"))
        self.assertRegex(row["place"], r"^django/forms/models\.py:\d+$")
        self.assertEqual(row["code"], "self.instance.save()")

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

            return {row["key"] for row in self.run_panel(get_response).get_stats()["rows"]}

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

        [row] = self.run_panel(get_response).get_stats()["rows"]
        self.assertEqual(row["code"], 'return HttpResponse(template.render(Context({"ask": ask})))')

    def test_each_outcome_has_a_text(self):
        outcomes = [
            *(("Car.1", outcome) for outcome in (events.MISS, events.FILLED, events.FILLED)),
            *(("Car.2", outcome) for outcome in (events.MISS, events.EXPIRED)),
            *(("Car.3", outcome) for outcome in (events.HELD, events.EXPIRED, events.REFUSED)),
            *(("Car.4", outcome) for outcome in (events.WAITED, events.GIVEN_UP, events.HIT)),
        ]

        def get_response(request):
            for key, outcome in outcomes:
                events.tell(outcome, Car, perf_counter(), key)
            return HttpResponse()

        panel = self.run_panel(get_response)
        self.assertEqual(
            [(row["key"], row["text"]) for row in panel.get_stats()["rows"]],
            [
                ("Car.1", "miss, filled"),
                ("Car.1", "written, filled"),
                ("Car.2", "miss, nothing to fill"),
                ("Car.3", "miss, held by a writer"),
                ("Car.3", "written, expired"),
                ("Car.3", "refused, the entry kept changing"),
                ("Car.4", "hit, after another reader’s fill"),
                ("Car.4", "miss, another reader’s fill took too long"),
                ("Car.4", "hit"),
            ],
        )
        self.assertEqual(panel.title, "Objects: 2 hits, 4 misses, 3 written")


class CoveredTests(SimpleTestCase):
    def test_overlapping_spans_count_once(self):
        covered = Covered()
        started = perf_counter()
        for _ in range(1000):
            covered.add(perf_counter() - started)
        self.assertLessEqual(covered.milliseconds, (perf_counter() - started) * 1000)
        covered.add(1000)
        self.assertAlmostEqual(covered.milliseconds, 1_000_000, delta=1)
