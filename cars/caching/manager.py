"""The manager of a cached model: `objects = CacheManager()`."""

from collections.abc import Iterable
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage
from django.db import models, router

from . import checks, protocol, transactions
from .queryset import CacheQuerySet, holding_class
from .registry import CachedModel, Config, cached_model


class CacheManager(models.Manager.from_queryset(CacheQuerySet)):
    """A manager that reads rows through the cache, and keeps the cache right for every writer.

    `timeout`: seconds that a row stays if nothing writes it; default one hour.
    `prefix`: what its keys begin with; needed by the second of two models of one name.
    `cache`: which of Django's CACHES; default "default".

    It gives its model a method `key()`, unless it has one: the key of the row in the cache.
    """

    def __init__(self, timeout: int = 3600, prefix: str = "", cache: str = "default") -> None:
        super().__init__()
        self.config = Config(timeout, prefix, cache)

    @classmethod
    def from_queryset(
        cls, queryset_class: type[models.QuerySet], class_name: str | None = None
    ) -> type[Self]:
        """Return a manager with the methods of `queryset_class`, whose mass writes hold too."""
        return super().from_queryset(holding_class(queryset_class), class_name)

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return what is missing in the project: Django asks every manager of every model."""
        return [*super().check(**kwargs), *checks.check_installation(self.model)]

    def cache(self, pk: Any) -> models.Model:
        """Return the row `pk`, from the cache or, if it isn't there, from the database.

        Raises what `get(pk=pk)` raises: DoesNotExist, and ValueError for an invalid pk.
        """
        if not _is_none(pk):
            cached = self._cached()
            instance = transactions.read_one(cached, cached.key(pk), pk)
            if instance is not None:
                return instance
        raise self.model.DoesNotExist(f"There is no {self.model._meta.object_name} {pk!r}.")

    def cache_many(self, pks: Iterable[Any]) -> dict[Any, models.Model]:
        """Return the rows `pks` by pk, in the order of `pks`; rows that don't exist are left out.

        One round trip for the hits and, if there are misses, one SELECT for all of them. Raises
        ValueError for an invalid pk.
        """
        cached = self._cached()
        keys = {pk: cached.key(pk) for pk in pks if not _is_none(pk)}
        found = transactions.read_many(cached, {key: pk for pk, key in keys.items()})
        return {pk: found[key] for pk, key in keys.items() if key in found}

    async def acache(self, pk: Any) -> models.Model:
        """Return what `cache` returns."""
        return await sync_to_async(self.cache)(pk)

    async def acache_many(self, pks: Iterable[Any]) -> dict[Any, models.Model]:
        """Return what `cache_many` returns."""
        return await sync_to_async(self.cache_many)(pks)

    def expire(self, pks: Iterable[Any]) -> None:
        """Tell the cache that the rows `pks` are written by SQL that Django doesn't see.

        In a transaction, call it before the COMMIT: then no read returns what was before.
        """
        cached = self._cached()
        transactions.hold(self.model, list(cached.keys(pks).values()), cached.alias)

    def forget(self, pks: Iterable[Any]) -> int:
        """Remove the rows `pks` from the cache, so that the next read is a miss.

        Returns how many were there. Leases and holds stay, so this is safe at any time.
        """
        cached = self._cached()
        return protocol.forget(cached, cached.keys(pks))

    def _cached(self) -> CachedModel:
        # A row is read where it is written: a replica may lag behind.
        alias = self._db or router.db_for_write(self.model, **self._hints)
        return cached_model(self.model._meta.concrete_model, alias, self.model)


def _is_none(pk: Any) -> bool:
    """Is `pk`, or a part of it, None, which no row has as its pk?"""
    return None in pk if isinstance(pk, tuple) else pk is None


def has_own_queryset(manager: models.Manager) -> bool:
    """Does its class have a `get_queryset` of its own, which may leave rows out?"""
    return type(manager).get_queryset is not models.Manager.get_queryset
