"""The pages of errors."""

from unittest.mock import patch

from django.contrib.auth.models import User
from django.db import OperationalError, connections
from django.http import QueryDict
from django.test import Client, TestCase, override_settings


class ErrorPageTests(TestCase):
    def setUp(self):
        self.client = Client(raise_request_exception=False)

    def assertPage(self, response, status, heading):
        """Check the status, and that the page is the site's own and sends the visitor on."""
        self.assertContains(response, f"<h1>{heading}</h1>", status_code=status)
        self.assertContains(response, 'class="brand"', status_code=status)
        self.assertContains(response, 'class="button"', status_code=status)

    def test_a_request_that_cannot_be_read_gives_the_400_page(self):
        with self.assertLogs("django.security"):
            page = self.client.get("/", headers={"host": "not a host"})
        self.assertPage(page, 400, "Bad request")

    def test_a_nul_in_a_url_gives_the_400_page(self):
        self.client.force_login(User.objects.create_superuser("root"))
        for url in ("/cars/?q=%00", "/cars/%00/", "/admin/cars/car/?origin__exact=a%00"):
            with self.subTest(url):
                page = self.client.get(url)
                self.assertPage(page, 400, "Bad request")
                self.assertNotContains(page, "Log in", status_code=400)
                self.assertIn("Content-Security-Policy", page.headers)

    def test_a_missing_parameter_gives_the_400_page(self):
        with patch("cars.views.source.snippets", side_effect=lambda: QueryDict()["missing"]):
            self.assertPage(self.client.get("/"), 400, "Bad request")

    def test_a_form_in_another_encoding_is_read_as_utf_8(self):
        form = "username=é".encode("utf-16")
        content_type = "application/x-www-form-urlencoded; charset=utf-16"
        for debug in (False, True):
            with override_settings(DEBUG=debug):
                page = self.client.generic("POST", "/accounts/login/", form, content_type)
            self.assertContains(page, "Log in")

    @override_settings(DEBUG=True, SECURE_SSL_REDIRECT=True)
    def test_a_form_in_another_encoding_for_a_host_that_is_refused_gives_a_400(self):
        form = "username=é".encode("utf-16")
        content_type = "application/x-www-form-urlencoded; charset=utf-16"
        with self.assertLogs("django.security"):
            page = self.client.generic("POST", "/", form, content_type, headers={"host": "no host"})
        self.assertEqual(page.status_code, 400)

    def test_a_method_that_is_not_allowed_gives_the_405_page(self):
        for debug in (False, True):
            with override_settings(DEBUG=debug):
                page = self.client.put("/cars/")
            self.assertPage(page, 405, "Method not allowed")
            self.assertContains(
                page, "doesn’t answer PUT requests, only GET, HEAD", status_code=405
            )
            self.assertEqual(page["Allow"], "GET, HEAD")
            self.assertIn("Content-Security-Policy", page.headers)

    def test_a_missing_slash_is_added_for_safe_methods_only(self):
        for debug in (False, True):
            with override_settings(DEBUG=debug):
                self.assertRedirects(self.client.get("/cars"), "/cars/", 301)
                for method in ("post", "put", "patch", "delete"):
                    page = getattr(self.client, method)("/cars")
                    self.assertPage(page, 404, "Page not found")

    def test_an_error_gives_the_500_page(self):
        error = patch("cars.views.source.snippets", side_effect=ValueError("broken"))
        with error, self.assertLogs("django.request", "ERROR"):
            self.assertPage(self.client.get("/"), 500, "Server error")

    def test_without_the_database_every_page_gives_the_503_page(self):
        self.client.force_login(User.objects.create_superuser("root"))
        error = OperationalError("connection refused")
        for url in ("/", "/cars/", "/cars/add/", "/admin/", "/admin/cars/car/", "/accounts/login/"):
            away = patch.object(connections["default"], "cursor", side_effect=error)
            with self.subTest(url), away, self.assertLogs("django.request", "ERROR"):
                page = self.client.get(url)
                self.assertPage(page, 503, "Out of service for a moment")
                self.assertEqual(page["Retry-After"], "10")
