"""Import cars from a CSV file: manage.py import_cars FILE"""

import os
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.template.defaultfilters import pluralize
from tqdm import tqdm

from cars.models import Car
from cars.stock.files import COLUMNS, BadFile, lines_of, read_cars, to_row

BATCH = 1000  # rows compared and inserted at a time


class Command(BaseCommand):
    help = (
        f"Import the cars of a CSV file with the columns {','.join(COLUMNS)}: all of them, "
        "or none if one is bad. A car that equals an existing one in every column is skipped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the CSV file, in UTF-8")

    def handle(self, *, file: str, **options: Any) -> None:
        try:
            with open(file, "rb") as lines, _progress_bar(lines) as bar, transaction.atomic():
                imported, skipped = import_cars(read_cars(_counted(lines_of(lines), bar)))
        except OSError as error:
            raise CommandError(f"Nothing was imported from {file}: {error.strerror}.") from None
        except BadFile as error:
            raise CommandError(f"Nothing was imported from {file}: {error}") from None
        except DatabaseError as error:
            raise CommandError(
                f"Nothing was imported, the database refused: {str(error).strip()}. "
                "Is it up to date? `manage.py migrate` makes it so."
            ) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped: nothing was imported.", returncode=130) from None
        self.stdout.write(
            f"Imported {imported} car{pluralize(imported)}, "
            f"skipped {skipped} that {pluralize(skipped, 'was,were')} there already."
        )


def import_cars(cars: Iterable[Car]) -> tuple[int, int]:
    """Insert the cars that don't exist yet; return how many, and how many were skipped.

    Call it in a transaction: it may have inserted some when `cars` raises an exception.
    """
    imported = skipped = 0
    cars = iter(cars)
    while batch := list(islice(cars, BATCH)):
        there = _rows_like(batch)
        new = []
        for car in batch:
            row = to_row(car)
            if row not in there:
                there.add(row)
                new.append(car)
        Car.objects.bulk_create(new)
        imported += len(new)
        skipped += len(batch) - len(new)
    return imported, skipped


def _rows_like(cars: list[Car]) -> set[tuple]:
    """Return the rows in the database that may equal one of `cars`, by one query.

    It filters by mileage only, in which cars differ most: with more columns, SQLite may choose the
    index of one in which they hardly differ. Cars without a mileage are filtered by make and model.
    """
    alike = Q(mileage__in={car.mileage for car in cars if car.mileage is not None})
    if without_mileage := [car for car in cars if car.mileage is None]:
        makes, models = (
            {getattr(car, name) for car in without_mileage} for name in ("make", "model")
        )
        alike |= Q(mileage=None, make__in=makes, model__in=models)
    return set(Car.objects.filter(alike).order_by().values_list(*COLUMNS))


def _progress_bar(file: BinaryIO) -> tqdm:
    """Return a progress bar on stderr, if that is a terminal, in bytes of `file`."""
    size = os.fstat(file.fileno()).st_size
    return tqdm(desc="Importing", total=size, unit="B", unit_scale=True, leave=False, disable=None)


def _counted(lines: Iterable[bytes], bar: tqdm) -> Iterator[bytes]:
    for line in lines:
        yield line
        bar.update(len(line))
