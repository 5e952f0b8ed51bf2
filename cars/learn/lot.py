"""The writes that send no signals, run for real on a car that two recipes have in their caches.

The car is on the lot for as long as this takes. This site's recipe reads it as every page does. The
recipe of 2009 stores pickles, which this site's cache refuses. So its cache is in local memory, and
it hears of the saves and deletes of this one car.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.db.models.signals import post_delete, post_save
from django.db.transaction import atomic

from cars.caching.entries import State
from cars.caching.inspection import inspect
from cars.models import Car
from cars.recipes import set_on_save

OLD, NEW = Decimal(100), Decimal(90)  # the price of the car, in euros


def save(car: Car) -> None:
    car.price = NEW
    car.save()


def update(car: Car) -> None:
    Car.objects.filter(pk=car.pk).update(price=NEW)


def bulk_update(car: Car) -> None:
    car.price = NEW
    Car.objects.bulk_update([car], ["price"])


def bulk_create(car: Car) -> None:
    car.price = NEW
    Car.objects.bulk_create(
        [car], update_conflicts=True, unique_fields=["id"], update_fields=["price"]
    )


def delete(car: Car) -> None:
    Car.objects.filter(pk=car.pk).delete()


def raw_sql(car: Car) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cars_car SET price = %s WHERE id = %s", [NEW, car.pk])


def raw_sql_and_expire(car: Car) -> None:
    with atomic():
        Car.objects.expire([car.pk])
        raw_sql(car)


WRITES: dict[str, Callable[[Car], None]] = {
    "save()": save,
    "update()": update,
    "bulk_update()": bulk_update,
    "bulk_create()": bulk_create,
    "delete()": delete,
    "raw SQL": raw_sql,
    "raw SQL, expire()": raw_sql_and_expire,
}


@dataclass(frozen=True)
class Prices:
    """The car's price after a write: in the database, and as a reader of each recipe gets it.

    In euros, as text; "" if there is no such car.
    """

    write: str
    database: str
    old: str  # the recipe of 2009
    here: str
    was_cached: bool  # by this site's recipe, before the write


def run() -> Iterator[Prices]:
    """Do each of WRITES on a car made for it, which both recipes have cached; then remove the car.

    While the cache doesn't answer, only the recipe of 2009 has cached it.
    It must not be called in a transaction: there, this site's recipe fills nothing.
    """
    for name, write in WRITES.items():
        car = Car.objects.create(make="Trabant", model="601", price=OLD)
        pk = car.pk
        try:
            with _heard_of(pk):
                _read_as_2009(pk)
                Car.objects.cache(pk)
                was_cached = inspect(car).state == State.ROW
                write(car)
                stored = Car.objects.filter(pk=pk).first()
                yield Prices(name, _price(stored), _read_as_2009(pk), _read_here(pk), was_cached)
        finally:
            Car.objects.filter(pk=pk).delete()
            with _cache_of_2009() as cache:
                cache.delete(f"Car.{pk}")


def _price(car: Any) -> str:
    return f"{car.price:.0f}" if car else ""


def _read_here(pk: int) -> str:
    return _price(Car.objects.cache_many([pk]).get(pk))


def _read_as_2009(pk: int) -> str:
    manager = set_on_save.CacheManager()
    manager.model = Car
    with _cache_of_2009():
        try:
            return _price(manager.cache(pk))
        except Car.DoesNotExist:
            return ""


@contextmanager
def _cache_of_2009() -> Iterator[LocMemCache]:
    """Within the block, let the default cache of this thread be that of the recipe of 2009."""
    site = caches["default"]
    caches["default"] = cache = LocMemCache("the recipe of 2009", {})
    try:
        yield cache
    finally:
        caches["default"] = site


@contextmanager
def _heard_of(pk: int) -> Iterator[None]:
    """Within the block, let the recipe of 2009 hear of the saves and deletes of the car `pk`."""

    def put(instance: Car, **kwargs: Any) -> None:
        if instance.pk == pk:
            with _cache_of_2009():
                set_on_save.put(instance)

    def remove(instance: Car, **kwargs: Any) -> None:
        if instance.pk == pk:
            with _cache_of_2009():
                set_on_save.remove(instance)

    post_save.connect(put, sender=Car)
    post_delete.connect(remove, sender=Car)
    try:
        yield
    finally:
        post_save.disconnect(put, sender=Car)
        post_delete.disconnect(remove, sender=Car)
