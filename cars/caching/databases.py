"""Which database an alias leads to, which aliases lead to the same one, and open transactions."""

import os
from functools import cache as memoize
from pathlib import Path
from secrets import token_hex
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

OPEN = (2, 3)  # libpq's PQTRANS_INTRANS and PQTRANS_INERROR


def identity(config: dict[str, Any]) -> tuple[str, ...]:
    """Return what identifies a database: engine, host, port and name of its configuration.

    Computed at each call: tests change the names of databases after start-up.
    """
    engine, name = config["ENGINE"], config["NAME"]
    if not engine.endswith("sqlite3"):
        return (engine, config["HOST"], str(config["PORT"]), str(name))
    if is_in_memory(config):
        return (engine, str(name), _random_of(os.getpid()))  # private to this process
    return (engine, _real_path(str(name)))


def is_in_memory(config: dict[str, Any]) -> bool:
    """Is this the configuration of an SQLite database in the memory of its process?"""
    name = str(config["NAME"])
    return config["ENGINE"].endswith("sqlite3") and (name == ":memory:" or "mode=memory" in name)


@memoize
def _random_of(process: int) -> str:
    return token_hex(8)


@memoize
def _real_path(name: str) -> str:
    return str(Path(name).resolve())


def canonical(alias: str) -> str:
    """Return the alias that stands for all aliases of the same database, the default one first.

    Aliases lead to the same database if engine, host, port and name are the same, or if the
    setting `CACHING_SAME_DATABASE`, for example {"pooler": "default"}, says so.
    """
    if alias == DEFAULT_DB_ALIAS:
        return alias
    same: dict[str, str] = getattr(settings, "CACHING_SAME_DATABASE", {})
    if alias in same:
        return same[alias]
    own = identity(connections[alias].settings_dict)
    aliases = sorted(connections, key=lambda other: other != DEFAULT_DB_ALIAS)
    return next(other for other in aliases if identity(connections[other].settings_dict) == own)


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Is a transaction open? That of a TestCase doesn't count, as for `durable=True` in Django.

    The driver is asked too: it knows a BEGIN that was executed as SQL, without a round trip.
    """
    if connection.in_atomic_block:
        blocks: Any = connection.atomic_blocks
        return not all(block._from_testcase for block in blocks)
    dbapi_connection = connection.connection
    if dbapi_connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    if not connection.autocommit:
        return True
    if connection.vendor == "postgresql":
        return dbapi_connection.info.transaction_status in OPEN
    return getattr(dbapi_connection, "in_transaction", False)
