"""Whose a row is: a mark for the model as it is now, its database, and in tests the test.

A row that bears another mark can't be used: it is of another database or time zone, of a model
that has changed since, or of another test.
"""

import sys
from functools import cache as memoize
from hashlib import sha256
from secrets import token_bytes

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.transaction import Atomic

from .keys import Table, canonical, identity

SIZE = 8  # bytes
NO_TEST = b""

# The TestCase blocks that this process has seen, and their connections, by the marks of the tests.
_tests: dict[bytes, tuple[BaseDatabaseWrapper, Atomic]] = {}


def marks_of(table: Table) -> list[bytes]:
    """Return the marks that a row of `table` may bear, the one for new rows last."""
    connection = connections[canonical(table.alias)]
    database = (*identity(connection), connection.timezone_name, str(settings.USE_TZ))
    return [_digest(table.model, database, test) for test in _tests_of(connection)]


def marks_change() -> bool:
    """Can a mark that was good be so no more? Only in tests: databases change names, tests end."""
    return "django.test.testcases" in sys.modules


@memoize
def _digest(model: type[Model], database: tuple[str, ...], test: bytes) -> bytes:
    fields = [(f.attname, f.column, type(f).__qualname__) for f in model._meta.concrete_fields]
    return sha256(repr((model._meta.label, fields, database, test)).encode()).digest()[:SIZE]


def test_of(alias: str) -> bytes:
    """Return the mark of the innermost open TestCase block of `alias`, or NO_TEST."""
    return _tests_of(connections[canonical(alias)])[-1]


def _tests_of(connection: BaseDatabaseWrapper) -> list[bytes]:
    """Return the marks of the open TestCase blocks, the innermost last, or else NO_TEST.

    What they leave in the cache dies with them: no other test knows the random mark of this one.
    """
    marks = []
    for block in connection.atomic_blocks:
        if block._from_testcase:
            if not hasattr(block, "caching_mark"):
                block.caching_mark = token_bytes(SIZE)
                for mark in [mark for mark in _tests if is_over(mark)]:
                    del _tests[mark]
                _tests[block.caching_mark] = (connection, block)
            marks.append(block.caching_mark)
    return marks or [NO_TEST]


def is_over(test: bytes) -> bool:
    """Has the test that bears this mark ended, or is it another process's?"""
    connection, block = _tests.get(test, (None, None))
    return connection is None or block not in connection.atomic_blocks
