"""Make invented cars: manage.py make_cars N"""

from argparse import ArgumentParser
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.template.defaultfilters import pluralize
from tqdm import tqdm

from cars.models import Car
from cars.stock.invented import SEED, invented_cars

BATCH = 5000  # cars in one transaction; between two transactions others can write


class Command(BaseCommand):
    help = "Make N invented cars, for load tests. The same seed makes the same cars."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("count", metavar="N", type=int, help="how many cars, 1 or more")
        parser.add_argument(
            "--seed", type=int, default=SEED, help="of the random numbers (%(default)s)"
        )

    def handle(self, *, count: int, seed: int, **options: Any) -> None:
        if count < 1:
            raise CommandError(f"N is how many cars to make, 1 or more, not {count}.")
        made = 0
        cars = invented_cars(count, seed)
        try:
            with tqdm(desc="Making", total=count, unit=" cars", leave=False, disable=None) as bar:
                while batch := list(islice(cars, BATCH)):
                    Car.objects.bulk_create(batch)
                    made += len(batch)
                    bar.update(len(batch))
        except DatabaseError as error:
            raise CommandError(
                f"Made {made} of {count} cars, then the database refused: {str(error).strip()}. "
                "Is it up to date? `manage.py migrate` makes it so."
            ) from error
        except KeyboardInterrupt:
            raise CommandError(f"Stopped: made {made} of {count} cars.", returncode=130) from None
        self.stdout.write(f"Made {count} car{pluralize(count)}.")
