"""manage.py make_cars N"""

from argparse import ArgumentParser
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import pluralize
from tqdm import tqdm

from cars.lot import SEED, invented_cars
from cars.models import Car

BATCH = 5000  # cars inserted by one transaction, so that others can write in between


class Command(BaseCommand):
    help = "Make N invented cars, for load tests. The same seed makes the same cars."
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("count", metavar="N", type=int, help="how many cars, 1 or more")
        parser.add_argument("--seed", type=int, default=SEED, help="%(default)s unless given")

    def handle(self, *, count: int, seed: int, **options: Any) -> None:
        if count < 1:
            raise CommandError(f"N is how many cars to make, 1 or more, not {count}.")
        cars = invented_cars(count, seed)
        with tqdm(desc="Making", total=count, unit=" cars", leave=False, disable=None) as bar:
            while batch := list(islice(cars, BATCH)):
                Car.objects.bulk_create(batch)
                bar.update(len(batch))
        self.stdout.write(f"Made {count} car{pluralize(count)}.")
