"""What stands under a key: a row, a reader's lease or the holds of writers.

A row is stored as the values of its fields behind a mark, which says whose it is. A row whose
mark is not one of ours can't be used: it is of another database, of a model that has changed
since, or of another test.
"""

import os
import pickle
import time
from dataclasses import dataclass
from functools import cache as memoize
from hashlib import sha256
from secrets import token_bytes, token_hex
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.transaction import Atomic

from .keys import Table, cached_models, canonical, identity, is_in_memory

MARK = 8  # bytes of a mark's first half, the layout; the second half is the test's
NO_TEST = bytes(MARK)

# The TestCase blocks that this process has seen, and their connections, by their marks.
_tests: dict[bytes, tuple[BaseDatabaseWrapper, Atomic]] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """A row, packed."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """A reader's lease: whose `token` it bears may fill."""

    token: str


@dataclass(frozen=True, slots=True)
class Holds:
    """The holds of writers: deadlines, in seconds since 1970, by token."""

    deadlines: dict[str, float]

    def plus(self, token: str, deadline: float) -> "Holds":
        """Return these and one more."""
        return Holds(self._standing() | {token: deadline})

    def minus(self, token: str) -> "Holds":
        """Return these without `token`, and without those whose deadline has passed."""
        standing = self._standing()
        standing.pop(token, None)
        return Holds(standing)

    def _standing(self) -> dict[str, float]:
        now = time.time()
        return {token: end for token, end in self.deadlines.items() if end > now}

    @property
    def timeout(self) -> float:
        """Seconds that they are to be kept: to the latest deadline, and never less.

        Memcached takes whole seconds, and counts them from its last tick.
        """
        return max(self.deadlines.values()) - time.time() + 2


def new_token(alias: str) -> str:
    """Return a random token: nobody else's. Inside a TestCase it also bears the test's mark."""
    token = token_hex(8)
    test = _test_marks(alias)[-1]
    return token if test == NO_TEST else f"{test.hex()}.{token}"


def living(value: Any) -> Any:
    """Return `value`, what stands under a key, without leases and holds of tests that are over.

    A test that ends in the middle leaves them behind, and the next one has the same pks. So one
    that bears a mark is nobody's, unless that test is under way in this process.
    """
    if isinstance(value, Lease):
        return None if _is_of_the_past(value.token) else value
    if isinstance(value, Holds):
        deadlines = {t: end for t, end in value.deadlines.items() if not _is_of_the_past(t)}
        return Holds(deadlines) if deadlines else None
    return value


def _is_of_the_past(token: str) -> bool:
    test, _, _ = token.rpartition(".")
    return bool(test) and _is_over(bytes.fromhex(test))


def _is_over(test: bytes) -> bool:
    connection, block = _tests.get(test, (None, None))
    return connection is None or block not in connection.atomic_blocks


# Packing

_this_process = token_hex(8)


def _be_another_process() -> None:
    global _this_process
    _this_process = token_hex(8)


os.register_at_fork(after_in_child=_be_another_process)


def _layout(table: Table) -> bytes:
    """Return the mark of the rows of `table` as it is now: its fields and its database."""
    alias = canonical(table.alias)
    database = identity(alias)
    if is_in_memory(alias):  # they all have the same name, and none is another process's
        database += (_this_process,)
    return _digest(table.model, database)


@memoize
def _digest(model: type[Model], database: tuple[str, ...]) -> bytes:
    fields = [(f.attname, f.column, type(f).__name__) for f in model._meta.concrete_fields]
    return sha256(repr((model._meta.label, fields, database)).encode()).digest()[:MARK]


def _test_marks(alias: str) -> list[bytes]:
    """Return the marks of the open TestCase blocks of `alias`, the innermost last.

    Their rows die with them: no other test accepts the random mark of this one.
    """
    connection = connections[canonical(alias)]
    marks = []
    for block in connection.atomic_blocks:
        if block._from_testcase:
            if not hasattr(block, "caching_mark"):
                block.caching_mark = token_bytes(MARK)
                for mark in [mark for mark in _tests if _is_over(mark)]:
                    del _tests[mark]
                _tests[block.caching_mark] = (connection, block)
            marks.append(block.caching_mark)
    return marks or [NO_TEST]


def field_names(model: type[Model]) -> list[str]:
    """Return the names of the values of a row, in their order."""
    return [field.attname for field in model._meta.concrete_fields]


def pack(table: Table, values: tuple[Any, ...]) -> Row:
    """Return the row of `table` with these values, as `values_list(*field_names())` gives them."""
    return Row(_layout(table) + _test_marks(table.alias)[-1] + pickle.dumps(values))


def make(table: Table, values: tuple[Any, ...]) -> Model:
    """Return the instance of `table` with these values."""
    return table.model.from_db(table.alias, field_names(table.model), values)


_tables: dict[bytes, Table] = {}  # by the mark of their rows, as last looked up


def unpack(row: Row) -> Model | None:
    """Return the instance that `row` holds, or None if it can't be used."""
    layout, test = row.data[:MARK], row.data[MARK : 2 * MARK]
    table = _tables.get(layout)
    if table is None or _layout(table) != layout:
        tables = (Table(model, alias) for model in cached_models() for alias in connections)
        table = next((table for table in tables if _layout(table) == layout), None)
        if table is None:
            return None
        _tables[layout] = table
    if test not in _test_marks(table.alias):
        return None
    try:
        values = pickle.loads(row.data[2 * MARK :])
    except Exception:  # cut short, or of a class that is gone
        return None
    if not isinstance(values, (list, tuple)) or len(values) != len(field_names(table.model)):
        return None
    instance = make(table, values)
    instance._state.caching_row = _UNPACKED
    return instance


class _Unpacked:
    """What an instance bears that was unpacked here; it doesn't survive pickling and copying."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


_UNPACKED = _Unpacked()


def was_unpacked(value: Any, model: type[Model]) -> bool:
    """Is `value` a row of `model`, and not an instance that the application has put there?"""
    return type(value) is model and getattr(value._state, "caching_row", None) is _UNPACKED
