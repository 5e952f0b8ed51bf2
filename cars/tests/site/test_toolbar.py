"""The debug toolbar: only with debug, and it shows no secrets."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from threading import Barrier
from unittest import skipUnless
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.shortcuts import render
from django.test import Client, TestCase, TransactionTestCase, override_settings

from cars.models import Car
from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.collected import static_files
from cars.tests.support.other_clients import on_disk

WITHOUT_DEBUG = """
import django
django.setup()
from django.conf import settings
from django.test import Client
assert "debug_toolbar" not in settings.INSTALLED_APPS
assert not [name for name in settings.MIDDLEWARE if "toolbar" in name.lower()]
client = Client(SERVER_NAME="example.com")
assert client.get("/__debug__/render_panel/").status_code == 404
page = client.get("/accounts/login/")
assert page.status_code == 200 and b"djDebug" not in page.content
"""


def panel_of(client, page, panel):
    """Return the HTML of a panel, fetched as the toolbar's script does."""
    request_id = re.search(r'data-request-id="(\w+)"', page.content.decode())[1]
    answer = client.get("/__debug__/render_panel/", {"request_id": request_id, "panel_id": panel})
    return answer.json()["content"]


class WithoutDebugTests(TestCase):
    def test_the_toolbar_is_not_installed(self):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_DEBUG],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "carsite.settings",
                "DJANGO_DEBUG": "off",
                "DJANGO_SECRET_KEY": "long and random",
                "DJANGO_ALLOWED_HOSTS": "example.com",
                "DJANGO_HTTPS": "off",
                "STATIC_ROOT": self.enterContext(static_files()),
            },
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)


@skipUnless("debug_toolbar" in settings.INSTALLED_APPS, "the tests run with DJANGO_DEBUG=off")
@override_settings(DEBUG=True)
class ToolbarTests(MemcachedMixin, TestCase):
    def setUp(self):
        empty_cache()

    def panel(self, page, panel):
        return panel_of(self.client, page, panel)

    def hits_and_misses(self, page):
        content = self.panel(page, "CachePanel")
        _, hits, misses = re.findall(r"<td>(\d+)</td>", content)[:3]
        self.assertIn("MemcachedCache", content)
        return int(hits), int(misses)

    def test_the_cache_panel_shows_a_miss_then_a_hit_without_a_select(self):
        car = Car.objects.create(make="Toyota")
        empty_cache()
        first, second = (self.client.get(car.get_absolute_url()) for _ in range(2))
        self.assertEqual(self.hits_and_misses(first), (0, 1))
        self.assertIn("cars_car", self.panel(first, "SQLPanel"))
        self.assertEqual(self.hits_and_misses(second), (1, 0))
        self.assertNotIn("cars_car", self.panel(second, "SQLPanel"))

    def test_the_looks_of_the_admin_are_no_hits_and_no_misses(self):
        self.client.force_login(User.objects.create_superuser("root"))
        Car.objects.create(make="Toyota")
        content = self.panel(self.client.get("/admin/cars/car/"), "CachePanel")
        self.assertEqual({*re.findall(r"<td>(\d+)</td>", content)}, {"0"})

    def test_the_panels_of_a_page_are_kept_for_100_more_requests_and_health_checks(self):
        car = Car.objects.create(make="Toyota")
        page = self.client.get(car.get_absolute_url())
        for _ in range(100):
            self.client.get(car.get_absolute_url())
        for _ in range(300):
            self.client.get("/healthz")
        self.assertEqual(self.hits_and_misses(page), (1, 0))

    def test_no_panel_shows_the_password_of_a_failed_login(self):
        panels = [name.rpartition(".")[2] for name in settings.DEBUG_TOOLBAR_PANELS]
        password = token_hex()  # no literal: stack traces in a panel show this source code
        for url in ("/accounts/login/", "/admin/login/"):
            page = self.client.post(url, {"username": "visitor", "password": password})
            self.assertIn("visitor", self.panel(page, "RequestPanel"))
            for panel in panels:
                with self.subTest(url, panel=panel):
                    self.assertNotIn(password, self.panel(page, panel))

    def test_the_request_and_headers_panels_do_not_show_the_session_cookie(self):
        self.client.force_login(User.objects.create_superuser("root"))
        page = self.client.get("/cars/")
        session = self.client.cookies[settings.SESSION_COOKIE_NAME].value
        for panel in ("RequestPanel", "HeadersPanel"):
            self.assertNotIn(session, self.panel(page, panel))

    def test_there_is_no_history_panel_which_would_keep_the_bodies_of_posts(self):
        self.assertNotIn("History", "".join(settings.DEBUG_TOOLBAR_PANELS))


@skipUnless("debug_toolbar" in settings.INSTALLED_APPS, "the tests run with DJANGO_DEBUG=off")
@override_settings(DEBUG=True)
class TogetherTests(TransactionTestCase):
    """Two requests at once, each in a thread."""

    @classmethod
    def setUpClass(cls):
        if connection.vendor == "sqlite":  # each thread has a separate connection
            cls.enterClassContext(on_disk())
        super().setUpClass()

    def setUp(self):
        empty_cache()

    def test_no_panel_shows_what_another_request_at_the_same_time_did(self):
        cars = [Car.objects.create(make=f"Make{token_hex(8)}") for _ in range(2)]
        barrier = Barrier(2)

        def together(request, template, context=None, **kwargs):
            barrier.wait(10)  # both have read, and none has rendered
            response = render(request, template, context, **kwargs)
            barrier.wait(10)  # both have rendered, and none has ended
            return response

        def get(car):
            try:
                return Client().get(car.get_absolute_url())
            finally:
                connection.close()

        with patch("cars.views.render", together), ThreadPoolExecutor(2) as pool:
            pages = list(pool.map(get, cars))
        for page, other in zip(pages, reversed(cars), strict=True):
            for name in settings.DEBUG_TOOLBAR_PANELS:
                panel = panel_of(self.client, page, name.rpartition(".")[2])
                self.assertNotIn(other.make, panel, name)
                self.assertNotIn(f"{other.key()}<", panel, name)
                self.assertNotIn(other.get_absolute_url(), panel, name)
