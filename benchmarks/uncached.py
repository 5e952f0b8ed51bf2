"""The site without its cache, to compare it with: an application for gunicorn."""

from collections.abc import Iterable
from typing import Any

from carsite.wsgi import application

# isort: split
from cars.models import Car

__all__ = ["application"]


def one(pk: Any) -> Car:
    """Do what Car.objects.cache does, from the database."""
    return Car.objects.get(pk=pk)


def many(pks: Iterable[Any]) -> dict[Any, Car]:
    """Do what Car.objects.cache_many does, from the database."""
    pks = list(pks)
    found = Car.objects.in_bulk(pks)
    return {pk: found[pk] for pk in pks if pk in found}


Car.objects.cache, Car.objects.cache_many = one, many
