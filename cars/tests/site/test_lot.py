"""The writes that send no signals, on the lot: a page of the tutorial runs them."""

from unittest import mock

from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.cache.backends import locmem
from django.db.models.signals import post_delete, post_save
from django.test import Client, TransactionTestCase, override_settings
from django.urls import reverse

from cars.learn import lot
from cars.models import Car
from cars.tests.support.caches import empty_cache, on_servers
from cars.tests.support.outages import unreachable

PAGE = "/learn/what-signals-miss/"
URL = "/learn/lot/"
# After each write: the price in the database, with the recipe of 2009, and with this site's.
FOUND = {
    "save()": ("90", "90", "90"),
    "update()": ("90", "100", "90"),
    "bulk_update()": ("90", "100", "90"),
    "bulk_create()": ("90", "100", "90"),
    "delete()": ("", "", ""),
    "raw SQL": ("90", "100", "100"),
    "raw SQL, expire()": ("90", "100", "90"),
}


def found():
    return {prices.write: (prices.database, prices.old, prices.here) for prices in lot.run()}


def receivers_of_cars():
    """Return what is connected to saves and deletes of cars; other receivers come and go."""
    connected = [*post_save.receivers, *post_delete.receivers]
    return [key for key, *_ in connected if key[1] == id(Car)]


class LotTests(TransactionTestCase):
    def setUp(self):
        super().setUp()
        empty_cache()
        self.car = Car.objects.create(make="Toyota", price=100)

    def test_update_bulk_writes_and_raw_sql_leave_the_recipe_of_2009_with_the_old_price(self):
        self.assertEqual(found(), FOUND)

    def test_afterwards_the_lot_the_caches_and_the_signals_are_as_before(self):
        Car.objects.cache(self.car.pk)
        site, receivers = caches["default"], receivers_of_cars()
        found()
        self.assertEqual(list(Car.objects.all()), [self.car])
        self.assertIs(caches["default"], site)
        self.assertEqual(receivers_of_cars(), receivers)
        self.assertEqual(locmem._caches["the recipe of 2009"], {})
        with self.assertNumQueries(0):
            self.assertEqual(Car.objects.cache(self.car.pk), self.car)

    def test_the_recipe_of_2009_hears_of_no_other_car(self):
        def save_both(car):
            self.car.save()
            lot.save(car)

        with mock.patch.dict(lot.WRITES, {"save()": save_both}):
            found()
        self.assertEqual(locmem._caches["the recipe of 2009"], {})

    def test_when_a_write_fails_its_car_is_removed(self):
        def fail(car):
            raise RuntimeError

        with mock.patch.dict(lot.WRITES, {"update()": fail}), self.assertRaises(RuntimeError):
            found()
        self.assertEqual(list(Car.objects.all()), [self.car])

    def test_in_local_memory_they_find_the_same(self):
        with on_servers([]):
            self.assertEqual(found(), FOUND)


@override_settings(DEBUG=True)
class LotPageTests(TransactionTestCase):
    def setUp(self):
        empty_cache()
        self.client.force_login(User.objects.create_superuser("root"))

    def test_the_button_shows_the_prices_after_each_write_once(self):
        page = self.client.post(URL, follow=True)
        self.assertEqual(page.redirect_chain, [(f"{PAGE}#lot", 302)])
        self.assertContains(page, "€ 100<br>stale", count=6)
        self.assertContains(page, "both recipes had it in their caches.")
        self.assertNotContains(page, "This site reads the database then.")
        for write in FOUND:
            self.assertContains(page, f'<th scope="row">{write}</th>')
        self.assertNotContains(self.client.get(PAGE), "stale</span>")

    def test_the_code_of_each_write_is_shown(self):
        page = self.client.get(PAGE)
        for write in lot.WRITES.values():
            self.assertContains(page, f"def {write.__name__}(car: Car)")

    def test_only_staff_can_write_and_others_are_told_to_log_in(self):
        self.client.logout()
        page = self.client.get(PAGE)
        self.assertContains(page, f'<a href="/accounts/login/?next={PAGE}%23lot">Log in</a>')
        self.assertNotContains(page, "<button>Write")
        self.client.force_login(User.objects.create_user("visitor"))
        with mock.patch.object(lot, "run") as run:
            self.assertEqual(self.client.post(URL).status_code, 302)
        run.assert_not_called()

    def test_without_debug_nothing_is_written(self):
        with override_settings(DEBUG=False), mock.patch.object(lot, "run") as run:
            self.assertEqual(self.client.post(URL).status_code, 404)
            page = self.client.get(PAGE)
        run.assert_not_called()
        self.assertNotContains(page, "<button>Write")
        self.assertContains(page, "make demo")

    def test_it_needs_a_post_with_the_token_of_the_form(self):
        self.assertEqual(self.client.get(URL).status_code, 405)
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(User.objects.get())
        with mock.patch.object(lot, "run") as run, self.assertLogs("django.security.csrf"):
            self.assertEqual(strict.post(URL).status_code, 403)
        run.assert_not_called()
        self.assertEqual(reverse("learn:lot"), URL)

    def test_with_the_cache_away_this_site_reads_the_database(self):
        with unreachable():
            page = self.client.post(URL, follow=True)
        self.assertEqual(
            [row["here"] for row in page.context["prices"]], ["90"] * 4 + ["", "90", "90"]
        )
        self.assertContains(page, "the recipe of 2009 had it in its cache.")
        self.assertContains(page, "This site reads the database then.")
