"""What stands under a key, and the admin's box that shows it."""

import socket
from time import time
from unittest.mock import patch

from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import TestCase, override_settings

from cars.caching.entries import ABSENT, Holds, Lease, State, Swap
from cars.caching.inspection import Standing, inspect
from cars.caching.protocol import setting
from cars.models import Car
from cars.tests.support.caches import MemcachedMixin, forget
from cars.tests.support.other_clients import in_local_memory
from carsite import settings as site


class Inspections:
    """What both caches have in common."""

    def setUp(self):
        forget()
        self.car = Car.objects.create(make="Toyota")
        self.key = self.car.key()

    def put(self, value, timeout):
        cache.delete(self.key)
        cache.cas_many({self.key: Swap(ABSENT, value, timeout)})

    def test_a_row_is_cached_since_it_was_filled(self):
        forget()
        Car.objects.cache(self.car.pk)
        entry = inspect(self.car)
        self.assertEqual((entry.state, entry.key), (State.ROW, self.key))
        self.assertAlmostEqual(entry.age, 0, delta=3)
        self.assertGreater(entry.size, 10)

    def test_its_age_is_what_it_has_used_of_its_time(self):
        row = cache.gets_many([self.key])[self.key].value
        self.put(row, 600)
        self.assertAlmostEqual(inspect(self.car).age, 3000, delta=3)

    def test_a_lease_and_holds_are_told_apart(self):
        self.put(Lease("a"), setting("CACHING_LEASE"))
        self.assertEqual(inspect(self.car).state, State.LEASE)
        holds = Holds({"a": time() + 100})
        self.put(holds, holds.timeout)
        with override_settings(CACHING_HOLD=1000):
            entry = inspect(self.car)
        self.assertEqual(entry.state, State.HOLDS)
        self.assertGreaterEqual(entry.age, 900)  # to the second: what is kept longer counts too
        self.assertLess(entry.age, 910)

    def test_nothing_is_not_there_and_something_else_is_said_to_be(self):
        cache.delete(self.key)
        self.assertEqual(inspect(self.car), Standing(self.key, State.NOTHING))
        cache.set(self.key, "a text")
        self.assertEqual(inspect(self.car).state, State.OTHER)


class MemcachedTests(MemcachedMixin, Inspections, TestCase):
    def test_looking_is_no_access(self):
        name = cache.make_and_validate_key(self.key)

        def fetched():
            answer = cache._cache.server_of(name).raw_command(f"me {name}")
            return b"fetch=yes" in answer

        Car.objects.filter(pk=self.car.pk).update(make="Volvo")
        before = fetched()
        inspect(self.car)
        self.assertEqual(fetched(), before)
        cache.get(self.key)
        self.assertTrue(fetched())

    def test_a_server_that_is_away_is_no_error(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and doesn't listen
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            for servers in ([address], [address, address.replace("127.0.0.1", "localhost")]):
                with override_settings(CACHES=site.caches(servers)):
                    self.assertEqual(inspect(self.car), Standing(self.key, State.NO_ANSWER))


@in_local_memory
class LocalMemoryTests(Inspections, TestCase):
    pass


class BoxTests(TestCase):
    def setUp(self):
        forget()
        self.client.force_login(User.objects.create_superuser("root"))
        self.car = Car.objects.create(make="Toyota")
        self.url = f"/admin/cars/car/{self.car.pk}/change/"

    def test_it_says_what_stands_there(self):
        page = self.client.get(self.url)
        self.assertContains(page, "In the cache</h2>")
        for text in ("A row: reads", self.car.key(), " UTC (", " bytes"):
            self.assertContains(page, text)
        cache.delete(self.car.key())
        self.assertContains(self.client.get(self.url), "Nothing: the next")

    def test_it_says_when_the_cache_does_not_answer(self):
        with patch("cars.caching.inspection.caches", {}):
            self.assertContains(self.client.get(self.url), "The cache doesn’t answer.")

    def test_a_car_that_is_being_added_has_none(self):
        self.assertNotContains(self.client.get("/admin/cars/car/add/"), "In the cache")
