"""The site in a real browser: what visitors do, and what every page has to satisfy."""

import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import BoundedSemaphore
from unittest import skipUnless
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.db import connection
from django.test import override_settings, tag
from django.urls import reverse

from cars.insight.watch import recorder, views
from cars.lab.servers import has_memcached
from cars.management.commands.screenshots import BROWSERS
from cars.models import Car
from cars.tests.support.caches import empty_cache
from cars.tests.support.other_clients import on_disk

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    sync_playwright = None

PROGRAM = next(filter(None, map(shutil.which, BROWSERS)), None)
TIMEOUT = 10_000  # milliseconds for each step on a page
PASSWORD = "a password of the tests"
NOWHERE = "/nothing/"
WIDTHS = (1280, 390, 320)  # of a desktop, and of phones
TOOLBAR = "#djDebugRoot"  # third-party HTML

# Waits for the transitions of colors, which the admin has.
TRANSITIONS = """Promise.all(document.getAnimations()
    .filter((each) => each instanceof CSSTransition).map((each) => each.finished))"""

# The visible links, buttons and fields that do not end above an element.
NOT_ABOVE = """element => [...document.querySelectorAll("a, button, input, select, summary")]
    .filter((each) => each.checkVisibility({visibilityProperty: true}))
    .filter((each) => each.getBoundingClientRect().bottom > element.getBoundingClientRect().top)
    .map((each) => each.outerHTML)"""


@skipUnless(sync_playwright, "no playwright: pip install -r requirements-dev.txt")
@skipUnless(PROGRAM, "no Chromium on the PATH")
@skipUnless("debug_toolbar" in settings.INSTALLED_APPS, "the tests run with DJANGO_DEBUG=off")
@override_settings(DEBUG=True)
class BrowserTestCase(StaticLiveServerTestCase):
    """Tests in Chromium. A console error fails the test, for example one about CSP."""

    @classmethod
    def setUpClass(cls):
        if connection.vendor == "sqlite":  # each thread of the server has a separate connection
            cls.enterClassContext(on_disk())
        # Playwright runs an event loop in this thread, where Django would refuse database access.
        cls.enterClassContext(patch.dict(os.environ, DJANGO_ALLOW_ASYNC_UNSAFE="true"))
        super().setUpClass()
        playwright = cls.enterClassContext(sync_playwright())
        cls.browser = playwright.chromium.launch(executable_path=PROGRAM)
        cls.addClassCleanup(cls.browser.close)
        expect.set_options(timeout=TIMEOUT)

    def setUp(self):
        self.earlier_threads = {*threading.enumerate()}
        empty_cache()
        self.car = Car.objects.create(make="Toyota", model="Avensis", year=2011, price=4200)
        self.other = Car.objects.create(make="Volvo", model="P1800", year=1966)
        self.staff = User.objects.create_superuser("root", password=PASSWORD)
        self.change = reverse("admin:cars_car_change", args=[self.car.pk])

    def tearDown(self):
        # A stream of /watch/ runs until the server notices that its browser has gone.
        for thread in {*threading.enumerate()} - self.earlier_threads:
            if "process_request_thread" in thread.name:
                thread.join(timeout=10)
                self.assertFalse(thread.is_alive(), f"{thread.name} serves a page that was left")

    @contextmanager
    def visitor(self, user=None, **options):
        """Yield a page in a new context, logged in as `user`; check its console at the end."""
        context = self.browser.new_context(
            base_url=self.live_server_url, reduced_motion="reduce", **options
        )
        context.set_default_timeout(TIMEOUT)
        problems = []

        def listen(message):
            expected = message.location["url"].endswith(NOWHERE)  # this page is meant to be missing
            if message.type in ("error", "warning") and not expected:
                problems.append(f"{message.page.url}: {message.text}")

        context.on("console", listen)
        context.on("weberror", lambda error: problems.append(str(error.error)))
        if user:
            self.client.force_login(user)
            session = self.client.cookies[settings.SESSION_COOKIE_NAME].value
            cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session}
            context.add_cookies([cookie | {"url": self.live_server_url}])
        try:
            yield context.new_page()
        finally:
            context.close()
        self.assertEqual(problems, [])

    def open_panel(self, page, panel):
        """Open one of the toolbar's panels and return its text."""
        if not page.locator("#djDebugPanelList").is_visible():
            page.click("#djShowToolBarButton")
        page.click(f"#djDebugPanelList .{panel}")
        table = page.locator(f"#{panel} table").first
        expect(table).to_be_visible()
        return " ".join(page.locator(f"#{panel}").inner_text().split())


@tag("any-database")
class JourneyTests(BrowserTestCase):
    def test_a_visitor_browses_logs_in_edits_a_car_in_the_admin_and_sees_the_new_make(self):
        with self.visitor() as page:
            page.goto("/")
            page.click("text=Browse the cars")
            page.click(f"text={self.car}")
            expect(page.locator("h1")).to_have_text(str(self.car))
            page.click("text=Log in")
            page.fill("[name=username]", "root")
            page.fill("[name=password]", PASSWORD)
            page.click("main button")
            expect(page.get_by_text("Log out")).to_be_visible()
            page.goto(self.car.get_absolute_url())
            page.click("text=Edit in the admin")
            expect(page.get_by_text("A row: reads are served from it.")).to_be_visible()
            page.fill("[name=make]", "Lexus")
            page.click("[name=_save]")
            expect(page.locator(".messagelist")).to_contain_text("changed successfully")
            page.goto(self.car.get_absolute_url())
            expect(page.locator("h1")).to_have_text("Lexus Avensis")
            expect(page.locator(".origin .badge")).to_have_text("hit")  # filled by the release

    def test_both_panels_show_a_miss_then_a_hit(self):
        empty_cache()
        with self.visitor() as page:
            for outcome, calls in (("0 hits, 1 miss", "0 1"), ("1 hit, 0 misses", "1 0")):
                page.goto(self.car.get_absolute_url())
                objects = self.open_panel(page, "ObjectsPanel")
                self.assertIn(f"{self.car.key()} {outcome} ", objects)
                self.assertIn("car = Car.objects.cache(pk)", objects)
                self.assertIn(f"ms {calls}", self.open_panel(page, "CachePanel"))

    def test_the_open_toolbar_is_beside_the_page(self):
        with self.visitor(viewport={"width": 1280, "height": 800}) as page:
            page.goto(self.car.get_absolute_url())
            page.click("#djShowToolBarButton")
            expect(page.locator("#djDebugToolbar")).to_be_visible()
            strip = page.locator(".strip").first.bounding_box()
            self.assertLessEqual(
                strip["x"] + strip["width"], page.locator("#djDebugToolbar").bounding_box()["x"]
            )

    def test_a_keyboard_user_unfolds_the_steps_of_a_page(self):
        with self.visitor() as page:
            page.goto("/cars/")
            page.locator("footer summary").focus()
            page.keyboard.press("Enter")
            expect(page.locator("footer .strip")).to_contain_text("get")

    def test_the_network_tab_shows_the_hits_and_misses_of_a_page(self):
        with self.visitor() as page:
            answer = page.goto(self.car.get_absolute_url())
            self.assertIn('cache;desc="1 hit, 0 misses"', answer.headers["server-timing"])
            names = "performance.getEntriesByType('navigation')[0].serverTiming.map(t => t.name)"
            self.assertIn("cache", page.evaluate(names))

    def test_two_browsers_see_only_their_objects_in_the_panel_and_the_same_cars(self):
        with self.visitor() as one, self.visitor(self.staff) as two:
            one.goto(self.car.get_absolute_url())
            two.goto(self.other.get_absolute_url())
            for page, shown, other in (
                (one, self.car, self.other),
                (two, self.other, self.car),
            ):
                panel = self.open_panel(page, "ObjectsPanel")
                self.assertIn(shown.key(), panel)
                self.assertNotIn(other.key(), panel)
            two.goto(self.change)
            two.fill("[name=make]", "Lexus")
            two.click("[name=_save]")
            expect(two.locator(".messagelist")).to_be_visible()
            one.reload()
            expect(one.locator("h1")).to_have_text("Lexus Avensis")

    def test_a_keyboard_user_skips_to_the_content_and_follows_its_first_link(self):
        with self.visitor() as page:
            page.goto("/")
            page.keyboard.press("Tab")
            expect(page.locator(".skip")).to_be_focused()
            expect(page.locator(".skip")).to_be_in_viewport()
            page.keyboard.press("Enter")
            expect(page.locator("main")).to_be_focused()
            page.keyboard.press("Tab")
            expect(page.get_by_text("See a cache break")).to_be_focused()
            page.keyboard.press("Enter")
            expect(page).to_have_url(f"{self.live_server_url}/learn/")

    def test_a_keyboard_user_logs_in(self):
        with self.visitor() as page:
            page.goto("/accounts/login/")
            expect(page.locator("[name=username]")).to_be_focused()
            page.keyboard.type("root")
            page.keyboard.press("Tab")
            page.keyboard.type(PASSWORD)
            page.keyboard.press("Enter")
            expect(page.get_by_text("Log out")).to_be_visible()


@tag("any-database")
@skipUnless(settings.MEMCACHED_SERVERS or has_memcached(), "no Memcached to watch")
class WatchTests(BrowserTestCase):
    def setUp(self):
        super().setUp()
        self.enterContext(patch.object(recorder, "UNUSED", 5))  # it ends soon after the test
        # The stream of a page that was left keeps its place until the server notices.
        self.enterContext(patch.object(views, "places", BoundedSemaphore(10)))

    def test_a_save_in_one_browser_is_seen_step_by_step_in_another(self):
        key = self.car.key()
        with self.visitor(self.staff, viewport={"width": 1280, "height": 800}) as watch:
            watch.goto(reverse("watch:page"))
            expect(watch.locator("#state")).to_contain_text("Watching 1 of 1")
            expect(watch.locator("#cached")).to_contain_text(key)
            watch.check("#announce")
            admin = watch.context.new_page()
            admin.goto(self.change)
            admin.fill("[name=make]", "Lexus")
            admin.click("[name=_save]")
            expect(admin.locator(".messagelist")).to_be_visible()

            # The key in large, with its deadline; the save as one request, in its lane.
            expect(watch.locator("#now-key")).to_have_text(key)
            expect(watch.locator("#now-state")).to_have_text("row")
            expect(watch.locator("#now-left")).to_contain_text("ends in ")
            expect(watch.locator(".segment.holds")).to_have_count(1)
            expect(watch.locator(".bracket.writing")).to_contain_text(key)
            expect(watch.locator(".bracket.writing")).to_be_in_viewport()
            expect(watch.locator(".chip .hold")).to_have_count(1)
            save = watch.locator(".request.writing")
            expect(save).to_have_count(1)
            expect(save).to_contain_text("held, put")
            save.locator("summary").click()
            expect(save).to_contain_text("held by a writer for up to 10 minutes")
            expect(watch.locator("#spoken")).to_contain_text("held, put")

            # While paused nothing moves. The nodes stay, so what is unfolded stays so.
            watch.click("#pause")
            expect(watch.locator("#state")).to_have_text("Paused.")
            expect(watch.locator("#pause")).to_have_attribute("aria-pressed", "true")
            requests = watch.locator(".request").count()
            admin.goto(self.car.get_absolute_url())
            expect(admin.locator("h1")).to_have_text("Lexus Avensis")
            expect(watch.locator("#watch")).to_have_attribute("data-held", re.compile(r"^\d+$"))
            expect(watch.locator(".request")).to_have_count(requests)
            watch.click("#pause")
            expect(watch.locator(".request")).to_have_count(requests + 1)
            expect(save.locator("details")).to_have_attribute("open", "")

            # One key, with what happened before the page was loaded.
            admin.goto(self.other.get_absolute_url())
            expect(watch.locator("#requests")).to_contain_text(self.other.key())
            watch.goto(f"{reverse('watch:page')}?key={key}")
            expect(watch.locator(".request.writing")).to_have_count(1)
            expect(watch.locator("#requests")).not_to_contain_text(self.other.key())
            expect(watch.locator("#now-state")).to_have_text("row")

    def test_the_lane_of_the_newest_request_comes_into_view(self):
        with ExitStack() as stack:
            # Each thread has a connection; there are more of them than lanes that fit.
            threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(9)]
            watch = stack.enter_context(self.visitor(self.staff))
            watch.goto(reverse("watch:page"))
            expect(watch.locator("#state")).to_contain_text("Watching 1 of 1")
            watch.evaluate("Timeline.PAUSE = 0")  # each request begins a new burst
            for count, thread in enumerate([*threads, threads[0]], start=1):
                thread.submit(Car.objects.cache, self.car.pk).result()
                expect(watch.locator(".bracket")).to_have_count(count)
                expect(watch.locator(".bracket").last).to_be_in_viewport(ratio=0.9)
            expect(watch.locator("#label-key")).to_be_in_viewport()

    def test_the_longest_key_fits_on_a_narrow_phone(self):
        with self.visitor(self.staff, viewport={"width": 320, "height": 640}) as page:
            page.goto(f"{reverse('watch:page')}?key={'K' * 250}")
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 320)

    def test_marks_differ_in_shape_with_forced_colors_and_the_table_needs_no_script(self):
        Car.objects.cache(self.car.pk)
        with self.visitor(self.staff, java_script_enabled=False, forced_colors="active") as page:
            page.goto(reverse("watch:page"))
            expect(page.locator("#cached")).to_contain_text(self.car.key())
            expect(page.locator("#cached")).to_contain_text("row")
            for part in ("#state", "#pause", "#now", "#timeline", "#quiet", "#chart"):
                expect(page.locator(part)).to_be_hidden()  # they would say what isn't so
            marks = page.locator("symbol").all()
            shapes = {mark.get_attribute("id"): mark.inner_html() for mark in marks}
            del shapes["mark-holds"]  # the same as a hold
            self.assertEqual(len(set(shapes.values())), len(shapes))


@tag("any-database")
class EveryPageTests(BrowserTestCase):
    maxDiff = None

    def pages(self):
        """Return users and the URLs of all pages: the public ones, and those for staff."""
        public = ["/", "/cars/", "/cars/?q=nothing+like+it", self.car.get_absolute_url()]
        public += [reverse("login"), reverse("admin:login"), NOWHERE]
        staff = [reverse("cars:add"), reverse("watch:page")]
        staff += [reverse(f"cars:{name}", args=[self.car.pk]) for name in ("edit", "delete")]
        staff += [reverse(f"admin:{name}") for name in ("index", "cars_car_changelist")]
        staff += [self.change, reverse("admin:cars_car_add")]
        staff += [reverse("admin:cars_car_delete", args=[self.car.pk])]
        return [(None, public), (self.staff, staff)]

    def on_each(self, check, **options):
        """Open each URL in a browser and call `check` with the page, each in a subtest."""
        for user, urls in self.pages():
            with self.visitor(user, **options) as page:
                for url in urls:
                    with self.subTest(url, staff=bool(user), **options):
                        page.goto(url)
                        check(page)

    def violations(self, page, **options):
        """Return axe-core's report on a page, without the debug toolbar; "" if it is clean."""
        options["resultTypes"] = ["violations"]
        found = Axe().run(page, {"exclude": [[TOOLBAR]]}, options)
        return found.generate_report() if found.violations_count else ""

    def test_axe_finds_no_violations_on_any_page_in_light_or_dark(self):
        contrast = {"type": "rule", "values": ["color-contrast"]}

        def check(page):
            for scheme, options in (("light", {}), ("dark", {"runOnly": contrast})):
                page.emulate_media(color_scheme=scheme)  # changes nothing but colors
                page.evaluate(TRANSITIONS)
                with self.subTest(scheme):
                    self.assertEqual(self.violations(page, **options), "")

        # axe-core adds a style to the page, which the policy would block.
        self.on_each(check, bypass_csp=True)

    def test_each_page_fits_every_width_and_the_closed_toolbar_is_below_all_that_can_be_used(self):
        def check(page):
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                with self.subTest(width=width):
                    needed = page.evaluate("document.documentElement.scrollWidth")
                    self.assertLessEqual(needed, width)
                    handle = page.locator("#djDebugToolbarHandle")
                    expect(handle).to_be_visible()
                    self.assertEqual(handle.evaluate(NOT_ABOVE), [])

        # Each page is loaded in the narrowest width: a check ends with that.
        self.on_each(check, viewport={"width": WIDTHS[-1], "height": 800})

    def test_pages_follow_the_color_scheme(self):
        def brightness(scheme):
            with self.visitor(color_scheme=scheme) as page:
                page.goto("/")
                color = page.evaluate("getComputedStyle(document.body).backgroundColor")
                return sum(int(part) for part in color.strip("rgb()").split(","))

        self.assertGreater(brightness("light"), 3 * 200)
        self.assertLess(brightness("dark"), 3 * 60)
