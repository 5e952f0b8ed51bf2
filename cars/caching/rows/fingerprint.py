"""A row's fingerprint: it says of which model, schema, database and time zone the row is.

A row with another fingerprint can't be used: it is of another database, or of a model that has
changed since.
"""

import os
from collections.abc import Mapping
from copy import deepcopy
from functools import cache as memoize
from hashlib import sha256
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.db import connections
from django.db.models import Field, Model

from ..databases import canonical, identity
from ..registry import CachedModel

SIZE = 8  # bytes

# The parts of a database's configuration that decide which rows it has and how they are read.
PARTS = ("ENGINE", "HOST", "PORT", "NAME", "USER", "OPTIONS", "TIME_ZONE")
_parts = itemgetter(*PARTS)


def fingerprint_of(cached: CachedModel) -> bytes:
    """Return the fingerprint of the rows of `cached` as its database is configured now.

    A process can change that while it runs, for example the NAME for each tenant. USER and OPTIONS
    count too, since they can select another schema.
    """
    # The connections of all threads share this dict. Looking up the thread's connection is slower.
    parts = _parts(connections.settings[cached.alias])
    known: Known = cached.__dict__.get("fingerprint", UNKNOWN)  # no call for each hit
    if known[0] != parts or known[1] is not _era:
        database = identity(connections.settings[canonical(cached.alias)])
        rest = [str(part) for part in (*parts[4:], settings.TIME_ZONE, settings.USE_TZ)]
        digest = _digest(cached.model, (*database, *rest))
        # Copied, since OPTIONS can be changed in place.
        known = cached.__dict__["fingerprint"] = deepcopy(parts), _era, digest
    return known[2]


Known = tuple[Any, object, bytes]  # parts, era, fingerprint
UNKNOWN: Known = (None, None, b"")

# Another object when what isn't looked at for each hit has changed: settings, which only tests
# change, and the process, which a database in memory is private to.
_era = object()


def _begin_era(**kwargs: Any) -> None:
    global _era
    _era = object()


os.register_at_fork(after_in_child=_begin_era)
setting_changed.connect(_begin_era)


@memoize
def _digest(model: type[Model], database: tuple[str, ...]) -> bytes:
    fields = [(f.attname, f.column, _description(f)) for f in model._meta.concrete_fields]
    return sha256(repr((model._meta.label, fields, database)).encode()).digest()[:SIZE]


def _description(value: Any) -> Any:
    """Return a description of a field, or of a part of one: it changes with the column's values.

    It is the same in every process: functions and classes are named, without their address.
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
