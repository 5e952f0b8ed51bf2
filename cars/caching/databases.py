"""Which aliases lead to the same database, and which transactions are a test's own."""

import os
import sys
from functools import cache as memoize
from pathlib import Path
from secrets import token_hex

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper


def identity(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Return what tells the database of `connection` from others: engine, host, port, name.

    Computed at each call: tests change the names of databases after start-up.
    """
    config = connection.settings_dict
    engine, name = config["ENGINE"], config["NAME"]
    if not engine.endswith("sqlite3"):
        return (engine, config["HOST"], str(config["PORT"]), str(name))
    if name == ":memory:" or "mode=memory" in str(name):
        return (engine, str(name), _random_of(os.getpid()))  # private to this process
    return (engine, _real_path(str(name)))


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
    own = identity(connections[alias])
    aliases = sorted(connections, key=lambda other: other != DEFAULT_DB_ALIAS)
    return next(other for other in aliases if identity(connections[other]) == own)


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Is a transaction open? A TestCase's own doesn't count, as for `durable=True` in Django."""
    if connection.in_atomic_block:
        return not all(block._from_testcase for block in connection.atomic_blocks)
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


def test_namespace() -> str:
    """Return the namespace of the keys of the innermost open TestCase block; "" outside of one.

    It is random and belongs to that block alone. So what a test leaves in the cache is a miss for
    every other test, and is never seen again once the test has ended.
    """
    if "django.test.testcases" not in sys.modules:
        return ""
    for connection in connections.all(initialized_only=True):
        for block in reversed(connection.atomic_blocks):
            if block._from_testcase:
                if not hasattr(block, "caching_namespace"):
                    block.caching_namespace = f"{token_hex(8)}."
                return block.caching_namespace
    return ""
