"""Withdrawals that a writer owes, since Memcached didn't answer.

A writer that can't reach the server can't tell readers there that a row has changed. So it writes
down what it owes where every reader can see it: in the database, in the transaction of the write.
Each process looks at these records once a second. What is owed counts as held: it is not served
from the cache. The first process that reaches the server withdraws the holds, by which a row or a
lease is expired, and deletes the record. So a read is stale for TOO_OLD seconds at most.
"""

import os
import sys
from collections.abc import Collection, Iterable
from copy import copy
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter

from django.apps import apps
from django.db import ProgrammingError, connections

from . import events, protocol, records
from .databases import is_in_memory
from .entries import SwapCache
from .records import Look, Record, log_once
from .registry import CachedModel, Keys
from .rows import PARTS

FRESH = 1.0  # seconds after a look until a reader looks again
TOO_OLD = 1.25  # seconds after a look from which on readers wait for the next one
WAIT = TOO_OLD - FRESH  # seconds that they wait
MOST_CONNECTIONS = 10  # that stay open for looks; there can be a database for each tenant

in_tests = False  # without it nothing is owed in test runs: their databases come and go


@dataclass
class Own:
    """What a writer of this process owes. It counts before its record can be seen."""

    names: set[str]
    deadline: float  # all times here are by `perf_counter`
    ended: float | None = None  # when its transaction has ended


@dataclass
class Ledger:
    """What this process knows of what is owed for one cache, in one database and schema."""

    cache: str
    trusted_until: float = 0.0  # until then it is known that nothing is owed
    looked: float = float("-inf")  # when the last look began
    names: set[str] = field(default_factory=set)
    untrusted: set[str] = field(default_factory=set)  # the labels of models with too many records
    own: dict[str, Own] = field(default_factory=dict)  # by the tokens of the writers
    withdrawn: set[int] = field(default_factory=set)  # pks of records that were done once
    look: Look | None = None
    looking: Lock = field(default_factory=Lock)  # one thread at a time
    changing: Lock = field(default_factory=Lock)  # for a moment
    process: int = field(default_factory=os.getpid)

    def add(self, token: str, names: Iterable[str]) -> None:
        """Note what a writer of this process owes."""
        now = perf_counter()
        with self.changing:
            self._forget_own(ended_before=now - TOO_OLD)  # a look has begun since, or will
            own = self.own.setdefault(token, Own(set(), now + protocol.setting("CACHING_HOLD")))
            own.names.update(names)
            own.ended = None
            self.trusted_until = 0.0

    def end(self, token: str) -> None:
        """Note that the transaction of a writer has ended: a look from now on sees its record."""
        if own := self.own.get(token):
            own.ended = perf_counter()

    def _forget_own(self, ended_before: float) -> None:
        now = perf_counter()
        for token, own in list(self.own.items()):
            if own.deadline < now or (own.ended is not None and own.ended < ended_before):
                del self.own[token]

    def counts(self, name: str) -> bool:
        """Is something owed on the entry `name`?"""
        return name in self.names or any(name in own.names for own in list(self.own.values()))

    def is_known(self, cached: CachedModel) -> bool:
        """Is it known what is owed? One thread looks once a second, the others wait a little."""
        age = perf_counter() - self.looked
        if age < FRESH:
            return True
        if self.looking.acquire(blocking=False):
            try:
                self._look(cached)
            finally:
                self.looking.release()
            return True
        if age < TOO_OLD:
            return True
        if self.looking.acquire(timeout=WAIT):
            self.looking.release()
            return True
        return False

    def _look(self, cached: CachedModel) -> None:
        began = perf_counter()
        try:
            if not self.look:
                self.look = Look(cached.alias)
            found, untrusted = self.look.read(self.cache)
        except Exception as error:
            # What is known stays, and the database isn't asked again for a second; where the table
            # is missing, which no second changes, not for a minute.
            log_once("What is owed can't be read", error)
            with self.changing:
                self.looked = began + (60 if isinstance(error, ProgrammingError) else 0)
                self._trust(began)
            return
        with self.changing:
            self._forget_own(ended_before=began)
            self.names = {name for record in found for name in record.names}
            self.untrusted = untrusted
            self.looked = began
            self._trust(began)
        if due := [record for record in found if record.is_due]:
            self._withdraw(cached.cache, due)
        if len(_ledgers) > MOST_CONNECTIONS:
            self.close()

    def _trust(self, began: float) -> None:
        if not (self.names or self.untrusted or self.own):
            self.trusted_until = began + FRESH

    def close(self) -> None:
        """Close the connection of the looks."""
        if self.look:
            self.look.close()
            self.look = None

    def _withdraw(self, cache: SwapCache, due: list[Record]) -> None:
        """Do what is due, as much as fits into one round trip; delete the records that are done.

        Each is done at two looks, since a hold that got no answer may arrive after the first.
        """
        tokens: dict[str, set[str]] = {}
        taken = []
        for record in due:
            if len(tokens) >= protocol.CHUNK:
                break
            taken.append(record)
            for name in record.names:
                tokens.setdefault(name, set()).add(record.token)
        done = protocol.withdraw_owed(_by_names(cache), tokens)
        finished = {record.pk for record in taken if done.issuperset(record.names)}
        twice = finished & self.withdrawn
        self.withdrawn = finished - twice
        if twice and self.look:
            try:
                self.look.delete(twice)
            except Exception as error:
                log_once("What was owed can't be deleted", error)


def _by_names(cache: SwapCache) -> SwapCache:
    """Return the same cache, with the names of the entries on the server as its keys."""
    same = copy(cache)
    same.make_and_validate_key = lambda key, version=None: key  # type: ignore[method-assign]
    return same


_ledgers: dict[tuple[str, ...], Ledger] = {}
NOT_YET = Ledger("")  # of what hasn't been read
NONE_YET: dict[bytes, Ledger] = {}
NO_LEDGER = Ledger("")  # of those for which nothing is ever owed


def _ledger(cached: CachedModel) -> Ledger | None:
    """Return the Ledger of `cached`; None where nothing is ever owed."""
    cache = cached.cache.shared_as()
    config = connections[cached.alias].settings_dict
    if cache is None or is_in_memory(config) or not apps.is_installed(__package__):
        return None
    if is_test_run() and not in_tests:
        return None
    key = (cache, *(str(config[part]) for part in PARTS))
    ledger = _ledgers.get(key)
    if ledger is None or ledger.process != os.getpid():
        # In a forked child the parent's locks may be taken, and its connection isn't ours.
        ledger = _ledgers[key] = Ledger(cache)
    return ledger


def is_test_run() -> bool:
    """Has Django's `setup_test_environment()` been called in this process?"""
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(utils._TestState, "saved_data")


# Readers


def is_trusted(cached: CachedModel, fingerprint: bytes) -> bool:
    """Has this process seen, less than a second ago, that nothing is owed?

    `fingerprint`: that of `cached` now. The database or schema can be another one at each read.
    """
    ledgers: dict[bytes, Ledger] = cached.__dict__.get("ledgers", NONE_YET)
    return perf_counter() < ledgers.get(fingerprint, NOT_YET).trusted_until


def held(cached: CachedModel, keys: Keys, fingerprint: bytes) -> Keys:
    """Return those of `keys` that count as held, since something is owed on their entries."""
    ledger = _ledger(cached)
    cached.__dict__.setdefault("ledgers", {})[fingerprint] = ledger or NO_LEDGER
    if ledger is None:
        NO_LEDGER.trusted_until = perf_counter() + FRESH
        return {}
    if not ledger.is_known(cached) or cached.model._meta.label in ledger.untrusted:
        return keys
    if not (ledger.names or ledger.own):
        return {}
    name_of = cached.cache.make_and_validate_key
    return {key: pk for key, pk in keys.items() if ledger.counts(name_of(key))}


# Writers


def owe(
    cached: CachedModel, keys: Collection[str], token: str, alias: str, under_way: bool
) -> None:
    """Write down that the holds `token` on `keys` have to be withdrawn.

    It counts from the COMMIT of the transaction that is open on `alias`, or at once. If it is
    `under_way`, a write in autocommit comes later, and `end` says when that has ended. A record
    that can't be written does not stop the write.
    """
    ledger = _ledger(cached)
    if ledger is None:
        return
    names = [cached.cache.make_and_validate_key(key) for key in sorted(keys)]
    ledger.add(token, names)
    started = perf_counter()
    try:
        records.insert(alias, ledger.cache, cached.model._meta.label, token, names, under_way)
        events.tell(events.OWED, cached.model, started, *keys)
    except Exception as error:
        log_once("What is owed can't be written down", error)


def end(cached: CachedModel, token: str, alias: str, under_way: bool) -> bool:
    """Note that the write of `token` has ended; what was `under_way` is owed now.

    Returns whether such a record was there: others may have deleted it after its deadline.
    """
    if not (ledger := _ledger(cached)):
        return False
    try:
        label = cached.model._meta.label
        return bool(under_way and records.end_under_way(alias, label, token))
    except Exception as error:
        log_once("What is owed can't be written down", error)
        return False
    finally:
        ledger.end(token)
