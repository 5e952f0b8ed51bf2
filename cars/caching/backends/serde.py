"""How the values of entries are written to Memcached, and read again."""

import logging
import math
from typing import Any

import msgspec
from pymemcache.serde import FLAG_PICKLE, pickle_serde

from ..entries import Holds, Lease, Row

logger = logging.getLogger(__name__)

UNREADABLE = Row(b"")  # a value that can't be read counts as a row that can't be used


class Serde:
    """Writes and reads values; Memcached's flags tell rows, leases and holds apart.

    Without `pickle` nothing is pickled (the backend has refused all but plain data before), and
    pickles aren't read.
    """

    ROW, LEASE, HOLDS, PLAIN = 1 << 8, 1 << 9, 1 << 10, 1 << 11  # pymemcache uses lower ones
    FLAGS = {Row: ROW, Lease: LEASE, Holds: HOLDS}

    def __init__(self, pickle: bool) -> None:
        self.pickle = pickle

    def serialize(self, key: bytes, value: Any) -> tuple[Any, int]:
        """Return `value` as Memcached stores it, and its flags."""
        if isinstance(value, Row):
            return value, self.ROW
        if isinstance(value, Lease):
            return value.token.encode(), self.LEASE
        if isinstance(value, Holds):
            holds = (f"{token}:{deadline:.3f}" for token, deadline in value.deadlines.items())
            return " ".join(holds).encode(), self.HOLDS
        if self.pickle or type(value) in (bytes, str, int):
            data, flags = pickle_serde.serialize(key, value)
            return data, flags
        return msgspec.msgpack.encode(value), self.PLAIN

    def deserialize(self, key: bytes, data: bytes, flags: int) -> Any:
        """Return the value that was stored, or UNREADABLE."""
        if flags == self.ROW:
            return Row(data)
        try:
            if flags == self.LEASE:
                return Lease(data.decode())
            if flags == self.HOLDS:
                holds = (hold.split(":") for hold in data.decode().split())
                deadlines = {token: float(deadline) for token, deadline in holds}
                if not deadlines or not all(map(math.isfinite, deadlines.values())):
                    raise ValueError("holds without a deadline")
                return Holds(deadlines)
            if flags == self.PLAIN:
                return msgspec.msgpack.decode(data)
            if flags & FLAG_PICKLE and not self.pickle:
                return UNREADABLE
            return pickle_serde.deserialize(key, data, flags)
        except Exception as error:  # raised, it would hide the values of the other keys
            logger.warning("The value of %r in the cache can't be read: %s", key, error)
            return UNREADABLE
