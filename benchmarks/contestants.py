"""What is compared: how each contestant is set up, reads and writes.

Some change Django itself as soon as they are installed, so each has its own process.
"""

from collections.abc import Iterable
from typing import Any

from django.core.cache import cache
from django.db.models import F, Model

from .measures import BATCH

PLAIN = "django.db.models.Manager"


def django_memcached(server: str) -> dict[str, Any]:
    """Return CACHES with Django's backend for Memcached."""
    backend = "django.core.cache.backends.memcached.PyMemcacheCache"
    return {"default": {"BACKEND": backend, "LOCATION": server, "TIMEOUT": 3600}}


class NoCache:
    """The ORM alone. The other contestants put a cache in front of it."""

    title = "no cache"
    server: str | None = None  # the program that it needs as its server
    manager = PLAIN
    apps: tuple[str, ...] = ()

    @staticmethod
    def settings(server: str) -> dict[str, Any]:
        """Return the settings that lead to its `server`, host:port."""
        return {}

    def __init__(self, model: type[Model]) -> None:
        self.cars = model.objects

    def one(self, pk: int) -> Any:
        """Read one car."""
        return self.cars.get(pk=pk)

    def many(self, pks: list[int]) -> Any:
        """Read many cars at once."""
        return list(self.cars.filter(pk__in=pks))

    def save(self, car: Model) -> None:
        """Write one car."""
        car.save()

    def create(self, mileage: int) -> Any:
        """Make one car, whose pk the database chooses."""
        return self.cars.create(make="Toyota", model="Avensis", year=2009, mileage=mileage)

    def delete(self, car: Model) -> None:
        """Delete one car."""
        car.delete()

    def update(self, pks: tuple[int, int]) -> None:
        """Write the cars from the first pk to the last, in one statement."""
        self.cars.filter(pk__range=pks).update(mileage=F("mileage") + 1)

    def bulk_update(self, cars: list[Any]) -> None:
        """Write these cars, a BATCH in one statement."""
        self.cars.bulk_update(cars, ["mileage"], batch_size=BATCH)


class Recipe2009(NoCache):
    """The recipe as it was first published, on Django's backend: pickled instances."""

    title = "2009 recipe"
    server = "memcached"
    manager = "cars.recipes.set_on_save.CacheManager"

    @staticmethod
    def settings(server: str) -> dict[str, Any]:
        return {"CACHES": django_memcached(server)}

    def one(self, pk: int) -> Any:
        return self.cars.cache(pk)

    def many(self, pks: list[int]) -> Any:
        # It has no method for this. Its users would write these lines.
        found = cache.get_many([f"Car.{pk}" for pk in pks])
        missing = [pk for pk in pks if f"Car.{pk}" not in found]
        return [*found.values(), *map(self.cars.cache, missing)]


class Cacheops(NoCache):
    """django-cacheops, for `get` and `filter`."""

    title = "cacheops"
    server = "redis-server"
    apps = ("cacheops",)

    @staticmethod
    def settings(server: str) -> dict[str, Any]:
        return {
            "CACHEOPS_REDIS": f"redis://{server}/0",
            "CACHEOPS": {"benchmarks.car": {"ops": ("get", "fetch"), "timeout": 3600}},
        }


class Cachalot(NoCache):
    """django-cachalot."""

    title = "cachalot"
    server = "memcached"
    apps = ("cachalot",)

    @staticmethod
    def settings(server: str) -> dict[str, Any]:
        return {"CACHES": django_memcached(server)}


class This(NoCache):
    """This recipe, set up as on the site."""

    title = "this"
    server = "memcached"
    manager = "cars.caching.CacheManager"
    apps = ("cars.caching",)

    @staticmethod
    def settings(server: str) -> dict[str, Any]:
        from carsite.settings import caches

        return {"CACHES": caches([server])}

    def one(self, pk: int) -> Any:
        return self.cars.cache(pk)

    def many(self, pks: list[int]) -> Any:
        return self.cars.cache_many(pks)

    def keys(self, pks: Iterable[int]) -> dict[int, str]:
        """Return the rows' keys in Memcached, by pk."""
        return {pk: cache.make_key(self.cars.model(pk=pk).key()) for pk in pks}


CONTESTANTS = {
    contestant.title: contestant for contestant in (NoCache, Recipe2009, Cacheops, Cachalot, This)
}
