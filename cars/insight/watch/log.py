"""Memcached's log (`watch fetchers mutations evictions deletions`), read line by line.

    ts=1795375679.93163 gid=7 type=item_store key=Car.2 status=stored cmd=add ttl=10 ... size=5

It has its ways. Microseconds come without their zeros: `.93163` is 0.093163 s. Keys are
URI-encoded. A write logs a lookup first, as an `item_get` of its own. Lines come out of order:
`gid` says which was first. Nothing here asks a clock or a network.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

PATIENCE = 0.2  # seconds that a line is kept back for those that belong before it
LONGEST = 4096  # bytes of a line: a key has 250, and three times as many when encoded
FOUND = "found"
STORED = "stored"


@dataclass(frozen=True, slots=True)
class Line:
    """What the log says of one `key` at `time`, in seconds since 1970; `gid` gives the order."""

    time: float
    gid: int
    key: str


@dataclass(frozen=True, slots=True)
class Fetch(Line):
    """A key was asked for: `status` is found, not_found, expired or flushed."""

    status: str
    connection: int

    @property
    def found(self) -> bool:
        """Did anything stand under the key?"""
        return self.status == FOUND


@dataclass(frozen=True, slots=True)
class Store(Line):
    """A value of `size` bytes was to be put by `command` (add, set, cas, ...).

    `timeout` is in seconds: 0 for ever, -1 not at all, which takes the entry away. `status` is
    stored, or says why not.
    """

    status: str
    command: str
    timeout: int
    size: int
    connection: int

    @property
    def stored(self) -> bool:
        """Was it put?"""
        return self.status == STORED


@dataclass(frozen=True, slots=True)
class Eviction(Line):
    """An entry of `size` bytes had to make room; `fetched`: somebody had asked for it before."""

    fetched: bool
    size: int


@dataclass(frozen=True, slots=True)
class Deletion(Line):
    """An entry of `size` bytes was deleted by a command."""

    size: int


_head = re.compile(r"ts=(\d{1,12})\.(\d{1,6}) gid=(\d{1,20}) type=(\w+) key=(\S+) (.+)", re.ASCII)
_pair = re.compile(r"(\w+)=(\S+)")


def parse(line: bytes) -> Line | None:
    """Return what `line` says, or None for any other line."""
    head = _head.fullmatch(line.decode("latin-1").rstrip("\r\n"))
    if not head:
        return None
    seconds, micro, gid, kind, key, rest = head.groups()
    event = (int(seconds) + int(micro) / 1_000_000, int(gid), unquote(key))
    its = dict(_pair.findall(rest))
    try:
        if kind == "item_get":
            return Fetch(*event, its["status"], int(its["cfd"]))
        if kind == "item_store":
            timeout, size, connection = int(its["ttl"]), int(its["size"]), int(its["cfd"])
            # Below zero it is logged as a number of 32 bits without a sign.
            timeout = -1 if timeout < 0 or timeout >= 2**31 else timeout
            return Store(*event, its["status"], its["cmd"], timeout, size, connection)
        if kind == "eviction":
            return Eviction(*event, its["fetch"] == "yes", int(its["size"]))
        if kind == "deleted":
            return Deletion(*event, int(its["size"]))
    except (KeyError, ValueError):
        pass
    return None


def skipped(line: bytes) -> int:
    """Return how many lines Memcached says, in this one, that it has left out."""
    match = re.fullmatch(rb"skipped=(\d{1,18})\s*", line)
    return int(match[1]) if match else 0


def fold(events: Iterable[Line]) -> list[Line]:
    """Return `events` by gid, without the lookups that are part of a write."""
    folded: set[int] = set()
    last: dict[int, Fetch] = {}  # by connection
    before: Line | None = None
    ordered = sorted(events, key=lambda event: event.gid)
    for event in ordered:
        if isinstance(event, Fetch):
            # Refused for its size, a write logs its lookup after itself.
            after = isinstance(before, Store) and before.status in ("too_large", "no_memory")
            if after and (before.gid + 1, before.key) == (event.gid, event.key):
                folded.add(id(event))
            else:
                last[event.connection] = event
        elif isinstance(event, Store):
            lookup = last.pop(event.connection, None)
            if lookup and lookup.key == event.key:
                folded.add(id(lookup))
        elif isinstance(event, Deletion) and isinstance(before, Fetch):  # bears no connection
            if (before.gid + 1, before.key) == (event.gid, event.key):
                folded.add(id(before))
        before = event
    return [event for event in ordered if id(event) not in folded]


class Log:
    """The log that comes over one connection, put in order as it comes.

    One for each connection: gids begin again with the server, and that breaks connections.
    """

    def __init__(self) -> None:
        self.skipped = 0  # lines that the server says it left out
        self._rest = b""
        self._waiting: list[tuple[float, Line]] = []

    def feed(self, data: bytes, now: float) -> None:
        """Take what came at `now`, in seconds of any clock: lines, the last perhaps in part."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST:
            self._rest = b""
        for line in lines:
            if event := parse(line):
                self._waiting.append((now, event))
            else:
                self.skipped += skipped(line)

    def take(self, now: float) -> list[Line]:
        """Return what happened, in order, as far as nothing can come any more that was before."""
        due = {id(event) for came, event in self._waiting if came <= now - PATIENCE}
        events = fold(event for _, event in self._waiting)
        self._waiting = [(came, event) for came, event in self._waiting if id(event) not in due]
        return [event for event in events if id(event) in due]
