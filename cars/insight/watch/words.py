"""Describes lines of Memcached's log and its items, in words for the page.

The log has no values. The timeout tells which of the recipe's entries was stored: rows, leases
and holds each have a different one.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

from django.core.cache import caches

from cars.caching.entries import TICK, State
from cars.caching.protocol import setting
from cars.caching.registry import cached_models, config_of

from . import log

ROW, LEASE, HOLDS, OTHER = State.ROW, State.LEASE, State.HOLDS, State.OTHER
UNSURE = "row or holds"
EXPIRED = "expired"

NOUNS = {ROW: "a row", LEASE: "a lease", HOLDS: "holds", OTHER: "another value"}
# What an event is, and the word for it in the legend of the page.
MARKS = (
    ("found", "found"),
    ("missing", "not found"),
    ("expired", "expired"),
    ("claim", "found a lease or holds"),
    ("lease", "leased"),
    ("hold", "held"),
    ("row", "row put"),
    ("refused", "refused"),
    ("lost", "removed"),
)
OWN = {LEASE: "own lease", HOLDS: "own hold"}


def site_prefix() -> str:
    """Return what the site's keys begin with in Memcached, for example "carsite:1:"."""
    return caches["default"].make_key("")


def row_timeout(key: str) -> int | None:
    """Return the timeout of rows under `key` (without the prefix), in seconds.

    It is None if no cached model has such keys.
    """
    for model in cached_models():
        config = config_of(model)
        if key.startswith(f"{config.prefix}{model.__name__}."):
            return config.timeout
    return None


def longest() -> dict[str, int]:
    """Return the longest timeouts of leases and of holds, in seconds."""
    return {LEASE: ceil(setting("CACHING_LEASE")), HOLDS: ceil(setting("CACHING_HOLD")) + TICK}


def stored_state(key: str, timeout: int) -> str:
    """Return the state of the entry that was stored under `key` for `timeout` seconds.

    It is EXPIRED if the store removed the entry.
    """
    of_rows = row_timeout(key)
    if timeout < 0:
        return EXPIRED
    if of_rows is None:
        return OTHER
    if timeout == of_rows:
        return ROW
    # When another writer's hold is removed, the remaining holds are stored again, for a shorter
    # time.
    limits = longest()
    return next((state for state in (LEASE, HOLDS) if 0 < timeout <= limits[state]), ROW)


def item_state(key: str, timeout: int, fetched: bool) -> str:
    """Return the state of the entry under `key`; `timeout` is from its last access to its expiry.

    In seconds. Only if the item was never `fetched` is this surely the timeout that it was stored
    with.
    """
    state = stored_state(key, timeout)
    if fetched and state in (LEASE, HOLDS) and not 0 <= longest()[state] - timeout <= 1:
        return UNSURE  # it can be a row that was fetched shortly before its expiry
    return state


def stored_at(key: str, state: str, expires: float) -> float | None:
    """Return when the entry that `expires` then was stored, or None if that is unknown."""
    timeout = row_timeout(key) if state == ROW else longest().get(state)
    return None if timeout is None else expires - timeout


def duration(seconds: int) -> str:
    """Return `seconds` in words, rounded to one unit."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = round(seconds / size)
            return f"1 {unit}" if count == 1 else f"{count} {unit}s"
    return "1 second" if seconds == 1 else f"{seconds} seconds"


def size(count: int) -> str:
    """Return a number of bytes in words."""
    return "1 byte" if count == 1 else f"{count:,} bytes"


@dataclass(frozen=True)
class Known:
    """What is known of a key's entry: its `state`, when it ends, and who stored it."""

    state: str
    until: float | None = None
    connection: int | None = None


NOTHING = Known(State.NOTHING)


class Describer:
    """Describes lines in the order of the log, and remembers which entry each key has."""

    REMEMBERED = 10_000  # keys

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    def forget(self) -> None:
        """Forget what each key has."""
        self._known.clear()

    def describe(self, line: log.Line, key: str) -> dict[str, Any]:
        """Return what `line` says about `key` (its key without the prefix), for the page.

        With the state of the entry after it, and when that ends, in seconds since 1970: None for
        what isn't known.
        """
        what, text = self._describe(line, key)
        known = self._known.get(key)
        return {
            "time": line.time,
            "key": key,
            "connection": line.connection if isinstance(line, log.Fetch | log.Store) else None,
            "what": what,
            "text": text,
            "state": known.state if known else None,
            "until": known.until if known else None,
        }

    def _describe(self, line: log.Line, key: str) -> tuple[str, str]:
        if isinstance(line, log.Fetch):
            known = self._known.get(key)
            if not line.found or (known and known.state == State.NOTHING):
                self._remember(key, None if line.found else NOTHING)
            return _describe_fetch(line, known)
        if isinstance(line, log.Store):
            state = stored_state(key, line.timeout)
            if line.stored:
                until = line.time + line.timeout if line.timeout > 0 else None
                stored = Known(state, until, line.connection)
                self._remember(key, NOTHING if state == EXPIRED else stored)
            return _describe_store(line, state)
        self._remember(key, NOTHING)
        if isinstance(line, log.Eviction):
            return "lost", f"evicted to make room ({size(line.size)})"
        return "lost", "deleted"

    def _remember(self, key: str, known: Known | None) -> None:
        self._known.pop(key, None)
        if known:
            self._known[key] = known
        if len(self._known) > self.REMEMBERED:
            del self._known[next(iter(self._known))]


def _describe_fetch(fetch: log.Fetch, known: Known | None) -> tuple[str, str]:
    if not fetch.found:
        if fetch.status == EXPIRED:
            return "expired", "fetched: not found (expired)"
        flushed = " (flushed)" if fetch.status == "flushed" else ""
        return "missing", f"fetched: not found{flushed}"
    state = known.state if known else ""
    if state not in (LEASE, HOLDS):
        return "found", f"fetched: found {NOUNS[state]}" if state in NOUNS else "fetched: found"
    if known and known.connection == fetch.connection:
        return "look", f"looked again: its {OWN[state]} stands"
    return "claim", f"fetched: found {NOUNS[state]}"


def _describe_store(store: log.Store, state: str) -> tuple[str, str]:
    if store.status in ("too_large", "no_memory"):
        return "refused", "not stored: too large, or no memory"
    if not store.stored:
        if state == LEASE:
            return "refused", "no lease: the key has an entry"
        return "refused", "not stored: the entry had changed"
    if state == EXPIRED:
        return "lost", "expired: the entry was removed"
    if state == LEASE:
        return "lease", f"leased by a reader for {duration(store.timeout)}"
    if state == HOLDS:
        return "hold", f"held by a writer for up to {duration(store.timeout)}"
    expiry = f"for {duration(store.timeout)}" if store.timeout else "no expiry"
    return "row", f"{NOUNS[state]} was put ({size(store.size)}, {expiry})"
