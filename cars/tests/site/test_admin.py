"""The admin for cars."""

from contextlib import ExitStack
from decimal import Decimal
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.core.cache import cache, caches
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext

from cars.admin_site import PUBLISHED_ACCOUNT
from cars.caching.backends.client import SafeClient
from cars.models import Car
from cars.tests.support.caches import empty_cache

URL = "/admin/cars/car/"


class AdminTests(TestCase):
    def setUp(self):
        empty_cache()
        self.client.force_login(User.objects.create_superuser("root"))

    def act(self, action, *cars):
        with self.captureOnCommitCallbacks(execute=True):
            page = self.client.post(
                URL, {"action": action, "_selected_action": [car.pk for car in cars]}, follow=True
            )
        return page

    def cached(self):
        return {
            car.make: car.standing.state for car in self.client.get(URL).context["cl"].result_list
        }

    def test_a_column_shows_which_cars_are_cached(self):
        for make in ("Toyota", "Volvo"):
            Car.objects.create(make=make)
        empty_cache()
        Car.objects.cache(Car.objects.get(make="Volvo").pk)
        self.assertEqual(self.cached(), {"Toyota": "nothing", "Volvo": "row"})
        self.assertContains(self.client.get(URL), "In the cache")

    def cost_of_the_list(self):
        """Return the numbers of rows, queries and cache calls of one page of the list."""
        backend = caches["default"]
        owner, names = backend, ["get", "get_many", "has_key", "gets_many"]
        if settings.MEMCACHED_SERVERS:
            owner, names = SafeClient, ["raw_command", "exchange", "_fetch_cmd"]
        with ExitStack() as stack:
            queries = stack.enter_context(CaptureQueriesContext(connection))
            calls = [
                stack.enter_context(
                    patch.object(owner, name, autospec=True, side_effect=getattr(owner, name))
                )
                for name in names
            ]
            page = self.client.get(URL)
        rows = len(page.context["cl"].result_list)
        return rows, len(queries), sum(call.call_count for call in calls)

    def test_the_column_costs_the_same_for_1_row_and_for_100(self):
        Car.objects.create(make="Toyota")
        one = self.cost_of_the_list()
        Car.objects.bulk_create(Car(make="Volvo") for _ in range(99))
        hundred = self.cost_of_the_list()
        self.assertEqual((one[0], hundred[0]), (1, 100))
        self.assertEqual(one[1:], hundred[1:])
        self.assertEqual(one[2], 1)

    def test_a_car_removed_from_the_cache_is_a_miss_then_a_hit(self):
        car = Car.objects.create(make="Toyota")
        page = self.act("remove_from_cache", car)
        self.assertContains(page, "1 car was removed from the cache.")
        self.assertFalse(cache.has_key(car.key()))
        self.assertContains(self.client.get(car.get_absolute_url()), "Read from the database")
        self.assertContains(self.client.get(car.get_absolute_url()), "Read from the cache")

    def test_cars_are_put_into_the_cache(self):
        cars = [Car.objects.create(make="Toyota") for _ in range(3)]
        empty_cache()
        with patch("cars.admin.BATCH", 2):
            page = self.act("put_into_cache", *cars)
        self.assertContains(page, "3 cars were put into the cache.")
        self.assertTrue(all(cache.has_key(car.key()) for car in cars))

    def test_mark_down_reduces_prices_by_10_percent_rounded_to_cents_in_the_cache_too(self):
        car = Car.objects.create(make="Toyota", price=Decimal("99.99"))
        priceless = Car.objects.create(make="Volvo")
        page = self.act("mark_down", car, priceless)
        self.assertContains(page, "1 car was reduced in price.")
        with connection.cursor() as cursor:  # the stored value, not what Django converts it to
            cursor.execute("SELECT price FROM cars_car WHERE id = %s", [car.pk])
            self.assertEqual(str(cursor.fetchone()[0]), "89.99")
        self.assertEqual(Car.objects.cache(car.pk).price, Decimal("89.99"))
        priceless.refresh_from_db()
        self.assertIsNone(priceless.price)

    def test_a_save_in_the_admin_shows_on_the_page_of_the_car(self):
        car = Car.objects.create(make="Toyota")
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post(f"{URL}{car.pk}/change/", {"make": "Volvo"})
        self.assertContains(self.client.get(car.get_absolute_url()), "<h1>Volvo</h1>")

    def test_deleting_selected_cars_removes_them_from_the_cache(self):
        car = Car.objects.create(make="Toyota")
        key = car.key()
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post(
                URL, {"action": "delete_selected", "_selected_action": [car.pk], "post": "yes"}
            )
        self.assertFalse(Car.objects.exists())
        self.assertFalse(cache.has_key(key))

    def test_a_user_who_may_only_view_cars_has_no_actions(self):
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.set(Permission.objects.filter(codename="view_car"))
        self.client.force_login(viewer)
        car = Car.objects.create(make="Toyota")
        self.assertNotContains(self.client.get(URL), "Remove from the cache")
        self.act("remove_from_cache", car)
        self.assertTrue(cache.has_key(car.key()))

    def test_search_and_filters_work(self):
        Car.objects.create(make="Toyota", body="saloon", origin="Japan")
        Car.objects.create(make="Volvo", body="estate", origin="Sweden")
        for query in ("q=toy", "body__exact=saloon", "origin=Japan"):
            page = self.client.get(f"{URL}?{query}")
            self.assertEqual([car.make for car in page.context["cl"].result_list], ["Toyota"])

    def test_the_filters_of_accounts_work(self):
        group = Group.objects.create(name="staff")
        User.objects.create_user("member").groups.add(group)
        for query in (f"groups__id__exact={group.pk}", "is_staff__exact=0", "groups__isnull=0"):
            page = self.client.get(f"/admin/auth/user/?{query}")
            names = [user.username for user in page.context["cl"].result_list]
            self.assertEqual(names, ["member"], query)

    def test_a_lookup_that_no_filter_sets_is_a_bad_request(self):
        for url in (
            f"{URL}?price__range=9",
            f"{URL}?make__regex=(",
            f"{URL}?body__regex=a",
            f"{URL}?body__exact__regex=a",
            "/admin/auth/user/?username__regex=(",
            "/admin/auth/user/?password__startswith=a",
            "/admin/auth/user/?groups__name__regex=(",
            "/admin/auth/group/?name__regex=(",
        ):
            with self.subTest(url), self.assertLogs("django.security"):
                answer = self.client.get(url)
                self.assertContains(answer, "Bad request", status_code=400)

    def test_an_empty_to_field_means_the_pk(self):
        car = Car.objects.create(make="Toyota")
        for view in ("change", "delete"):
            answer = self.client.get(f"{URL}{car.pk}/{view}/?_to_field=")
            self.assertContains(answer, "Toyota")

    def test_a_pk_that_is_too_large_causes_no_error(self):
        self.assertEqual(self.client.get(f"{URL}{2**63}/change/", follow=True).status_code, 200)


class PasswordTests(TestCase):
    new = {"old_password": "old", "new_password1": "n3w-one-2", "new_password2": "n3w-one-2"}

    def change_password(self, name):
        """Log in as `name`, try to change the password, and return the page that follows."""
        self.user = User.objects.create_user(name, password="old", is_staff=True)
        self.client.force_login(self.user)
        page = self.client.post("/admin/password_change/", self.new, follow=True)
        self.user.refresh_from_db()
        return page

    @override_settings(DEBUG=True)
    def test_the_published_account_keeps_its_password(self):
        page = self.change_password(PUBLISHED_ACCOUNT)
        self.assertContains(
            page, "The password of this account is published and can&#x27;t change."
        )
        self.assertTrue(self.user.check_password("old"))

    @override_settings(DEBUG=True)
    def test_another_account_can_change_its_password(self):
        self.change_password("jane")
        self.assertTrue(self.user.check_password("n3w-one-2"))

    def test_without_debug_no_account_is_published(self):
        self.change_password(PUBLISHED_ACCOUNT)
        self.assertTrue(self.user.check_password("n3w-one-2"))
