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
from cars.models import Car
from cars.tests.support.caches import forget

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
        forget()
        self.car = Car.objects.create(make="Toyota")
        self.url = self.car.get_absolute_url()

    def fetch(self, page):
        """Return the stored panel, as the toolbar's own script asks for it."""
        request_id = re.search(r'data-request-id="(\w+)"', page.content.decode())[1]
        return self.client.get(
            "/__debug__/render_panel/", {"request_id": request_id, "panel_id": "ObjectsPanel"}
        ).json()["content"]

    def rows(self, page):
        """Return its rows: key, outcome, time, and the line that asked."""
        rows = re.findall(r"<tr>(.*?)</tr>", self.fetch(page), re.DOTALL)[1:]
        return [
            [strip_tags(cell.replace("><", "> <")) for cell in re.findall(r"<td>(.*?)</td>", row)]
            for row in rows
        ]

    def outcomes(self, page):
        return [(key, outcome) for key, outcome, *_ in self.rows(page)]

    def test_a_page_shows_a_miss_that_was_filled_and_then_a_hit(self):
        forget()
        first, second = (self.client.get(self.url) for _ in range(2))
        self.assertEqual(self.outcomes(first), [(self.car.key(), "miss, filled")])
        self.assertEqual(self.outcomes(second), [(self.car.key(), "hit")])
        self.assertContains(first, "0 hits, 1 miss in ")
        self.assertContains(second, "1 hit, 0 misses in ")

    def test_it_names_the_line_that_asked(self):
        [(_, _, time, line)] = self.rows(self.client.get(self.url))
        self.assertRegex(line, r"^cars/views\.py:\d+ car = Car\.objects\.cache\(pk\)$")
        self.assertRegex(time, r"^\d+\.\d\d ms$")

    def test_what_another_reader_is_at_too_long_is_called_so(self):
        forget()
        cache.cas_many({self.car.key(): Swap(ABSENT, Lease("another's"), 60)})
        with self.settings(CACHING_WAIT=0.01):
            page = self.client.get(self.url)
        [(_, outcome)] = self.outcomes(page)
        self.assertEqual(outcome, "waited for another’s fill in vain")

    def test_a_save_is_written_and_filled_and_django_s_own_line_has_asked(self):
        self.client.force_login(User.objects.create_superuser("root"))
        self.client.post(f"{self.url}edit/", {"make": "Volvo"})  # a redirect: it has no toolbar
        [*_, request_id] = get_store().request_ids()
        stats = get_store().panel(request_id, "ObjectsPanel")
        [row] = stats["rows"]
        self.assertEqual((row["key"], row["words"]), (self.car.key(), "written and filled"))
        self.assertRegex(row["place"], r"^django/forms/models\.py:\d+$")
        self.assertEqual(row["code"], "self.instance.save()")

    def test_a_page_without_objects_says_so(self):
        page = self.client.get("/accounts/login/")
        self.assertContains(page, "none asked for")
        self.assertIn("read and wrote no objects", self.fetch(page))

    def test_it_hears_nothing_after_the_response(self):
        page = self.client.get(self.url)
        before = self.fetch(page)
        Car.objects.cache(self.car.pk)
        self.assertEqual(self.fetch(page), before)

    def test_every_response_says_hits_misses_and_time_to_the_browser(self):
        forget()
        first, second = (self.client.get(self.url) for _ in range(2))
        pages = (first, second, self.client.get("/healthz"))
        pattern = r'cache;desc="([^"]*)";dur=(0\.00$)?'
        found = [re.findall(pattern, page["Server-Timing"]) for page in pages]
        self.assertEqual(
            found,
            [[("0 hits, 1 miss", "")], [("1 hit, 0 misses", "")], [("0 hits, 0 misses", "0.00")]],
        )


class WithoutDebugTests(TestCase):
    def test_there_is_no_server_timing(self):
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

    def test_requests_at_the_same_time_hear_only_of_their_own_objects(self):
        count = 4
        barrier = Barrier(count)

        def serve(number):
            def get_response(request):
                for _ in range(50):
                    barrier.wait(10)  # all of them are inside their requests
                    events.tell(events.HIT, Car, perf_counter(), f"Car.{number}")
                return HttpResponse()

            return {row["key"] for row in self.run_panel(get_response).get_stats()["rows"]}

        with ThreadPoolExecutor(count) as pool:
            heard = list(pool.map(serve, range(count)))
        self.assertEqual(heard, [{f"Car.{number}"} for number in range(count)])

    def test_it_stops_listening_even_if_the_page_fails(self):
        def get_response(request):
            raise RuntimeError("on purpose")

        self.run_panel(lambda request: HttpResponse())
        with self.assertRaises(RuntimeError):
            self.run_panel(get_response)
        self.assertEqual(events._listeners.get(), ())

    def test_for_what_a_template_asks_it_names_the_line_that_renders_it(self):
        template = Engine().from_string("{{ ask }}")

        def get_response(request):
            ask = partial(events.tell, events.HIT, Car, perf_counter(), "Car.1")
            return HttpResponse(template.render(Context({"ask": ask})))

        [row] = self.run_panel(get_response).get_stats()["rows"]
        self.assertEqual(row["code"], 'return HttpResponse(template.render(Context({"ask": ask})))')

    def test_each_outcome_has_its_words(self):
        told = [
            *(("Car.1", outcome) for outcome in (events.MISS, events.FILLED, events.FILLED)),
            *(("Car.2", outcome) for outcome in (events.MISS, events.EXPIRED)),
            *(("Car.3", outcome) for outcome in (events.HELD, events.EXPIRED, events.REFUSED)),
            *(("Car.4", outcome) for outcome in (events.WAITED, events.GIVEN_UP, events.HIT)),
        ]

        def get_response(request):
            for key, outcome in told:
                events.tell(outcome, Car, perf_counter(), key)
            return HttpResponse()

        panel = self.run_panel(get_response)
        self.assertEqual(
            [(row["key"], row["words"]) for row in panel.get_stats()["rows"]],
            [
                ("Car.1", "miss, filled"),
                ("Car.1", "written and filled"),
                ("Car.2", "miss, nothing to fill"),
                ("Car.3", "held by a writer"),
                ("Car.3", "written and expired"),
                ("Car.3", "refused by others’ changes"),
                ("Car.4", "waited for another’s fill"),
                ("Car.4", "waited for another’s fill in vain"),
                ("Car.4", "hit"),
            ],
        )
        self.assertEqual(panel.title, "Objects: 2 hits, 4 misses, 3 written")


class CoveredTests(SimpleTestCase):
    def test_spans_that_overlap_count_once(self):
        covered = Covered()
        started = perf_counter()
        for _ in range(1000):
            covered.add(perf_counter() - started)
        self.assertLessEqual(covered.milliseconds, (perf_counter() - started) * 1000)
        covered.add(1000)
        self.assertAlmostEqual(covered.milliseconds, 1_000_000, delta=1)
