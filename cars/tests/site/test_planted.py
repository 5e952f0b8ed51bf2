"""Entries that somebody else has put under a car's key: no page fails, and no code is run."""

import pickle

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import TestCase, tag
from pymemcache.client.base import Client, normalize_server_spec

from cars.caching.backends.serde import Serde
from cars.models import Car
from cars.tests.support.caches import MemcachedMixin, empty_cache

run = []


def explode():
    run.append("code")


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return explode, ()


VALUES = {
    "nothing": b"",
    "text": b"text",
    "bytes": b"\xff\x00\xfe" * 9,
    "a number": b"1",
    "a pickle": pickle.dumps(Bomb()),
    "an array without an end": b"\x81" * 5000,
    "a huge length": b"\xdd\xff\xff\xff\xff",
    "JSON": b'{"a": NaN}',
    "1 MB": b"x" * 1_000_000,
}
FLAGS = sorted({0, 1, 2, 4, 2**16 - 1, *Serde.FLAGS.values()})


@tag("any-database")
class PlantedTests(MemcachedMixin, TestCase):
    def setUp(self):
        empty_cache()
        run.clear()
        self.client.force_login(User.objects.create_superuser("root"))
        self.car = Car.objects.create(make="Toyota")
        self.memcached = Client(normalize_server_spec(settings.MEMCACHED_SERVERS[0]))
        self.addCleanup(self.memcached.close)
        self.enterContext(self.assertLogs("cars.caching", "WARNING"))  # keeps the terminal clean

    def planted(self):
        """Plant each value with each of the flags, one after the other; yield its name."""
        key = cache.make_and_validate_key(self.car.key())
        for name, value in VALUES.items():
            for flags in FLAGS:
                self.memcached.set(key, value, flags=flags, noreply=False)
                with self.subTest(name, flags=flags):
                    yield

    def test_every_page_shows_the_car_of_the_database(self):
        url = self.car.get_absolute_url()
        for _ in self.planted():
            for page in (
                "/cars/",
                f"/admin/cars/car/{self.car.pk}/change/",
                "/admin/cars/car/",
                url,
            ):
                self.assertContains(self.client.get(page), "Toyota")
        self.assertEqual(run, [])

    def test_an_edit_is_saved_and_shown(self):
        for number, _ in enumerate(self.planted()):
            page = self.client.post(
                f"{self.car.get_absolute_url()}edit/", {"make": f"Volvo {number}"}, follow=True
            )
            self.assertContains(page, f"<h1>Volvo {number}</h1>")
        self.assertEqual(run, [])

    def test_the_actions_of_the_admin_work(self):
        for _ in self.planted():
            for action in ("remove_from_cache", "put_into_cache", "mark_down"):
                answer = self.client.post(
                    "/admin/cars/car/", {"action": action, "_selected_action": [self.car.pk]}
                )
                self.assertRedirects(answer, "/admin/cars/car/")
        self.assertEqual(run, [])
