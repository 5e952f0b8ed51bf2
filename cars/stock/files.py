"""Cars from a CSV file, each row validated."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from django.core.exceptions import ValidationError
from django.template.defaultfilters import pluralize

from cars.models import Car

SHIPPED = Path(__file__).parent / "cars.csv"  # the real cars that come with the project
COLUMNS = ("make", "model", "year", "body", "origin", "mileage", "price")

LONGEST = 100_000  # bytes of a line; a file such as /dev/zero is one line without an end
NAMED = 5  # bad rows that a message describes; the rest are counted


class BadFile(ValueError):
    """The file is not a table of cars, or has bad rows; the message says where and why."""


class BadRow(ValueError):
    """A row is not a valid car; `args` are the reasons, each with its column."""


def read_cars(lines: Iterable[bytes]) -> Iterator[Car]:
    """Yield the car of each row, valid and not saved; empty lines are skipped.

    `lines` is a CSV file opened in binary: UTF-8, with or without a byte order mark, under the
    header COLUMNS. Raises BadFile: at once if the rest can't be read, at the end of the file if
    rows are bad. After the first bad row it yields no more cars, since the import will fail.
    """
    bad = 0
    reasons = []
    for line, cells in _rows(lines):
        try:
            car = to_car(cells)
        except BadRow as error:
            bad += 1
            if bad <= NAMED:
                reasons += [f"\n  line {line}, {reason}" for reason in error.args]
        else:
            if not bad:
                yield car
    if bad:
        more = f"\n  and {bad - NAMED} more" if bad > NAMED else ""
        raise BadFile(f"{bad} bad row{pluralize(bad)}:{''.join(reasons)}{more}")


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of `file`, of one that is longer than LONGEST only the beginning."""
    return iter(lambda: file.readline(LONGEST + 1), b"")


def _rows(lines: Iterable[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number of each row (its last one, if it spans several) and its cells."""
    reader = csv.reader(_decoded(lines), strict=True)
    try:
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise BadFile(f"line 1: the header must be {','.join(COLUMNS)}.")
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise BadFile(f"line {reader.line_num}: no CSV: {error}.") from None


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if len(line) > LONGEST:
            raise BadFile(f"line {number}: longer than {LONGEST} bytes.")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise BadFile(f"line {number}: not UTF-8. Save the file as UTF-8.") from None


def to_car(cells: list[str]) -> Car:
    """Return the valid car, not saved, of a row's cells; an empty cell leaves the field's default.

    Raises BadRow. It sends no query.
    """
    if len(cells) != len(COLUMNS):
        raise BadRow(f"{len(cells)} columns instead of {len(COLUMNS)}.")
    values = {column: cell.strip() for column, cell in zip(COLUMNS, cells, strict=True)}
    car = Car(**{column: value for column, value in values.items() if value})
    try:
        car.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        reasons = error.message_dict.items()
        raise BadRow(
            *(f"column {column}: {message}" for column, messages in reasons for message in messages)
        ) from None
    return car


def to_row(car: Car) -> tuple:
    """Return the values of `car` in the order of COLUMNS; two rows are equal if these are."""
    return tuple(getattr(car, column) for column in COLUMNS)


def shipped_cars() -> Iterator[Car]:
    """Yield the cars that come with the project, not saved, in the order of the file."""
    with SHIPPED.open("rb") as file:
        yield from read_cars(lines_of(file))
