"""Invented mileages, prices and whole cars, drawn by a seeded generator.

The code calls only `Random.random()`: no other method promises the same numbers for the same seed
in every version of Python.
"""

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from cars.models import Car

from . import files
from .makes import terms_of

SEED = 2009
THIS_YEAR = 2026  # fixed; with the current year the drawn numbers would change every January

YEARS_DRIVEN = 18  # an older car is hardly driven
LESS_A_YEAR = 0.99  # older cars were driven less each year
YEARS_TO_LEAST = 20  # after that the price falls no further
YEARS_TO_CLASSIC = 30  # after that the price rises
YEARS_OF_GAIN = 30  # and after these it doesn't any more
GAIN_A_YEAR = 1.07


def draw_terms(random: Random, year: int, make: str = "") -> tuple[int, Decimal]:
    """Draw the mileage in kilometres and the price in euros of a car of `make` built in `year`."""
    terms, age = terms_of(make), max(THIS_YEAR - year, 0)
    mileage = terms.km * (min(age, YEARS_DRIVEN) + random.random()) * LESS_A_YEAR**age
    price = terms.price * 0.5 ** (min(age, YEARS_TO_LEAST) / terms.years_to_half)
    price *= GAIN_A_YEAR ** min(max(age - YEARS_TO_CLASSIC, 0), YEARS_OF_GAIN)
    return round(mileage * _spread(random)), _euros(price * _spread(random))


def _spread(random: Random) -> float:
    """Draw a factor from 0.7 to 1.3, most often near 1."""
    return 0.7 + 0.3 * (random.random() + random.random())


def _euros(price: float) -> Decimal:
    """Return `price` rounded to two digits and at least to tens, as on price tags."""
    unit = max(10, 10 ** (len(str(round(price))) - 2))
    return Decimal(round(price / unit) * unit).quantize(Decimal("0.01"))


def shipped_terms(car: Car) -> tuple[int, Decimal]:
    """Return the mileage in kilometres and the price in euros of a car of cars.csv.

    Each car has a separate generator, so a new car doesn't change the numbers of the others.
    """
    return draw_terms(Random(f"{SEED} {car.make} {car.model}"), car.year, car.make)


def invented_cars(count: int, seed: int = SEED) -> Iterator[Car]:
    """Yield `count` invented cars, not saved: real models, built within ten years of their first.

    The same seed gives the same cars.
    """
    random = Random(seed)
    models = list(files.shipped_cars())
    for _ in range(count):
        model = models[int(random.random() * len(models))]
        year = min(model.year + int(random.random() * 10), THIS_YEAR)
        mileage, price = draw_terms(random, year, model.make)
        yield Car(
            make=model.make,
            model=model.model,
            year=year,
            body=model.body,
            origin=model.origin,
            mileage=mileage,
            price=price,
        )
