"""Which key a row has, and which cached models share a row."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache as memoize
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Field, Model

LONGEST = 100  # characters of a pk in a key; Memcached takes keys of 250 bytes in all


@dataclass(frozen=True, slots=True)
class Config:
    """What a CacheManager was given: seconds a row stays, what its keys begin with, which cache."""

    timeout: int
    prefix: str
    cache: str


@dataclass(frozen=True, slots=True)
class Table:
    """A cached model on one database."""

    model: type[Model]
    alias: str

    @property
    def config(self) -> Config:
        """What its manager was given."""
        return config_of(self.model)

    @property
    def cache(self) -> BaseCache:
        """The cache that its rows are in."""
        return caches[self.config.cache]

    def key(self, pk: Any) -> str:
        """Return the key of the row `pk`: model name, dot, pk, as in "Car.1".

        On another database than the default it ends in that one's alias, as in "Car.1@archive".
        Raises what Django raises for a `pk` that can't be one.
        """
        text = _text(self.model._meta.pk, pk)
        if len(text) > LONGEST:
            text = f"sha256:{sha256(text.encode()).hexdigest()}"
        key = f"{self.config.prefix}{self.model.__name__}.{text}"
        alias = canonical(self.alias)
        return key if alias == DEFAULT_DB_ALIAS else f"{key}@{alias}"


def _text(field: Field, pk: Any) -> str:
    """Write one value one way: "1" and 1 are the same row, and so must be their keys."""
    if parts := getattr(field, "fields", None):  # a composite key
        if not isinstance(pk, (list, tuple)):
            raise ValueError(f"A pk of {len(parts)} columns is a tuple, not {pk!r}.")
        return ",".join(_text(*pair) for pair in zip(parts, pk, strict=True))
    value = field.get_prep_value(pk)
    if value is None:
        raise ValueError("None is no pk.")
    if isinstance(value, Decimal):
        value = value.normalize()
    elif isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC)
    return quote(str(value), safe="")


# Databases


def identity(alias: str) -> tuple[str, ...]:
    """Return what tells the database of `alias` from others: engine, host, port, name.

    It is worked out at each call: tests change the names of databases after start-up.
    """
    connection = connections[alias]
    config = connection.settings_dict
    name = str(config["NAME"])
    if connection.vendor == "sqlite" and not is_in_memory(alias):
        name = _real_path(name)
    return (connection.vendor, config["HOST"], str(config["PORT"]), name)


def is_in_memory(alias: str) -> bool:
    """Is the database of `alias` an SQLite in this process's memory?"""
    connection = connections[alias]
    return connection.vendor == "sqlite" and connection.is_in_memory_db()


@memoize
def _real_path(name: str) -> str:
    return str(Path(name).resolve())


def canonical(alias: str) -> str:
    """Return the alias that stands for all those of the same database, the default one first.

    Aliases are taken for the same database if engine, host, port and name are the same, or if
    the setting `CACHING_SAME_DATABASE`, as in {"pooler": "default"}, says so.
    """
    if alias == DEFAULT_DB_ALIAS:
        return alias
    if same := getattr(settings, "CACHING_SAME_DATABASE", {}).get(alias):
        return same
    own = identity(alias)
    aliases = sorted(connections, key=lambda other: other != DEFAULT_DB_ALIAS)
    return next(other for other in aliases if identity(other) == own)


# Which models are cached, and which of them share rows

_configs: dict[type[Model], Config] = {}
_families: dict[str, set[type[Model]]] = {}  # by database table: the cached models to be held


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
        family |= _families.get(table, set())
    if not family:
        return
    for table, members in list(_families.items()):
        if members & family:
            tables.append(table)
    for table in tables:
        _families[table] = family


def cached_models() -> Iterator[type[Model]]:
    """Yield every cached model."""
    yield from _configs


def config_of(model: type[Model]) -> Config:
    """Return what the manager of `model`, a cached model, was given."""
    return _configs[model]


def is_cached(model: type[Model]) -> bool:
    """Has a row of `model`, whatever class it is written by, a place in the cache?"""
    return model._meta.concrete_model._meta.db_table in _families


def tables_written_by(model: type[Model], alias: str) -> list[Table]:
    """Return the tables that a write through `model` changes, by the database's name for them.

    So it works for proxies, parents, children and the historical models of migrations alike.
    """
    family = _families.get(model._meta.concrete_model._meta.db_table, ())
    return [Table(member, alias) for member in sorted(family, key=lambda m: m._meta.label)]


def pks_by_key(table: Table, pks: Iterable[Any]) -> dict[str, Any]:
    """Return `pks` by their keys."""
    return {table.key(pk): pk for pk in pks}
