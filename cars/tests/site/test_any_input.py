"""No input makes a page fail: any request is answered, with a page of the site where it is refused.

300 requests for each role, the same ones each time. `make fuzz` sends 5,000 other ones, with the
settings of production, and again with debug.
"""

import logging
import os
from http.cookies import SimpleCookie

from django.conf import settings as conf
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client, TestCase, override_settings, tag
from hypothesis import HealthCheck, Phase, given, settings

from cars.models import Car
from cars.tests.support.any_request import AnyRequest, requests
from cars.tests.support.collected import STORAGE, static_files

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "300"))
how = settings(
    derandomize="FUZZ_REQUESTS" not in os.environ,
    max_examples=REQUESTS,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # making a request smaller that fails takes minutes
    suppress_health_check=list(HealthCheck),
)


class AnyInputTests(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if conf.STORAGES["staticfiles"]["BACKEND"] == STORAGE:  # the settings are of production
            folder = cls.enterClassContext(static_files())
            cls.enterClassContext(override_settings(STATIC_ROOT=folder))

    @classmethod
    def setUpTestData(cls):
        for make, body in (("Toyota", "saloon"), ("Volvo", "estate"), ("Saab", "")):
            Car.objects.create(make=make, body=body, origin="Japan", price=100)

    def setUp(self):
        logging.disable(logging.CRITICAL)  # each refused request is a line
        self.addCleanup(logging.disable, logging.NOTSET)

    def assertAnswered(self, request: AnyRequest, client: Client):
        environ = {"PATH_INFO": request.path.decode("latin-1")}
        environ["QUERY_STRING"] = request.query.decode("latin-1")
        with transaction.atomic():  # what this request writes, the next one doesn't see
            response = client.generic(
                request.method, "/", *request.body, **environ | request.headers
            )
            transaction.set_rollback(True)
        content = response.getvalue()
        self.assertLess(response.status_code, 500, request)
        is_page = request.method != "HEAD" and request.path != b"/watch/events"  # which is a stream
        if response.status_code >= 400 and not conf.DEBUG and is_page:
            self.assertIn(b'class="brand"', content, f"{response.status_code}: {request}")

    def fuzz(self, user: User | None):
        client = Client(raise_request_exception=False)
        if user:
            client.force_login(user)
        session = {name: cookie.value for name, cookie in client.cookies.items()}

        @how
        @given(requests)
        def each(request):
            client.cookies = SimpleCookie(session)
            self.assertAnswered(request, client)

        each()

    def account(self, *permissions, **flags):
        user = User.objects.create_user("user", password="secret", **flags)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        return user

    def test_a_visitor(self):
        self.fuzz(None)

    def test_an_account_without_permissions(self):
        self.fuzz(self.account())

    def test_a_member_of_staff_who_may_view_cars(self):
        self.fuzz(self.account("view_car", is_staff=True))

    def test_an_account_that_may_change_cars(self):
        self.fuzz(self.account("view_car", "add_car", "change_car", "delete_car", is_staff=True))

    @tag("any-database")
    @override_settings(DEBUG=True)
    def test_the_account_of_the_demo_with_debug(self):
        self.fuzz(self.account("view_car", "add_car", "change_car", "delete_car", is_staff=True))

    def test_a_superuser(self):
        self.fuzz(self.account(is_staff=True, is_superuser=True))
