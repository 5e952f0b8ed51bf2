"""`inspect` tells what stands under a key, and the admin shows it."""

import socket
from time import time
from unittest.mock import patch

from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import TestCase, override_settings

from cars.caching.backends.client import SafeClient
from cars.caching.entries import ABSENT, TICK, Holds, Lease, State, Swap
from cars.caching.inspection import Standing, inspect, inspect_many
from cars.caching.protocol import setting
from cars.models import Car
from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.other_clients import in_local_memory
from carsite import settings as site


class InspectionTests:
    """The tests for both backends."""

    def setUp(self):
        empty_cache()
        self.car = Car.objects.create(make="Toyota")
        self.key = self.car.key()

    def put(self, value, timeout):
        cache.delete(self.key)
        cache.cas_many({self.key: Swap(ABSENT, value, timeout)})

    def test_a_row_is_reported_with_its_age_and_size(self):
        empty_cache()
        Car.objects.cache(self.car.pk)
        entry = inspect(self.car)
        self.assertEqual((entry.state, entry.key), (State.ROW, self.key))
        self.assertAlmostEqual(entry.age, 0, delta=3)
        self.assertGreater(entry.size, 10)

    def test_the_age_is_the_timeout_minus_the_time_left(self):
        row = cache.gets_many([self.key])[self.key].value
        self.put(row, 600)
        self.assertAlmostEqual(inspect(self.car).age, 3000, delta=3)

    def test_a_lease_and_holds_are_told_apart(self):
        self.put(Lease("a"), setting("CACHING_LEASE"))
        self.assertEqual(inspect(self.car).state, State.LEASE)
        self.put(Holds({"a": time() + 100}), 100 + TICK)
        with override_settings(CACHING_HOLD=1000):
            entry = inspect(self.car)
        self.assertEqual(entry.state, State.HOLDS)
        self.assertGreaterEqual(entry.age, 900)  # exact to the second: the extra TICK is counted
        self.assertLess(entry.age, 910)

    def test_many_are_looked_at_together_each_with_its_own_state(self):
        other = Car.objects.create(make="Volvo")
        cache.delete(other.key())
        standing = inspect_many([other, self.car, Car(make="unsaved")])
        states = [(each.key, each.state) for each in standing]
        self.assertEqual(
            states, [(other.key(), State.NOTHING), (self.key, State.ROW), ("", State.NOTHING)]
        )
        self.assertEqual(inspect_many([]), [])

    def test_nothing_and_another_value_are_told_apart(self):
        cache.delete(self.key)
        self.assertEqual(inspect(self.car), Standing(self.key, State.NOTHING))
        cache.set(self.key, "a string")
        self.assertEqual(inspect(self.car).state, State.OTHER)


class MemcachedInspectionTests(MemcachedMixin, InspectionTests, TestCase):
    def test_inspecting_does_not_count_as_an_access(self):
        name = cache.make_and_validate_key(self.key)

        def fetched():
            answer = cache._cache.raw_command(f"me {name}")
            return b"fetch=yes" in answer

        Car.objects.filter(pk=self.car.pk).update(make="Volvo")
        before = fetched()
        inspect(self.car)
        self.assertEqual(fetched(), before)
        cache.get(self.key)
        self.assertTrue(fetched())

    def test_a_server_that_is_down_is_reported_as_no_answer(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # but doesn't listen
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            for servers in ([address], [address, address.replace("127.0.0.1", "localhost")]):
                with override_settings(CACHES=site.caches(servers)):
                    self.assertEqual(inspect(self.car), Standing(self.key, State.NO_ANSWER))

    def test_many_take_one_round_trip(self):
        cars = [self.car, *(Car.objects.create(make="Volvo") for _ in range(3))]
        ask = SafeClient.raw_command
        with patch.object(SafeClient, "raw_command", autospec=True, side_effect=ask) as asked:
            inspect_many(cars)
        self.assertEqual(asked.call_count, 1)


@in_local_memory
class LocalMemoryInspectionTests(InspectionTests, TestCase):
    pass


class AdminInspectionTests(TestCase):
    def setUp(self):
        empty_cache()
        self.client.force_login(User.objects.create_superuser("root"))
        self.car = Car.objects.create(make="Toyota")
        self.url = f"/admin/cars/car/{self.car.pk}/change/"

    def test_the_page_of_a_car_says_what_stands_under_its_key(self):
        page = self.client.get(self.url)
        self.assertContains(page, "In the cache</h2>")
        for text in ("A row: reads", self.car.key(), " UTC (", " bytes"):
            self.assertContains(page, text)
        cache.delete(self.car.key())
        self.assertContains(self.client.get(self.url), "Nothing: a read")

    def test_the_page_of_a_car_says_that_the_cache_does_not_answer(self):
        with patch("cars.caching.inspection.caches", {}):
            self.assertContains(self.client.get(self.url), "The cache doesn’t answer.")

    def test_the_page_that_adds_a_car_says_nothing_of_the_cache(self):
        self.assertNotContains(self.client.get("/admin/cars/car/add/"), "In the cache")
