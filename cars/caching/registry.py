"""Which models are cached, and which of them share a row."""

import logging
from collections.abc import Iterable, KeysView
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache as memoize
from functools import cached_property
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DEFAULT_DB_ALIAS
from django.db.models import IntegerField, Model

from .databases import canonical
from .entries import NoCache, SwapCache
from .keys import text_of

logger = logging.getLogger(__name__)

NO_CACHE = NoCache({})
Keys = dict[str, Any]  # pks by their keys


@dataclass(frozen=True, slots=True)
class Config:
    """The arguments of a CacheManager: seconds a row stays, the prefix of its keys, which cache."""

    timeout: int | None
    prefix: str
    cache: str


@dataclass(frozen=True)
class CachedModel:
    """A cached model on one database."""

    model: type[Model]
    alias: str
    instance_class: type[Model] | None = field(default=None, compare=False)  # a proxy of the model

    @cached_property
    def config(self) -> Config:
        """The arguments of its manager."""
        return _configs[self.model]

    @cached_property
    def names(self) -> list[str]:
        """The names of a row's values, in their order."""
        return [field.attname for field in self.model._meta.concrete_fields]

    @property
    def cache(self) -> SwapCache:
        """The cache that its rows are in; NO_CACHE if that one can't compare and swap."""
        cache = caches[self.config.cache]
        return cache if isinstance(cache, SwapCache) else _no_cache(self.config.cache, cache)

    def key(self, pk: Any) -> str:
        """Return the key of the row `pk`: model name, dot, pk, for example "Car.1".

        On another database than the default one it ends in an alias, for example "Car.1@archive".
        Raises what Django raises for an invalid `pk`.
        """
        if type(pk) is not int or not self._has_integer_pk:
            pk = text_of(self.model._meta.pk, pk)
        key = f"{self._name}{pk}"
        if self.alias == DEFAULT_DB_ALIAS or canonical(self.alias) == DEFAULT_DB_ALIAS:
            return key
        return f"{key}@{canonical(self.alias)}"

    def keys(self, pks: Iterable[Any]) -> Keys:
        """Return `pks` by their keys."""
        return {self.key(pk): pk for pk in pks}

    def known_keys(self, pks: Iterable[Any]) -> Keys:
        """Return `pks` by their keys, without those that no cached row can have.

        None has no key, nor what a field returns as a pk that it doesn't take; a historical model's
        pk can be of another type.
        """
        keys = {}
        for pk in pks:
            with suppress(TypeError, ValueError, ValidationError):
                keys[self.key(pk)] = pk
        return keys

    @cached_property
    def _name(self) -> str:
        return _name(self.model, self.config)

    @cached_property
    def _has_integer_pk(self) -> bool:
        # A field of a project may store another number than the one that it shows.
        field: Any = self.model._meta.pk
        return type(field).get_prep_value is IntegerField.get_prep_value


def _no_cache(alias: str, cache: Any) -> NoCache:
    if not isinstance(cache, DummyCache):  # Django's way to switch caching off
        _warn_once(alias, f"{type(cache).__module__}.{type(cache).__qualname__}")
    return NO_CACHE


@memoize
def _warn_once(alias: str, backend: str) -> None:
    logger.warning(
        "CACHES[%r] is a %s, which can't compare and swap: cached models are read from the "
        "database. Use the backend %s.backends.MemcachedCache.",
        alias,
        backend,
        __package__,
    )


@memoize
def cached_model(
    model: type[Model], alias: str, instance_class: type[Model] | None = None
) -> CachedModel:
    """Return the CachedModel of `model` on the database `alias`.

    It reads instances of `instance_class`, a proxy of `model`, or else of `model` itself.

    Raises ImproperlyConfigured if its manager was added after the class was made, and for the
    historical models of migrations.
    """
    if model not in _configs:
        if model.__module__ == "__fake__":
            raise ImproperlyConfigured(
                f"{model._meta.label} is not cached: it is a historical model. Use get()."
            )
        raise ImproperlyConfigured(
            f"{model._meta.label} is not cached: its CacheManager was added after the class was "
            "made, so the cache isn't told of writes. Declare the manager in the class body."
        )
    return CachedModel(model, alias, instance_class)


_configs: dict[type[Model], Config] = {}
_families: dict[str, list[type[Model]]] = {}  # by database table: the cached models to be held


def _name(model: type[Model], config: Config) -> str:
    return f"{config.prefix}{model.__name__}."


def register(model: type[Model], config: Config | None) -> None:
    """Note that the rows of `model` are cached (if there is a config) or share a cached one's.

    A child by multi-table inheritance shares its row with its parents: a write of any of them
    changes what is cached of all.
    """
    if config:
        _configs.setdefault(model, config)
    tables = [model._meta.db_table, *(p._meta.db_table for p in model._meta.all_parents)]
    family = {model} if config else set()
    for table in tables:
        family.update(_families.get(table, ()))
    if not family:
        return
    tables += (table for table, members in _families.items() if family.intersection(members))
    _families.update(dict.fromkeys(tables, sorted(family, key=lambda member: member._meta.label)))


def cached_models() -> KeysView[type[Model]]:
    """Return every cached model."""
    return _configs.keys()


def config_of(model: type[Model]) -> Config:
    """Return the arguments of the manager of `model`, a cached model."""
    return _configs[model]


def concrete(model: type[Model]) -> type[Model]:
    """Return the class whose table has the rows of `model`: another one for a proxy."""
    return model._meta.concrete_model or model


def is_cached(model: type[Model]) -> bool:
    """Is a row of `model` cached, or a part of a row that is cached?"""
    return model._meta.db_table in _families


def names_of(model: type[Model]) -> tuple[str, str]:
    """Return the cache of `model`, a cached model, and what its keys begin with."""
    return _configs[model].cache, _name(model, _configs[model])


def is_key(key: str) -> bool:
    """Is `key` the key of a cached model's row?"""
    return key.startswith(tuple(_name(*item) for item in _configs.items()))


def written_by(model: type[Model], alias: str) -> list[CachedModel]:
    """Return the cached models whose rows a write through `model` changes.

    They are found by the name of the database table. So this works for proxies, parents, children
    and the historical models of migrations alike. Those without a cache are left out.
    """
    written = [cached_model(member, alias) for member in sharing(model)]
    return [cached for cached in written if cached.cache is not NO_CACHE]


def sharing(model: type[Model]) -> list[type[Model]]:
    """Return the cached models that share their rows with `model`, by their labels' order."""
    return _families.get(model._meta.db_table, [])
