"""The manager of a cached model: `objects = CacheManager()`."""

from collections.abc import Callable, Iterable
from copy import copy
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage
from django.db import NotSupportedError, models, router
from django.db.models.query import ModelIterable

from . import checks, protocol, reads, transactions
from .queryset import CacheQuerySet, holding_class
from .registry import CachedModel, Config, cached_model

_PLAIN = models.Manager.get_queryset  # returns all rows

# The methods of a QuerySet that decide which instances `get` returns.
_READS = ("__iter__", "_fetch_all", "_filter_or_exclude", "filter", "get", "iterator")


class CacheManager(models.Manager.from_queryset(CacheQuerySet)):  # type: ignore[misc]  # dynamic
    """A manager that reads rows through the cache, and keeps the cache up to date for all writers.

    `timeout`: seconds that a row stays if nothing writes it; default one hour. As in Django, None
    means forever, and 0 or less not at all.
    `prefix`: what its keys begin with; needed by the second of two models with one name.
    `cache`: which of Django's CACHES; default "default".

    It gives its model a method `key()`, unless it has one: the key of the row in the cache.
    """

    instance: Any = None  # the instance whose related manager this is
    _is_plain = True  # its QuerySets return all rows, as Django makes their instances

    def __init__(
        self, timeout: int | None = 3600, prefix: str = "", cache: str = "default"
    ) -> None:
        super().__init__()
        self.config = Config(timeout, prefix, cache)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        queryset_class = cls._queryset_class
        has_own_init = queryset_class.__init__ is not models.QuerySet.__init__
        reads_plainly = cls.get_queryset is _PLAIN and _reads_as_django(queryset_class)
        cls._is_plain = reads_plainly and not has_own_init

    @classmethod
    def from_queryset(
        cls, queryset_class: type[models.QuerySet[Any, Any]], class_name: str | None = None
    ) -> type[Self]:
        """Return a manager with the methods of `queryset_class`, whose mass writes hold too."""
        made: type[Self] = super().from_queryset(holding_class(queryset_class), class_name)
        return made

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return what is missing in the project: Django asks every manager of every model."""
        return [*super().check(**kwargs), *checks.check_installation(self.model)]

    def cache(self, pk: Any) -> models.Model:
        """Return the row `pk`, from the cache or, if it isn't there, from the database.

        Raises what `get(pk=pk)` raises: DoesNotExist, and ValueError for an invalid pk.
        """
        is_ours = None if self._is_plain else self._filter()
        if not _is_none(pk):
            cached = self._cached()
            instance = reads.read_one(cached, cached.key(pk), pk)
            if instance is not None and (is_ours is None or is_ours(instance)):
                return instance
        raise self.model.DoesNotExist(f"There is no {self.model._meta.object_name} {pk!r}.")

    def cache_many(self, pks: Iterable[Any]) -> dict[Any, models.Model]:
        """Return the rows `pks` by pk, in the order of `pks`; rows that don't exist are left out.

        For every 2,000 pks, one round trip for the hits and, if there are misses, one SELECT for
        all of them. Raises ValueError for an invalid pk.
        """
        is_ours = None if self._is_plain else self._filter()
        cached = self._cached()
        keys = {pk: cached.key(pk) for pk in pks if not _is_none(pk)}
        found = reads.read_many(cached, {key: pk for pk, key in keys.items()})
        given: set[str] = set()
        rows = {}
        for pk, key in keys.items():
            if key in found and (is_ours is None or is_ours(found[key])):
                # "1" and 1 are one row, but each gets another instance.
                rows[pk] = copy(found[key]) if key in given else found[key]
                given.add(key)
        return rows

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
        hints = self._hints if self.instance is None else {"instance": self.instance}
        alias = self._db or router.db_for_write(self.model, **hints)
        return cached_model(self.model._meta.concrete_model, alias, self.model)

    def _filter(self) -> Callable[[models.Model], bool] | None:
        """Return a function that says whether a row is one of this manager's; None if all are.

        A reverse foreign key's manager compares the row's column. Raises NotSupportedError for
        any other manager that leaves rows out, changes them, or chooses another database.
        """
        queryset: Any
        is_ours: Callable[[models.Model], bool] | None
        field = getattr(self, "field", None)
        if isinstance(field, models.ForeignKey) and hasattr(self, "core_filters"):
            if not self.instance._is_pk_set():
                self.get_queryset()  # raises Django's error
            # Past the class that Django makes for each relation, to the model's manager.
            queryset, is_ours = super(type(self), self).get_queryset(), self._refers
        else:
            queryset, is_ours = self.get_queryset(), None
        if is_plain(queryset) and queryset._db == self._db:
            return is_ours
        managers = (m for m in self.model._meta.managers if isinstance(m, CacheManager))
        name = next((m.name for m in managers if m._is_plain), None)
        label = self.model._meta.object_name
        raise NotSupportedError(
            f"This manager of {label} leaves rows out, changes them, or chooses another database, "
            "which cache() can't tell: "
            + (f"use {label}.{name}.cache()" if name else f"add a CacheManager() to {label}")
            + ", or get() on this manager."
        )

    def _refers(self, instance: models.Model) -> bool:
        pairs = self.field.related_fields
        values = [
            (getattr(instance, a.attname), getattr(self.instance, b.attname)) for a, b in pairs
        ]
        refers = all(value == pk and value is not None for value, pk in values)
        if refers:
            self.field.set_cached_value(instance, self.instance)  # as Django does
        return refers


def _is_none(pk: Any) -> bool:
    """Is `pk`, or a part of it, None, which no row has as its pk?"""
    return None in pk if isinstance(pk, tuple) else pk is None


def has_own_queryset(manager: models.Manager[Any]) -> bool:
    """Does its class override `get_queryset`, so that it may leave rows out?"""
    return type(manager).get_queryset is not _PLAIN


def _reads_as_django(queryset_class: type[models.QuerySet[Any, Any]]) -> bool:
    """Does the class leave it to Django which instances `get` returns?"""
    return all(getattr(queryset_class, n) is getattr(models.QuerySet, n) for n in _READS)


def is_plain(queryset: models.QuerySet[Any, Any]) -> bool:
    """Does `queryset` return all rows of its model as its instances, with nothing else?"""
    query = queryset.query
    if not _reads_as_django(type(queryset)) or queryset._iterable_class is not ModelIterable:
        return False
    return not (
        query.where
        or query.is_sliced
        or query.distinct
        or query.combinator
        or query.annotations
        or query.extra
        or query.values_select
        or query.deferred_loading != (frozenset(), True)
    )
