"""The site without its cache, for comparison: a WSGI application."""

from collections.abc import Iterable
from typing import Any

from carsite.wsgi import application

# isort: split
from cars.models import Car

__all__ = ["application"]


def one(pk: Any) -> Car:
    """Return what Car.objects.cache returns, from the database."""
    return Car.objects.get(pk=pk)


def many(pks: Iterable[Any]) -> dict[Any, Car]:
    """Return what Car.objects.cache_many returns, from the database."""
    pks = list(pks)
    found = Car.objects.in_bulk(pks)
    return {pk: found[pk] for pk in pks if pk in found}


Car.objects.cache, Car.objects.cache_many = one, many
