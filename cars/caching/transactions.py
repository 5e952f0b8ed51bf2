"""When a writer's holds are taken, released and withdrawn: how each transaction ended.

A release belongs after the COMMIT, and Django has a hook for that. Django tells nobody of a
rollback; and the hook doesn't run when a savepoint is rolled back, or when another hook raises
first. So the connection remembers its Transaction, and at the next use of the cache, and at the end
of the request, it is looked at again: is it certain by now how it ended?
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

from . import events, protocol
from .backends.base import test_namespace
from .entries import new_token
from .registry import CachedModel, Keys, is_cached, written_by

logger = logging.getLogger(__name__)

ON_CONNECTION = "caching_transaction"  # the attribute of a connection: its Transaction
ON_INSTANCE = "caching_writers"  # the attribute of an instance's state: writers in autocommit
NOTHING: Keys = {}


class Writer:
    """What holds: a token, and the keys that it was put on."""

    def __init__(self) -> None:
        self.token = new_token()
        self.held: dict[CachedModel, Keys] = {}

    def hold(self, written: Iterable[CachedModel], pks: Iterable[Any]) -> None:
        """Hold the rows `pks` of each cached model in `written`."""
        pks = list(pks)
        for cached in written:
            keys = cached.keys(pks)
            # Noted first: an interrupt in the middle of the call may leave the hold standing.
            self.held.setdefault(cached, {}).update(keys)
            protocol.hold(cached, keys, self.token)

    def release(self) -> None:
        """Release all that is held, since it is committed."""
        for cached, keys in self.held.items():
            protocol.release(cached, keys, self.token)

    def withdraw(self) -> None:
        """Withdraw all holds, since nothing will be committed."""
        for cached, keys in self.held.items():
            protocol.withdraw(cached, keys, self.token)


class Outcome(Enum):
    """How a transaction ended."""

    UNDER_WAY = auto()
    COMMITTED = auto()
    UNDONE = auto()  # rolled back; or committed, and the hook was lost since another one raised
    UNKNOWN = auto()  # the connection broke, or the transaction was left behind


class Transaction(Writer):
    """What one transaction holds, and which rows it missed in the cache."""

    alive: set["ref[Transaction]"] = set()  # of all threads: mostly there is none

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__()
        connection.ensure_connection()
        self.connection = connection
        self.dbapi_connection = connection.connection
        self.process = os.getpid()
        self.namespace = test_namespace()
        self.deleting: dict[CachedModel, Keys] = {}
        self.missed: dict[CachedModel, Keys] = {}
        self.alive.add(ref(self, self.alive.discard))

    def will_delete(self, written: Iterable[CachedModel], pk: Any) -> None:
        """Note that the row `pk` will be held, as soon as all rows to be deleted are known."""
        for cached in written:
            keys = cached.keys([pk])
            self.held.setdefault(cached, {}).update(keys)
            self.deleting.setdefault(cached, {}).update(keys)

    def hold_deleted(self) -> None:
        """Hold all at once what was noted one by one."""
        deleting, self.deleting = self.deleting, {}
        for cached, keys in deleting.items():
            protocol.hold(cached, keys, self.token)

    def listen(self) -> None:
        """Register the commit hook, unless it is: a savepoint rolled back removes its hooks."""
        if not self.is_registered():
            try:
                self.connection.on_commit(self.finish, robust=True)
            except TransactionManagementError:
                pass  # autocommit is off by hand: there are no hooks

    def is_registered(self) -> bool:
        """Is the hook among those that the COMMIT will call?"""
        return any(hook == self.finish for _, hook, _ in self.connection.run_on_commit)

    def finish(self) -> None:
        """Release what is held and fill what was missed: the commit hook."""
        if self.connection.__dict__.get(ON_CONNECTION) is not self or self.is_left_behind():
            return
        self.release()
        for cached, keys in self.missed.items():
            held = self.held.get(cached, NOTHING)
            protocol.warm(cached, {key: pk for key, pk in keys.items() if key not in held})
        del self.connection.__dict__[ON_CONNECTION]

    def is_left_behind(self) -> bool:
        """Is this the transaction of the parent process, or of a test that is over?"""
        return self.process != os.getpid() or self.namespace != test_namespace()

    def outcome(self) -> Outcome:
        """Return how the transaction ended. The order of the questions matters."""
        connection = self.connection
        if self.is_left_behind():
            return Outcome.UNKNOWN
        if connection.connection is not self.dbapi_connection or connection.closed_in_transaction:
            return Outcome.UNKNOWN
        if in_transaction(connection):
            return Outcome.UNDER_WAY
        # Inside a TestCase, the hooks of an inner atomic() stay registered and are never called.
        return Outcome.COMMITTED if self.is_registered() else Outcome.UNDONE


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Is a transaction open? A TestCase's own doesn't count, as for `durable=True` in Django."""
    if connection.in_atomic_block:
        return not all(block._from_testcase for block in connection.atomic_blocks)
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


def settle(connection: BaseDatabaseWrapper) -> None:
    """Release or withdraw what the connection's last transaction has held, if that has ended."""
    transaction: Transaction | None = connection.__dict__.get(ON_CONNECTION)
    if transaction is None:
        return
    outcome = transaction.outcome()
    if outcome is Outcome.UNDER_WAY:
        return
    if outcome is Outcome.COMMITTED:
        transaction.finish()
        return
    del connection.__dict__[ON_CONNECTION]
    # Unknown outcome: the holds stay until their deadline.
    if outcome is Outcome.UNDONE:
        transaction.withdraw()


def settle_all(**kwargs: Any) -> None:
    """Settle every connection of this thread: a receiver of `request_finished`.

    It never raises: the receivers after it would not be called.
    """
    for connection in connections.all(initialized_only=True):
        try:
            settle(connection)
        except Exception:
            logger.exception("The holds of connection %r could not be settled", connection.alias)


def current(alias: str) -> Transaction | None:
    """Return the open transaction of `alias`, its hook registered, or None in autocommit."""
    connection = connections[alias]
    settle(connection)
    if not in_transaction(connection):
        return None
    transaction = connection.__dict__.get(ON_CONNECTION)
    if transaction is None:
        transaction = connection.__dict__[ON_CONNECTION] = Transaction(connection)
    transaction.listen()
    return transaction


# Reading, in a transaction or without


def read_one(cached: CachedModel, key: str, pk: Any) -> Model | None:
    """Return the row under `key`; None if it doesn't exist.

    In a transaction nothing is filled, since it may see what no other transaction does. What it
    misses is filled after its COMMIT. The rows that it holds it reads from the database.
    """
    held = _held(cached) if Transaction.alive else NOTHING
    found = None if key in held else protocol.look_up(cached, key)
    return _read_misses(cached, {key: pk}, held).get(key) if found is None else found


def read_many(cached: CachedModel, keys: Keys) -> dict[str, Model]:
    """Return, by key, the rows with these keys that exist, as `read_one` does."""
    held = _held(cached) if Transaction.alive else NOTHING
    found = protocol.look_up_many(cached, [key for key in keys if key not in held])
    if len(found) == len(keys):
        return found
    rest = {key: pk for key, pk in keys.items() if key not in found}
    return found | _read_misses(cached, rest, held)


def _held(cached: CachedModel) -> Keys:
    """Return the keys that the open transaction holds, and settle one that has ended."""
    connection = connections[cached.alias]
    settle(connection)
    transaction: Transaction | None = connection.__dict__.get(ON_CONNECTION)
    return transaction.held.get(cached, NOTHING) if transaction else NOTHING


def _read_misses(cached: CachedModel, keys: Keys, held: Keys) -> dict[str, Model]:
    transaction = current(cached.alias)
    if transaction is None:
        return protocol.read_misses(cached, keys)
    started = perf_counter()
    transaction.missed.setdefault(cached, {}).update(keys)
    for key in keys:
        outcome = events.HELD if key in held else events.MISS
        events.tell(outcome, cached.model, started, key)
    return protocol.read_database(cached, keys)


# Writing, in a transaction or without


def hold(written: Iterable[CachedModel], pks: Iterable[Any], alias: str) -> None:
    """Hold the rows `pks` until the transaction ends; without one, release them at once."""
    transaction = current(alias)
    writer = transaction or Writer()
    writer.hold(written, pks)
    if not transaction:
        writer.release()


# Receivers of Django's signals. Django knows senders by id(), and the historical classes of
# migrations come and go. So each receiver asks whether its sender's rows are cached at all.


def before_save(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Hold the row of `instance` before it is written: in autocommit, writing is the COMMIT."""
    written = written_by(sender, using)
    if not written:
        return
    writer: Writer | None = current(using)
    if not writer:
        writer = Writer()
        # Kept on the instance, the innermost save last. If a save raises, its hold stays until its
        # deadline: here it can't be told from a save that is still under way further up the stack.
        # Never changed in place: copies of the instance have this very tuple.
        state = instance._state.__dict__
        state[ON_INSTANCE] = (*state.get(ON_INSTANCE, ()), writer)
    # Where the database chooses the pk, no reader can have cached the row yet.
    if instance._is_pk_set():
        writer.hold(written, [instance.pk])


def after_save(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Hold the row of `instance` if its pk wasn't known before; in autocommit release it."""
    written = written_by(sender, using)
    if not written:
        return
    transaction = current(using)
    writer: Writer | None = transaction
    if not writer:
        *outer, writer = instance._state.__dict__.pop(ON_INSTANCE, (Writer(),))
        if outer:
            instance._state.__dict__[ON_INSTANCE] = tuple(outer)
    pk, held = instance.pk, writer.held
    writer.hold([c for c in written if c.key(pk) not in held.get(c, NOTHING)], [pk])
    if not transaction:
        writer.release()


def before_delete(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Note that the row will be deleted; Django says so one by one, before all the SQL."""
    written = written_by(sender, using)
    if written and (transaction := current(using)):
        transaction.will_delete(written, instance.pk)


def after_delete(sender: type[Model], using: str, **kwargs: Any) -> None:
    """Hold, all at once, the rows that were deleted; Django is still in its transaction."""
    if is_cached(sender) and (transaction := current(using)):
        transaction.hold_deleted()
