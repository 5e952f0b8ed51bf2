"""The limit of failed logins."""

from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import SimpleTestCase, TestCase, override_settings

from carsite.proxy import client_address

LIMIT = 3


@override_settings(AXES_FAILURE_LIMIT=LIMIT, PROXIES=1)
class LimitTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        User.objects.create_user("jane", password="right", is_staff=True)

    def log_in(self, password, forwarded, url="/accounts/login/"):
        return self.client.post(
            url,
            {"username": "jane", "password": password},
            headers={"x-forwarded-for": forwarded},
        )

    def use_up(self, forwarded):
        with self.assertLogs("axes", "WARNING"):
            return [self.log_in("wrong", forwarded).status_code for _ in range(LIMIT)]

    def test_after_too_many_failures_an_address_has_to_wait(self):
        self.assertEqual(self.use_up("203.0.113.1"), [200] * (LIMIT - 1) + [429])
        for url in ("/accounts/login/", "/admin/login/"):
            page = self.log_in("right", "203.0.113.1", url)
            self.assertContains(page, "try again in 10 minutes", status_code=429)
            self.assertEqual(page["Retry-After"], "600")
        self.assertNotIn("_auth_user_id", self.client.session)

    def test_the_account_is_not_locked(self):
        self.use_up("203.0.113.1")
        self.assertEqual(self.log_in("right", "203.0.113.2").status_code, 302)

    def test_a_claimed_address_before_the_proxys_does_not_count(self):
        with self.assertLogs("axes", "WARNING"):
            for number in range(LIMIT):
                answer = self.log_in("wrong", f"198.51.100.{number}, 203.0.113.1")
        self.assertEqual(answer.status_code, 429)

    def test_other_pages_stay_open(self):
        self.use_up("203.0.113.1")
        page = self.client.get("/cars/", headers={"x-forwarded-for": "203.0.113.1"})
        self.assertEqual(page.status_code, 200)

    def test_the_password_is_not_stored(self):
        self.use_up("203.0.113.1")
        self.assertNotIn("wrong", str(AccessAttempt.objects.values().get()))


class ClientAddressTests(SimpleTestCase):
    def address(self, forwarded=None, remote="192.0.2.9", proxies=1):
        request = HttpRequest()
        request.META["REMOTE_ADDR"] = remote
        if forwarded is not None:
            request.META["HTTP_X_FORWARDED_FOR"] = forwarded
        with override_settings(PROXIES=proxies):
            return client_address(request)

    def test_it_is_the_one_that_the_first_trusted_proxy_saw(self):
        for forwarded, remote, proxies, expected in (
            ("203.0.113.1", "192.0.2.9", 0, "192.0.2.9"),
            ("203.0.113.1", "192.0.2.9", 1, "203.0.113.1"),
            ("6.6.6.6, 203.0.113.1", "192.0.2.9", 1, "203.0.113.1"),
            ("6.6.6.6, 203.0.113.1, 10.0.0.2", "192.0.2.9", 2, "203.0.113.1"),
            ("2001:db8:1:2:3:4:5:6", "192.0.2.9", 1, "2001:db8:1:2::"),
            ("::ffff:203.0.113.1", "192.0.2.9", 1, "203.0.113.1"),
            ("", "192.0.2.9", 1, None),
            (None, "192.0.2.9", 1, None),
            ("unknown", "192.0.2.9", 1, None),
            (None, "", 0, None),
        ):
            with self.subTest(forwarded, proxies=proxies):
                self.assertEqual(self.address(forwarded, remote, proxies), expected)
