"""Invented mileages, prices and whole cars, drawn by a seeded generator.

The code calls only `Random.random()`: no other method promises the same numbers for the same seed
in every version of Python.
"""

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from cars.models import Car

from . import files

SEED = 2009
THIS_YEAR = 2026  # fixed; with the current year the drawn numbers would change every January

KM_A_YEAR = 11_000
YEARS_DRIVEN = 18  # an older car is hardly driven
LESS_A_YEAR = 0.99  # older cars were driven less each year
NEW_PRICE = 30_000  # euros
YEARS_TO_HALF = 5  # until the price is half of what it was
YEARS_TO_LEAST = 20  # after that the price falls no further
YEARS_TO_CLASSIC = 30  # after that the price rises
GAIN_A_YEAR = 1.07


def draw_terms(random: Random, year: int) -> tuple[int, Decimal]:
    """Draw the mileage in kilometres and the price in euros of a car built in `year`."""
    age = max(THIS_YEAR - year, 0)
    mileage = KM_A_YEAR * (min(age, YEARS_DRIVEN) + random.random()) * LESS_A_YEAR**age
    price = NEW_PRICE * 0.5 ** (min(age, YEARS_TO_LEAST) / YEARS_TO_HALF)
    price *= GAIN_A_YEAR ** max(age - YEARS_TO_CLASSIC, 0)
    return round(mileage * _spread(random)), _euros(price * _spread(random))


def _spread(random: Random) -> float:
    """Draw a factor from 0.4 to 1.6, most often near 1."""
    return 0.4 + 0.6 * (random.random() + random.random())


def _euros(price: float) -> Decimal:
    """Return `price` rounded to tens, as on price tags."""
    return Decimal(round(price / 10) * 10).quantize(Decimal("0.01"))


def shipped_terms(car: Car) -> tuple[int, Decimal]:
    """Return the mileage in kilometres and the price in euros of a car of cars.csv.

    Each car has a separate generator, so a new car doesn't change the numbers of the others.
    """
    return draw_terms(Random(f"{SEED} {car.make} {car.model}"), car.year)


def invented_cars(count: int, seed: int = SEED) -> Iterator[Car]:
    """Yield `count` invented cars, not saved: real models, built within ten years of their first.

    The same seed gives the same cars.
    """
    random = Random(seed)
    models = list(files.shipped_cars())
    for _ in range(count):
        model = models[int(random.random() * len(models))]
        year = min(model.year + int(random.random() * 10), THIS_YEAR)
        mileage, price = draw_terms(random, year)
        yield Car(
            make=model.make,
            model=model.model,
            year=year,
            body=model.body,
            origin=model.origin,
            mileage=mileage,
            price=price,
        )
