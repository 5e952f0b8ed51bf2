"""The real cars that ship with the project, and what is invented about them."""

from itertools import islice
from random import Random

from django.test import SimpleTestCase

from cars.stock import files, invented


class ShippedCarsTests(SimpleTestCase):
    """cars.csv is right in itself."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cars = list(files.shipped_cars())
        cls.names = [(car.make, car.model) for car in cls.cars]

    def test_there_are_at_least_300_cars_and_all_are_valid(self):
        self.assertGreaterEqual(len(self.cars), 300)

    def test_the_avensis_and_the_auris_are_among_them(self):
        self.assertLessEqual({("Toyota", "Avensis"), ("Toyota", "Auris")}, set(self.names))

    def test_no_car_comes_twice_and_they_are_sorted_by_make_and_model(self):
        self.assertEqual(self.names, sorted(set(self.names)))

    def test_every_column_of_every_car_is_given(self):
        for car in self.cars:
            with self.subTest(car=str(car)):
                self.assertNotIn(None, files.to_row(car))
                self.assertNotIn("", files.to_row(car))

    def test_a_make_comes_from_one_country(self):
        origins = {(car.make, car.origin) for car in self.cars}
        self.assertEqual(len(origins), len({make for make, _ in origins}))

    def test_the_mileage_and_the_price_are_those_that_the_generator_draws(self):
        for car in self.cars:
            mileage, price = invented.shipped_terms(car)
            with self.subTest(car=str(car)):
                self.assertEqual(f"{car.mileage},{car.price}", f"{mileage},{price}")


class GeneratorTests(SimpleTestCase):
    """What is drawn makes sense, and is the same for the same seed."""

    def test_what_is_drawn_for_any_year_makes_a_valid_car(self):
        random = Random(1)
        for year in range(1886, invented.THIS_YEAR + 2):
            mileage, price = invented.draw_terms(random, year)
            with self.subTest(year=year):
                cells = ["Benz", "", str(year), "", "", str(mileage), str(price)]
                self.assertEqual(files.to_car(cells).price, price)

    def test_an_old_car_has_more_kilometres_than_a_new_one_and_costs_less(self):
        old, new = (invented.draw_terms(Random(1), year) for year in (2006, 2024))
        self.assertGreater(old[0], new[0])
        self.assertLess(old[1], new[1])

    def test_a_classic_costs_more_than_a_car_that_is_merely_old(self):
        classic, old = (invented.draw_terms(Random(1), year) for year in (1934, 2000))
        self.assertGreater(classic[1], old[1])

    def test_the_same_seed_gives_the_same_cars_and_another_seed_others(self):
        first, again, other = (
            [files.to_row(car) for car in invented.invented_cars(50, seed)] for seed in (1, 1, 2)
        )
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_an_invented_car_is_a_real_model_built_when_it_was_built(self):
        introduced = {
            (car.make, car.model, car.body, car.origin): car.year for car in files.shipped_cars()
        }
        for car in invented.invented_cars(200):
            with self.subTest(car=str(car)):
                first_year = introduced[car.make, car.model, car.body, car.origin]
                self.assertIn(car.year, range(first_year, first_year + 10))
                self.assertLessEqual(car.year, invented.THIS_YEAR)

    def test_cars_are_invented_one_by_one_as_they_are_asked_for(self):
        self.assertEqual(len(list(islice(invented.invented_cars(10**12), 3))), 3)
