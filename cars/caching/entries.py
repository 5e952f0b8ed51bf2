"""What stands under a key: a row, a reader's lease or the holds of writers."""

import time
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, NamedTuple

from .marks import NO_TEST, is_over, test_of

TICK = 2  # seconds that holds are kept longer: Memcached counts whole ones, from its last tick


class Row(bytes):
    """A row, packed."""

    __slots__ = ()


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
        """Seconds that they are to be kept: to the latest deadline, and never less."""
        return max(self.deadlines.values()) - time.time() + TICK


class Seen(NamedTuple):
    """What was seen under a key, and the token by which to tell whether it still stands there."""

    value: Any
    token: Any


class Swap(NamedTuple):
    """Put `value` for `timeout` seconds in the place of what was `seen`; EXPIRE takes it away."""

    seen: Seen
    value: Any
    timeout: float


ABSENT = Seen(None, None)
EXPIRE = object()


def new_token(alias: str) -> str:
    """Return a random token: nobody else's. Inside a TestCase it also bears the test's mark."""
    token = token_hex(8)
    test = test_of(alias)
    return token if test == NO_TEST else f"{test.hex()}.{token}"


def living(value: Any) -> Any:
    """Return `value`, what stands under a key, without leases and holds of tests that are over.

    A test that ends in the middle leaves them behind, and the next one has the same pks. So one
    that bears a mark is nobody's, unless that test is under way in this process.
    """
    if isinstance(value, Lease):
        return None if is_of_the_past(value.token) else value
    if isinstance(value, Holds):
        deadlines = {t: end for t, end in value.deadlines.items() if not is_of_the_past(t)}
        return Holds(deadlines) if deadlines else None
    return value


def is_of_the_past(token: str) -> bool:
    """Does `token` bear the mark of a test that is over, or not under way in this process?"""
    test, _, _ = token.rpartition(".")
    try:
        return bool(test) and is_over(bytes.fromhex(test))
    except ValueError:
        return True  # no token of ours: what can't be read is nobody's
