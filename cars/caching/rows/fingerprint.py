"""A row's fingerprint: of which model, schema, database and time zone it is.

A row with another fingerprint can't be used: it is of another database, or of a model that has
changed since.
"""

import os
from collections.abc import Mapping
from functools import cache as memoize
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.models import Field, Model

from ..databases import canonical, identity
from ..registry import CachedModel

SIZE = 8  # bytes

_known: dict[CachedModel, tuple[tuple[Any, ...], bytes]] = {}  # the last fingerprints


def fingerprint_of(cached: CachedModel) -> bytes:
    """Return the fingerprint of the rows of `cached` as its database is configured now.

    A process can change that while it runs, for example the NAME for each tenant. USER and OPTIONS
    count too, since they can select another schema.
    """
    # All threads' connections share this dict; to look up a thread's own takes longer.
    config = connections.settings[cached.alias]
    now = (
        config["ENGINE"],
        config["HOST"],
        config["PORT"],
        config["NAME"],
        config["USER"],
        config["OPTIONS"],
        config["TIME_ZONE"],
        settings.TIME_ZONE,
        settings.USE_TZ,
        os.getpid(),  # a database in memory is private to a process
    )
    before, fingerprint = _known.get(cached, (None, b""))
    if before != now:
        options = dict(config["OPTIONS"])
        database = identity(connections.settings[canonical(cached.alias)])
        user = (config["USER"], repr(sorted(options.items())))
        zone = (str(config["TIME_ZONE"]), settings.TIME_ZONE, str(settings.USE_TZ))
        fingerprint = _digest(cached.model, (*database, *user, *zone))
        _known[cached] = ((*now[:5], options, *now[6:]), fingerprint)
    return fingerprint


@memoize
def _digest(model: type[Model], database: tuple[str, ...]) -> bytes:
    fields = [(f.attname, f.column, _description(f)) for f in model._meta.concrete_fields]
    return sha256(repr((model._meta.label, fields, database)).encode()).digest()[:SIZE]


def _description(value: Any) -> Any:
    """Return what says of a field, as of its parts, which values its column has.

    The same in every process: functions and classes are named, not shown with their address.
    """
    if isinstance(value, Field):
        _, path, arguments, options = value.deconstruct()
        options = {name: options[name] for name in options if name not in value.non_db_attrs}
        return path, _description(arguments), _description(options)
    if isinstance(value, Mapping):
        return [(name, _description(value[name])) for name in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return [_description(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    if hasattr(value, "deconstruct"):
        return _description(value.deconstruct())
    if hasattr(value, "resolve_expression"):
        return repr(value)
    return f"{type(value).__module__}.{type(value).__qualname__}"
