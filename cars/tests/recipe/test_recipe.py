"""What the recipe promises to its users."""

from django.conf import settings
from django.core.cache import cache
from django.test import TestCase
from pymemcache.client.base import Client

from cars.models import Car
from cars.tests.support.caches import MemcachedMixin, empty_cache


class RecipeTests(TestCase):
    """The promises of the recipe of 2009."""

    def setUp(self):
        empty_cache()

    def test_the_cache_follows_saves_and_deletes(self):
        car = Car(make="Avensis")
        car.save()
        key = car.key()
        self.assertEqual(key, f"Car.{car.pk}")
        self.assertTrue(cache.has_key(key))
        self.assertEqual(cache.get(key).make, "Avensis")
        car.make = "Auris"
        self.assertEqual(cache.get(key).make, "Avensis")
        car.save()
        self.assertEqual(cache.get(key).make, "Auris")
        car.delete()
        self.assertFalse(cache.has_key(key))

    def test_a_cached_car_is_read_without_a_query(self):
        car = Car.objects.create(make="Toyota")
        with self.assertNumQueries(0):
            self.assertEqual(Car.objects.cache(car.pk), car)

    def test_a_car_that_is_not_cached_is_read_once(self):
        car = Car.objects.create(make="Toyota")
        empty_cache()
        with self.assertNumQueries(1):
            Car.objects.cache(car.pk)
            Car.objects.cache(car.pk)

    def test_a_car_that_does_not_exist_raises_what_get_raises(self):
        with self.assertRaises(Car.DoesNotExist):
            Car.objects.cache(0)

    def test_an_invalid_pk_raises_what_get_raises(self):
        with self.assertRaises(ValueError):
            Car.objects.cache("abc")

    def test_a_pk_as_a_string_finds_the_same_car(self):
        car = Car.objects.create(make="Toyota")
        with self.assertNumQueries(0):
            self.assertEqual(Car.objects.cache(str(car.pk)), car)

    def test_many_cars_are_returned_in_the_order_of_the_pks_without_missing_ones(self):
        one, two = (Car.objects.create(make=make) for make in ("Toyota", "Volvo"))
        self.assertEqual(list(Car.objects.cache_many([two.pk, 0, one.pk])), [two.pk, one.pk])

    def test_many_cars_that_are_not_cached_are_read_by_one_query(self):
        pks = [Car.objects.create(make="Toyota").pk for _ in range(3)]
        empty_cache()
        with self.assertNumQueries(1):
            Car.objects.cache_many(pks)
        with self.assertNumQueries(0):
            Car.objects.cache_many(pks)

    def test_a_mass_update_reaches_the_cache(self):
        car = Car.objects.create(make="Toyota")
        with self.captureOnCommitCallbacks(execute=True):
            Car.objects.filter(pk=car.pk).update(make="Volvo")
        self.assertEqual(Car.objects.cache(car.pk).make, "Volvo")


class UsesMemcachedTests(MemcachedMixin, TestCase):
    def test_the_tests_use_memcached(self):
        car = Car.objects.create(make="Toyota")
        host, _, port = settings.MEMCACHED_SERVERS[0].rpartition(":")
        self.assertIsNotNone(Client((host, int(port))).get(cache.make_and_validate_key(car.key())))
