"""Reading through the cache, in a transaction or without."""

from time import perf_counter
from typing import Any

from django.db import connections
from django.db.models import Model

from . import events, owed, protocol
from .registry import CachedModel, Keys
from .rows import fingerprint_of
from .transactions import NOTHING, TRANSACTION, Transaction, current, settle


def read_one(cached: CachedModel, key: str, pk: Any) -> Model | None:
    """Return the row under `key`; None if it doesn't exist.

    In a transaction nothing is filled, since it may see what no other transaction does. What it
    misses is filled after its COMMIT. The rows that it holds it reads from the database.
    """
    held, fingerprint = NOTHING, fingerprint_of(cached)
    if Transaction.alive or not owed.is_trusted(cached, fingerprint):
        held = _held(cached, {key: pk}, fingerprint)
    found = None if held else protocol.look_up(cached, fingerprint, key, pk)
    return _read_misses(cached, {key: pk}, held).get(key) if found is None else found


def read_many(cached: CachedModel, keys: Keys) -> dict[str, Model]:
    """Return, by key, the rows with these keys that exist, as `read_one` does."""
    if len(keys) > protocol.MOST_PKS:
        found: dict[str, Model] = {}
        items = list(keys.items())
        for begin in range(0, len(items), protocol.MOST_PKS):
            found |= read_many(cached, dict(items[begin : begin + protocol.MOST_PKS]))
        return found
    held, fingerprint = NOTHING, fingerprint_of(cached)
    if Transaction.alive or not owed.is_trusted(cached, fingerprint):
        held = _held(cached, keys, fingerprint)
    found = protocol.look_up_many(cached, [key for key in keys if key not in held])
    if len(found) == len(keys):
        return found
    rest = {key: pk for key, pk in keys.items() if key not in found}
    return found | _read_misses(cached, rest, held)


def _held(cached: CachedModel, keys: Keys, fingerprint: bytes) -> Keys:
    """Return those of `keys` that are held by the open transaction, or count as held.

    A transaction that has ended is settled.
    """
    connection = connections[cached.alias]
    settle(connection)
    transaction: Transaction | None = connection.__dict__.get(TRANSACTION)
    own = transaction.held.get(cached, NOTHING) if transaction else NOTHING
    held = {key: pk for key, pk in keys.items() if key in own}
    if owed.is_trusted(cached, fingerprint):
        return held
    return held | owed.held(cached, keys, fingerprint)


def _read_misses(cached: CachedModel, keys: Keys, held: Keys) -> dict[str, Model]:
    started = perf_counter()
    transaction = current(cached.alias)
    if transaction:
        missed = transaction.missed.setdefault(cached, {})
        if len(missed) + len(keys) <= protocol.MOST_PKS:  # the COMMIT waits for their fill
            missed |= keys
    elif not held:
        return protocol.read_misses(cached, keys)
    direct = keys if transaction else held
    for key in direct:
        outcome = events.HELD if key in held else events.MISS
        events.tell(outcome, cached.model, started, key)
    found = protocol.read_database(cached, direct)
    if rest := {key: pk for key, pk in keys.items() if key not in direct}:
        found |= protocol.read_misses(cached, rest)
    return found
