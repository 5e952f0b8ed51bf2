"""When a writer's holds are taken, released and withdrawn: how each transaction ended.

A release comes after the COMMIT, and Django has a hook for that. It has none for a rollback. The
hook doesn't run either when a savepoint is rolled back, or when another hook raises first. So the
connection remembers its Transaction. At the next use of the cache, and at the end of the request,
`settle` finds out how it ended. Everything that decides when is here, as what is done is in
`protocol`.
"""

import logging
import os
from collections.abc import Collection, Iterable
from enum import Enum, auto
from time import perf_counter
from typing import Any
from weakref import ref

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from . import events, owed, protocol
from .backends.base import Blocks, test_namespace
from .databases import in_transaction
from .entries import ABSENT, Seen, new_token
from .keys import pks_of
from .registry import CachedModel, Keys, is_cached, written_by

logger = logging.getLogger(__name__)

TRANSACTION = "caching_transaction"  # the attribute of a connection: its Transaction
SAVES = "caching_saves"  # the attribute of a connection: the writers of saves in autocommit
MOST_SAVES = 200  # that can be under way at once, nested in receivers: Python's stack has no more
NOTHING: Keys = {}


class Writer:
    """A writer: its token, and the keys that it holds."""

    in_autocommit = True

    def __init__(self, connection: BaseDatabaseWrapper, instance: Model | None = None) -> None:
        self.token = new_token()
        self.held_at = perf_counter()  # when its last hold was put, or it began
        self.process = os.getpid()
        self.connection = connection
        self.dbapi_connection = connection.connection
        self.instance = instance
        self.held: dict[CachedModel, Keys] = {}
        self.standing: dict[CachedModel, dict[str, Seen]] = {}  # as the last look saw it
        self.not_held: dict[CachedModel, set[str]] = {}  # what couldn't be held, among these
        self.written: set[type[Model] | None] = set()

    def hold(self, model: type[Model], pks: Collection[Any], are_new: bool = False) -> None:
        """Hold the rows `pks`, which are written through `model`; `are_new`: just created."""
        self.written.add(model._meta.concrete_model)
        for cached in written_by(model, self.connection.alias):
            if keys := cached.known_keys(pks):
                self._hold(cached, keys, are_new)

    def _hold(self, cached: CachedModel, keys: Keys, are_new: bool = False) -> None:
        """Hold these keys; write down what is owed where the cache doesn't answer."""
        # Noted first: an interrupt in the middle of the call may leave the hold standing.
        self.held.setdefault(cached, {}).update(keys)
        standing = self.standing.setdefault(cached, {})
        for key in keys:
            standing.pop(key, None)  # it isn't known if this renewal gets no answer
        seen = protocol.hold(cached, keys, self.token, are_new)
        self.held_at = perf_counter()
        if len(standing) + len(seen) <= protocol.KEPT:
            standing.update((key, at) for key, at in seen.items() if at is not ABSENT)
        if failed := keys.keys() - seen.keys():
            self.not_held.setdefault(cached, set()).update(failed)
            alias = self.connection.alias
            owed.owe(cached, failed, self.token, alias, under_way=self.in_autocommit)

    def tell_committed(self, written: dict[CachedModel, Keys]) -> None:
        """Tell that these rows are committed, with the time since they were held."""
        for cached, keys in written.items():
            events.tell(events.COMMITTED, cached.model, self.held_at, *keys)

    def end(self, is_committed: bool) -> None:
        """Release all that is held if it is committed; withdraw it if it won't be.

        A release fills the rows of the models that were written. Of other models that share a row,
        and of historical models, whose tables may have other columns, the holds are withdrawn.
        """
        alias = self.connection.alias
        for cached, keys in self.held.items():
            is_release = is_committed and cached.model in self.written
            change = protocol.release if is_release else protocol.withdraw
            failed = change(cached, keys, self.token, self.standing.get(cached))
            if not_held := self.not_held.get(cached):
                # In autocommit its record was under way, and is what is owed from now on.
                if owed.end(cached, self.token, alias, under_way=self.in_autocommit):
                    failed -= not_held
            if failed:
                owed.owe(cached, failed, self.token, alias, under_way=False)
                owed.end(cached, self.token, alias, under_way=False)

    def has_lost_its_connection(self) -> bool:
        """Has the connection been closed or replaced, so that the server's answer is unknown?"""
        current = self.connection.connection
        return current is not self.dbapi_connection or getattr(current, "closed", False)


class Outcome(Enum):
    """How a transaction ended."""

    UNDER_WAY = auto()
    COMMITTED = auto()
    UNDONE = auto()  # rolled back; or committed, and the hook was lost since another one raised
    UNKNOWN = auto()  # the connection broke, or the transaction was left behind


class Transaction(Writer):
    """What one transaction holds, and which rows it missed in the cache."""

    in_autocommit = False
    alive: set["ref[Transaction]"] = set()  # of all threads: mostly there is none

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        connection.ensure_connection()
        super().__init__(connection)
        self.namespace = test_namespace()
        self.deleting: dict[CachedModel, Keys] = {}
        self.missed: dict[CachedModel, Keys] = {}
        self.alive.add(ref(self, self.alive.discard))

    def will_delete(self, model: type[Model], pks: Collection[Any]) -> None:
        """Note that the rows `pks` will be held, as soon as all rows to be deleted are known."""
        for cached in written_by(model, self.connection.alias):
            keys = cached.known_keys(pks)
            self.held.setdefault(cached, {}).update(keys)
            self.deleting.setdefault(cached, {}).update(keys)

    def hold_deleted(self) -> None:
        """Hold all at once what was noted one by one."""
        deleting, self.deleting = self.deleting, {}
        for cached, keys in deleting.items():
            self._hold(cached, keys)

    def listen(self) -> None:
        """Register the commit hook, unless it is: a savepoint rolled back removes its hooks.

        There is none where autocommit is off by hand, in a transaction that Django doesn't know,
        and inside a TestCase, where Django calls none and tests count them.
        """
        blocks: Blocks = self.connection.atomic_blocks
        if blocks and not blocks[0]._from_testcase and not self.is_registered():
            self.connection.on_commit(self.finish, robust=True)

    def is_registered(self) -> bool:
        """Is the hook among those that the COMMIT will call?"""
        hooks: list[Any] = self.connection.run_on_commit  # the stubs have pairs
        return any(hook == self.finish for _, hook, _ in hooks)

    def finish(self) -> None:
        """Release what is held and fill what was missed: the commit hook."""
        if self.connection.__dict__.get(TRANSACTION) is not self or self.is_left_behind():
            return
        self.tell_committed(self.held)
        self.end(is_committed=True)
        for cached, keys in self.missed.items():
            held = self.held.get(cached, NOTHING)
            protocol.warm(cached, {key: pk for key, pk in keys.items() if key not in held})
        del self.connection.__dict__[TRANSACTION]

    def is_left_behind(self) -> bool:
        """Is this the transaction of the parent process, or of a test that is over?"""
        return self.process != os.getpid() or self.namespace != test_namespace()

    def outcome(self) -> Outcome:
        """Return how the transaction ended. The order of the questions matters."""
        connection = self.connection
        if self.is_left_behind():
            return Outcome.UNKNOWN
        if self.has_lost_its_connection() or connection.closed_in_transaction:
            return Outcome.UNKNOWN
        if in_transaction(connection):
            return Outcome.UNDER_WAY
        return Outcome.COMMITTED if self.is_registered() else Outcome.UNDONE


def settle(connection: BaseDatabaseWrapper) -> None:
    """Release or withdraw what the connection's last transaction has held, if that has ended."""
    transaction: Transaction | None = connection.__dict__.get(TRANSACTION)
    if transaction is None:
        return
    outcome = transaction.outcome()
    if outcome is Outcome.UNDER_WAY:
        return
    if outcome is Outcome.COMMITTED:
        transaction.finish()
        return
    del connection.__dict__[TRANSACTION]
    if outcome is Outcome.UNDONE:
        transaction.end(is_committed=False)
    # After an unknown outcome the holds stay until their deadline.


def settle_all(**kwargs: Any) -> None:
    """Settle every connection of this thread: a receiver of `request_finished`.

    It never raises: the receivers after it would not be called.
    """
    for connection in connections.all(initialized_only=True):
        try:
            settle(connection)
            # No save of this thread is under way any more: those that are left have raised.
            withdraw_saves(connection.__dict__.pop(SAVES, []))
        except Exception:
            logger.exception("The holds of connection %r could not be settled", connection.alias)


def withdraw_saves(writers: Iterable[Writer]) -> None:
    """Withdraw the holds of saves in autocommit that have raised, if the server has answered.

    Those of the parent process may be under way there.
    """
    for writer in writers:
        if writer.process == os.getpid() and not writer.has_lost_its_connection():
            writer.end(is_committed=False)


def current(alias: str) -> Transaction | None:
    """Return the open transaction of `alias`, its hook registered, or None in autocommit."""
    connection = connections[alias]
    settle(connection)
    if not in_transaction(connection):
        return None
    transaction = connection.__dict__.get(TRANSACTION)
    if transaction is None:
        transaction = connection.__dict__[TRANSACTION] = Transaction(connection)
    transaction.listen()
    return transaction


# Writing, in a transaction or without


def hold(model: type[Model], pks: Collection[Any], alias: str) -> None:
    """Hold the rows `pks`, which are written through `model`, until the transaction ends.

    In autocommit, release them at once.
    """
    transaction = current(alias)
    writer = transaction or Writer(connections[alias])
    writer.hold(model, pks)
    if not transaction:
        writer.end(is_committed=True)


# Receivers of Django's signals. They are called for every model, and ask whether its rows are
# cached at all.


def before_save(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Hold the row of `instance` before it is written: in autocommit, writing is the COMMIT."""
    if not written_by(sender, using):
        return
    writer: Writer | None = current(using)
    if not writer:
        connection = connections[using]
        connection.ensure_connection()
        writer = Writer(connection, instance)
        saves = connection.__dict__.setdefault(SAVES, [])
        saves.append(writer)
        if len(saves) > MOST_SAVES:
            withdraw_saves(saves[:-MOST_SAVES])
            del saves[:-MOST_SAVES]
    # Where the database chooses the pk, no reader can have cached the row yet.
    writer.hold(sender, pks_of(instance, using))


def after_save(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Hold the row of `instance` if its pk wasn't known before; in autocommit release it."""
    written = written_by(sender, using)
    if not written:
        return
    writer: Writer | None = current(using)
    autocommit = writer is None
    if not writer:
        writer = _end_save(connections[using], instance)
    pks = pks_of(instance, using)
    keys = {cached: cached.known_keys(pks) for cached in written}
    if autocommit:
        writer.tell_committed(keys)
    if any(known.keys() - writer.held.get(cached, NOTHING) for cached, known in keys.items()):
        writer.hold(sender, pks, are_new=True)
    if autocommit:
        writer.end(is_committed=True)


def _end_save(connection: BaseDatabaseWrapper, instance: Model) -> Writer:
    """Return the writer of the innermost save of `instance`, which has ended.

    Saves that were begun after it have ended too: those that are left have raised.
    """
    saves: list[Writer] = connection.__dict__.get(SAVES, [])
    for number in reversed(range(len(saves))):
        if saves[number].instance is instance:
            writer, raised = saves[number], saves[number + 1 :]
            del saves[number:]
            withdraw_saves(raised)
            return writer
    return Writer(connection)


def before_delete(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Note that the row will be deleted; Django says so one by one, before all the SQL."""
    if written_by(sender, using) and (transaction := current(using)):
        transaction.will_delete(sender, pks_of(instance, using))


def after_delete(sender: type[Model], using: str, **kwargs: Any) -> None:
    """Hold, all at once, the rows that were deleted; Django is still in its transaction."""
    if is_cached(sender) and (transaction := current(using)):
        transaction.hold_deleted()
