"""The real cars that ship with the project, and the values that are invented for them."""

from itertools import islice
from random import Random

from django.test import SimpleTestCase

from cars.stock import files, invented, makes


class ShippedCarsTests(SimpleTestCase):
    """cars.csv is complete and consistent."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cars = list(files.shipped_cars())
        cls.names = [(car.make, car.model) for car in cls.cars]

    def test_it_has_at_least_300_valid_cars(self):
        self.assertGreaterEqual(len(self.cars), 300)

    def test_it_has_the_avensis_and_the_auris(self):
        self.assertLessEqual({("Toyota", "Avensis"), ("Toyota", "Auris")}, set(self.names))

    def test_cars_are_unique_and_sorted_by_make_and_model(self):
        self.assertEqual(self.names, sorted(set(self.names)))

    def test_every_car_has_a_value_in_every_column(self):
        for car in self.cars:
            with self.subTest(car=str(car)):
                self.assertNotIn(None, files.to_row(car))
                self.assertNotIn("", files.to_row(car))

    def test_each_make_has_one_country(self):
        origins = {(car.make, car.origin) for car in self.cars}
        self.assertEqual(len(origins), len({make for make, _ in origins}))

    def test_mileages_and_prices_are_those_that_the_generator_draws(self):
        for car in self.cars:
            mileage, price = invented.shipped_terms(car)
            with self.subTest(car=str(car)):
                self.assertEqual(f"{car.mileage},{car.price}", f"{mileage},{price}")

    def test_prices_and_mileages_fit_the_makes(self):
        by_make = {}
        for car in self.cars:
            by_make.setdefault(car.make, []).append(car)
        self.assertLessEqual(set(makes._BY_MAKE), set(by_make))
        cheapest = min(car.price for car in by_make["Bugatti"])
        self.assertGreater(cheapest, 500_000)
        self.assertGreater(cheapest, max(car.price for car in by_make["Dacia"]))
        longest = max(car.mileage for car in by_make["Ferrari"])
        self.assertLess(longest, max(car.mileage for car in by_make["Toyota"]))


class GeneratorTests(SimpleTestCase):
    """Generated values are plausible, and the same for the same seed."""

    def test_the_values_drawn_for_any_year_give_a_valid_car(self):
        random = Random(1)
        for year in range(1886, invented.THIS_YEAR + 2):
            mileage, price = invented.draw_terms(random, year)
            with self.subTest(year=year):
                cells = ["Benz", "", str(year), "", "", str(mileage), str(price)]
                self.assertEqual(files.to_car(cells).price, price)

    def test_an_old_car_has_more_kilometres_and_costs_less_than_a_new_one(self):
        old, new = (invented.draw_terms(Random(1), year) for year in (2006, 2024))
        self.assertGreater(old[0], new[0])
        self.assertLess(old[1], new[1])

    def test_a_classic_costs_more_than_an_old_car(self):
        classic, old = (invented.draw_terms(Random(1), year) for year in (1934, 2000))
        self.assertGreater(classic[1], old[1])

    def test_the_same_seed_gives_the_same_cars_and_another_seed_gives_others(self):
        first, again, other = (
            [files.to_row(car) for car in invented.invented_cars(50, seed)] for seed in (1, 1, 2)
        )
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_an_invented_car_is_a_real_model_from_its_first_ten_years(self):
        introduced = {
            (car.make, car.model, car.body, car.origin): car.year for car in files.shipped_cars()
        }
        for car in invented.invented_cars(200):
            with self.subTest(car=str(car)):
                first_year = introduced[car.make, car.model, car.body, car.origin]
                self.assertIn(car.year, range(first_year, first_year + 10))
                self.assertLessEqual(car.year, invented.THIS_YEAR)

    def test_cars_are_generated_lazily(self):
        self.assertEqual(len(list(islice(invented.invented_cars(10**12), 3))), 3)
