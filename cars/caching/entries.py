"""What stands under a key: nothing, a row, a reader's lease or the holds of writers.

This module imports nothing of the recipe. `SwapCache` is the contract that a cache has to keep for
all of this: look at what stands under a key, and replace it only if it still stands there.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from secrets import token_hex
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache

TICK = 2  # seconds that holds are kept longer: Memcached counts whole seconds, from its last tick


class State(StrEnum):
    """What can stand under a key, in the words that the admin, /watch/ and `verify_cache` use."""

    NOTHING = "nothing"
    ROW = "row"
    LEASE = "lease"
    HOLDS = "holds"
    OTHER = "other"  # a value of the application, or a row that can't be used
    NO_ANSWER = "no answer"  # the cache could not be asked


class Row(bytes):
    """A row, packed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """A reader's lease: the reader with this `token` may fill."""

    token: str


@dataclass(frozen=True, slots=True)
class Holds:
    """The holds of writers: deadlines, in seconds since 1970, by token."""

    deadlines: dict[str, float]


def holds_in(value: Any) -> dict[str, float]:
    """Return the deadlines of the holds in `value`, by token, without those that have passed."""
    now = time.time()
    deadlines = value.deadlines if isinstance(value, Holds) else {}
    return {token: deadline for token, deadline in deadlines.items() if deadline > now}


def at_least_a_second(timeout: float | None) -> float | None:
    """Return `timeout`, but 1 for a part of a second, which caches would take for 0."""
    return timeout if timeout is None or timeout <= 0 else max(1, timeout)


class Seen(NamedTuple):
    """A value seen under a key, and the cache's stamp, which is another one after each change."""

    value: Any
    stamp: Any


class Swap(NamedTuple):
    """Put `value` for `timeout` seconds in place of what was `seen`; EXPIRE removes the entry.

    As in Django, a timeout of None means forever, and one of 0 or less not at all.
    """

    seen: Seen
    value: Any
    timeout: float | None


def put_holds(seen: Seen, deadlines: dict[str, float]) -> Swap:
    """Return the swap that puts holds with these `deadlines`; without any, it expires the entry.

    The entry stands until the latest deadline, and never less.
    """
    if not deadlines:
        return Swap(seen, EXPIRE, 0)
    return Swap(seen, Holds(deadlines), max(deadlines.values()) - time.time() + TICK)


ABSENT = Seen(None, None)
NO_ANSWER = Seen(State.NO_ANSWER, None)  # the server didn't answer: what stands there isn't known
EXPIRE = object()
STATES: dict[type, State] = {
    type(None): State.NOTHING,
    Row: State.ROW,
    Lease: State.LEASE,
    Holds: State.HOLDS,
    State: State.NO_ANSWER,
}


def state_of(value: Any) -> State:
    """Return the state of an entry whose value is `value`."""
    return STATES.get(type(value), State.OTHER)


def new_token() -> str:
    """Return a random token, which no other reader or writer has."""
    return token_hex(8)


class ListingError(Exception):
    """A server doesn't list what it has."""


class SwapCache(BaseCache):
    """The contract: a Django cache that can also compare and swap."""

    def shared_as(self) -> str | None:
        """Return a digest that is the same for all processes that reach the same entries by it.

        None: the cache is of this process alone, and always answers.
        """
        return None

    def look(self, key: str) -> Any:
        """Return the value under `key`, a row packed and leases and holds too; None for nothing."""
        raise NotImplementedError

    def look_many(self, keys: Collection[str]) -> dict[str, Any]:
        """Return, by key, the values under `keys`, without the keys with nothing."""
        raise NotImplementedError

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        """Return what stands under each of `keys`, leases and holds too, ABSENT for nothing.

        NO_ANSWER where the server doesn't say.
        """
        raise NotImplementedError

    def cas_many(self, swaps: Mapping[str, Swap]) -> set[str]:
        """Do each swap whose key still has what was seen there; return the keys that changed.

        One round trip to each server. If the answer is lost, a swap may have been done although its
        key isn't returned: who has to know looks again.
        """
        raise NotImplementedError

    def swap_and_look(self, swaps: Mapping[str, Swap]) -> dict[str, Seen]:
        """Do each swap as `cas_many` does, then return what stands under their keys.

        One round trip to each server, where the backend can. Others can come in between.
        """
        self.cas_many(swaps)
        return self.gets_many(swaps)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield every row on the servers, other sites' too, with its name as they have it.

        Not an access. Raises ListingError where a server doesn't answer, or refuses.
        """
        raise NotImplementedError


class NoCache(SwapCache):
    """In place of a cache that can't compare and swap: always empty, and refuses no change."""

    def look(self, key: str) -> Any:
        return None

    def look_many(self, keys: Collection[str]) -> dict[str, Any]:
        return {}

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        return dict.fromkeys(keys, ABSENT)

    def cas_many(self, swaps: Mapping[str, Swap]) -> set[str]:
        return set(swaps)

    def rows(self) -> Iterator[tuple[str, Row]]:
        yield from ()
