"""Which key a row has, and which cached models share a row."""

import os
from collections.abc import Iterable, KeysView
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache as memoize
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, IntegerField, Model

LONGEST = 100  # characters of a pk in a key; Memcached takes keys of 250 bytes in all


@dataclass(frozen=True, slots=True)
class Config:
    """What a CacheManager was given: seconds a row stays, what its keys begin with, which cache."""

    timeout: int
    prefix: str
    cache: str


@dataclass(frozen=True)
class Table:
    """A cached model on one database."""

    model: type[Model]
    alias: str

    @property
    def config(self) -> Config:
        """What its manager was given."""
        return _configs[self.model]

    @cached_property
    def names(self) -> list[str]:
        """The names of a row's values, in their order."""
        return [field.attname for field in self.model._meta.concrete_fields]

    @property
    def cache(self) -> BaseCache:
        """The cache that its rows are in."""
        return caches[self.config.cache]

    def key(self, pk: Any) -> str:
        """Return the key of the row `pk`: model name, dot, pk, as in "Car.1".

        On another database than the default it ends in that one's alias, as in "Car.1@archive".
        Raises what Django raises for a `pk` that can't be one.
        """
        text = pk
        if type(pk) is not int or not self._is_numbered:
            text = _text(self.model._meta.pk, pk)
            if len(text) > LONGEST:
                text = f"sha256:{sha256(text.encode()).hexdigest()}"
        key = f"{_configs[self.model].prefix}{self.model.__name__}.{text}"
        alias = canonical(self.alias)
        return key if alias == DEFAULT_DB_ALIAS else f"{key}@{alias}"

    @cached_property
    def _is_numbered(self) -> bool:
        return isinstance(self.model._meta.pk, IntegerField)


@memoize
def table_of(model: type[Model], alias: str) -> Table:
    """Return the table of `model`, a cached model, on the database `alias`."""
    return Table(model, alias)


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


def identity(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Return what tells the database of `connection` from others: engine, host, port, name.

    It is asked for at each call: tests change the names of databases after start-up.
    """
    config = connection.settings_dict
    return _identity(config["ENGINE"], config["HOST"], config["PORT"], config["NAME"])


@memoize
def _identity(engine: str, host: str, port: Any, name: Any) -> tuple[str, ...]:
    if not engine.endswith("sqlite3"):
        return (engine, host, str(port), str(name))
    if name == ":memory:" or "mode=memory" in str(name):
        return (engine, str(name), token_hex(8))  # none is another process's
    return (engine, str(Path(name).resolve()))


os.register_at_fork(after_in_child=_identity.cache_clear)


def canonical(alias: str) -> str:
    """Return the alias that stands for all those of the same database, the default one first.

    Aliases are taken for the same database if engine, host, port and name are the same, or if
    the setting `CACHING_SAME_DATABASE`, as in {"pooler": "default"}, says so.
    """
    if alias == DEFAULT_DB_ALIAS:
        return alias
    if same := getattr(settings, "CACHING_SAME_DATABASE", {}).get(alias):
        return same
    own = identity(connections[alias])
    aliases = sorted(connections, key=lambda other: other != DEFAULT_DB_ALIAS)
    return next(other for other in aliases if identity(connections[other]) == own)


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


def cached_models() -> KeysView[type[Model]]:
    """Return every cached model."""
    return _configs.keys()


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
    return [table_of(member, alias) for member in sorted(family, key=lambda m: m._meta.label)]


def pks_by_key(table: Table, pks: Iterable[Any]) -> dict[str, Any]:
    """Return `pks` by their keys."""
    return {table.key(pk): pk for pk in pks}
