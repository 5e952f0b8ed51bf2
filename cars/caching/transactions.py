"""When a writer's holds are taken, released and let go: what becomes of a transaction.

A release belongs after the COMMIT, and Django has a hook for that. Of a rollback nobody tells;
nor does the hook run when a savepoint is undone, or somebody else's hook raises first. So who
holds is remembered on the connection and looked at again later, at the next use of the cache and
at the end of the request, when it is certain what has become of it.
"""

import logging
import os
from collections.abc import Iterable
from enum import Enum, auto
from time import perf_counter
from typing import Any
from weakref import ref

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.transaction import TransactionManagementError

from . import events, store
from .entries import is_of_the_past, new_token
from .keys import Table, pks_by_key

logger = logging.getLogger(__name__)


class Writer:
    """Who holds: a token, and the keys that it was put on."""

    def __init__(self, alias: str) -> None:
        self.token = new_token(alias)
        self.held: dict[Table, store.Keys] = {}

    def hold(self, tables: Iterable[Table], pks: Iterable[Any]) -> None:
        """Hold the rows `pks` of each of `tables`."""
        pks = list(pks)
        for table in tables:
            keys = pks_by_key(table, pks)
            # Noted first: an interrupt in the middle of the call may leave the hold standing.
            self.held.setdefault(table, {}).update(keys)
            store.hold(table, keys, self.token)

    def holds(self, table: Table, pk: Any) -> bool:
        """Does it hold the row `pk` of `table`?"""
        return table.key(pk) in self.held.get(table, {})

    def release(self) -> None:
        """Release all that is held: it is committed."""
        for table, keys in self.held.items():
            store.release(table, keys, self.token)

    def let_go(self) -> None:
        """Let go of all that is held: it is not to be committed any more."""
        for table, keys in self.held.items():
            store.let_go(table, keys, self.token)


class End(Enum):
    """What has become of a transaction."""

    UNDER_WAY = auto()
    COMMITTED = auto()
    UNDONE = auto()  # rolled back; or committed, and the hook was lost to somebody else's error
    IN_DOUBT = auto()  # the connection broke, so nobody knows; or another process's or test's


_process = object()  # another one in each forked child


def _be_another_process() -> None:
    global _process
    _process = object()


os.register_at_fork(after_in_child=_be_another_process)


class Transaction(Writer):
    """What one transaction holds, and which rows it missed in the cache."""

    alive: set["ref[Transaction]"] = set()  # of all threads: mostly there is none

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection.alias)
        connection.ensure_connection()
        self.connection = connection
        self.dbapi_connection = connection.connection
        self.process = _process
        self.planned: dict[Table, store.Keys] = {}
        self.missed: dict[Table, store.Keys] = {}
        self.alive.add(ref(self, self.alive.discard))

    def plan(self, tables: Iterable[Table], pk: Any) -> None:
        """Note that the row `pk` will be held."""
        for table in tables:
            keys = pks_by_key(table, [pk])
            self.held.setdefault(table, {}).update(keys)
            self.planned.setdefault(table, {}).update(keys)

    def hold_planned(self) -> None:
        """Hold all at once what was planned one by one."""
        planned, self.planned = self.planned, {}
        for table, keys in planned.items():
            store.hold(table, keys, self.token)

    def listen(self) -> None:
        """Have the COMMIT call us, if it doesn't yet: a savepoint undone takes its hooks along."""
        if not self.listed():
            try:
                self.connection.on_commit(self.committed, robust=True)
            except TransactionManagementError:
                pass  # autocommit is off by hand: there are no hooks

    def listed(self) -> bool:
        """Is our hook among those that the COMMIT will call?"""
        return any(hook == self.committed for _, hook, _ in self.connection.run_on_commit)

    def committed(self) -> None:
        """Release, fill what was missed, and be done: the commit hook."""
        if self.connection.__dict__.get(NAME) is not self or self.process is not _process:
            return
        self.release()
        for table, keys in self.missed.items():
            held = self.held.get(table, {})
            store.warm(table, {key: pk for key, pk in keys.items() if key not in held})
        del self.connection.__dict__[NAME]

    def end(self) -> End:
        """Return what has become of it. The order of the questions matters."""
        connection = self.connection
        if self.process is not _process or is_of_the_past(self.token):
            return End.IN_DOUBT
        if connection.connection is not self.dbapi_connection or connection.closed_in_transaction:
            return End.IN_DOUBT
        if is_open(connection):
            return End.UNDER_WAY
        # Inside a TestCase, the hooks of an inner atomic() stay listed and are never called.
        return End.COMMITTED if self.listed() else End.UNDONE


NAME = "caching_transaction"  # where a connection keeps its Transaction


def is_open(connection: BaseDatabaseWrapper) -> bool:
    """Is a transaction open? A TestCase's own doesn't count, as for `durable=True` in Django."""
    if connection.in_atomic_block:
        return not all(block._from_testcase for block in connection.atomic_blocks)
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


def settle(connection: BaseDatabaseWrapper) -> None:
    """Release or let go what the connection's last transaction has held, if that is over."""
    transaction = connection.__dict__.get(NAME)
    if transaction is None:
        return
    end = transaction.end()
    if end is End.UNDER_WAY:
        return
    if end is End.COMMITTED:
        transaction.committed()
        return
    del connection.__dict__[NAME]
    # In doubt the holds stay, to their deadline.
    if end is End.UNDONE:
        transaction.let_go()


def settle_all(**kwargs: Any) -> None:
    """Settle every connection of this thread: the receiver of `request_finished`.

    It never raises: the receivers after it would not be called.
    """
    for connection in connections.all(initialized_only=True):
        try:
            settle(connection)
        except Exception:
            logger.exception("What was held on %r could not be settled", connection.alias)


def current(alias: str) -> Transaction | None:
    """Return the open transaction of `alias`, its commit hook in place, or None in autocommit."""
    connection = connections[alias]
    settle(connection)
    if not is_open(connection):
        return None
    if NAME not in connection.__dict__:
        connection.__dict__[NAME] = Transaction(connection)
    transaction = connection.__dict__[NAME]
    transaction.listen()
    return transaction


# What the recipe does, in a transaction or without

NONE: store.Keys = {}


def read(table: Table, keys: store.Keys) -> dict[str, Model]:
    """Return the rows with these keys; what doesn't exist is missing.

    In a transaction nothing is filled, for it may see what nobody else does; what it misses is
    filled after its COMMIT. The rows that it holds it reads from the database.
    """
    held = _held(table)
    found = store.hits(table, [key for key in keys if key not in held])
    if len(found) == len(keys):
        return found
    rest = {key: pk for key, pk in keys.items() if key not in found}
    return found | _read_misses(table, rest, held)


def read_one(table: Table, key: str, pk: Any) -> Model | None:
    """Return what `read` does, for one row; None if it doesn't exist."""
    held = _held(table)
    found = None if key in held else store.hit(table, key)
    return _read_misses(table, {key: pk}, held).get(key) if found is None else found


def _held(table: Table) -> store.Keys:
    """Return the keys that the open transaction holds, and settle one that is over."""
    if not Transaction.alive:
        return NONE
    connection = connections[table.alias]
    settle(connection)
    transaction = connection.__dict__.get(NAME)
    return transaction.held.get(table, NONE) if transaction else NONE


def _read_misses(table: Table, keys: store.Keys, held: store.Keys) -> dict[str, Model]:
    if not is_open(connections[table.alias]):
        return store.read_misses(table, keys)
    started = perf_counter()
    current(table.alias).missed.setdefault(table, {}).update(keys)
    for key in keys:
        events.tell(events.HELD if key in held else events.MISS, table.model, started, key)
    return store.read_database(table, keys)


def hold(tables: Iterable[Table], pks: Iterable[Any], alias: str) -> None:
    """Hold the rows `pks` until the transaction ends; without one, release them at once."""
    transaction = current(alias)
    writer = transaction or Writer(alias)
    writer.hold(tables, pks)
    if not transaction:
        writer.release()


def saving(tables: Iterable[Table], instance: Model, alias: str) -> None:
    """Hold the row of `instance` before it is written; without a transaction that is the COMMIT."""
    writer = current(alias)
    if not writer:
        writer = Writer(alias)
        # On the instance, the innermost save last. If a save raises, its hold stays to its
        # deadline: from here it can't be told from one still under way further up the stack.
        # Never changed in place: copies of the instance have this very tuple.
        state = instance._state.__dict__
        state[NAME] = (*state.get(NAME, ()), writer)
    # Where the database chooses the pk, there is nobody to mislead before.
    if instance._is_pk_set():
        writer.hold(tables, [instance.pk])


def saved(tables: Iterable[Table], instance: Model, alias: str) -> None:
    """Hold the row of `instance` if its pk wasn't known before; without a transaction release."""
    writer = transaction = current(alias)
    if not transaction:
        *outer, writer = instance._state.__dict__.pop(NAME, (Writer(alias),))
        if outer:
            instance._state.__dict__[NAME] = tuple(outer)
    writer.hold([table for table in tables if not writer.holds(table, instance.pk)], [instance.pk])
    if not transaction:
        writer.release()


def deleting(tables: Iterable[Table], pk: Any, alias: str) -> None:
    """Note that the row `pk` is to be deleted; Django says so one by one, before all the SQL."""
    if transaction := current(alias):
        transaction.plan(tables, pk)


def deleted(alias: str) -> None:
    """Hold, all at once, the rows that were to be deleted; Django is still in its transaction."""
    if transaction := current(alias):
        transaction.hold_planned()
