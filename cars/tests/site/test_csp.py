"""The Content-Security-Policy is strict, on every page, and blocks nothing that a page needs."""

from html.parser import HTMLParser

from django.contrib.auth.models import User
from django.test import TestCase, override_settings, tag

from cars.models import Car

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}


class InlineFinder(HTMLParser):
    """Collects what the policy blocks: inline scripts, styles and handlers, and external files."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        script = tag == "script" and "src" not in attrs
        if script and attrs.get("type") == "application/json":  # data, not code
            script = False
        inline = any(name == "style" or name.startswith("on") for name in attrs)
        url = attrs.get("src") or (attrs.get("href", "") if tag == "link" else "")
        external = url.startswith(("http:", "https:", "//"))
        if script or inline or external or tag == "style":
            self.found.append(self.get_starttag_text())


@tag("any-database")
class PolicyTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.car = Car.objects.create(make="Toyota", model="Avensis")
        cls.user = User.objects.create_superuser("root")

    def pages(self):
        urls = ["/", "/cars/", "/accounts/login/", "/admin/login/", "/cars/0/", "/nothing/"]
        for url in urls:
            yield url, self.client.get(url)
        self.client.force_login(self.user)
        urls = [f"/cars/{self.car.pk}/{rest}" for rest in ("", "edit/", "delete/")]
        urls += ["/cars/add/", "/watch/", "/admin/", "/admin/cars/car/", "/admin/cars/car/add/"]
        urls += [f"/admin/cars/car/{self.car.pk}/{rest}/" for rest in ("change", "delete")]
        urls += ["/admin/password_change/", "/admin/auth/user/add/"]
        for url in urls:
            yield url, self.client.get(url)

    def test_every_page_has_the_policy_and_nothing_inline(self):
        for debug in (False, True):
            with override_settings(DEBUG=debug), self.assertLogs("django.request"):  # the 404s
                for url, page in self.pages():
                    with self.subTest(url, debug=debug):
                        policy = page.headers["Content-Security-Policy"]
                        self.assertEqual(set(policy.split("; ")), POLICY)
                        finder = InlineFinder()
                        finder.feed(page.content.decode())
                        self.assertEqual(finder.found, [])

    def test_an_error_page_has_the_policy(self):
        self.client.raise_request_exception = False
        with (
            self.settings(ROOT_URLCONF="cars.tests.support.broken_urls"),
            self.assertLogs("django.request", "ERROR"),
        ):
            page = self.client.get("/")
        self.assertContains(page, "Server error", status_code=500)
        self.assertEqual(set(page.headers["Content-Security-Policy"].split("; ")), POLICY)
