"""Parses Memcached's log (`watch fetchers mutations evictions deletions`).

    ts=1795375679.93163 gid=7 type=item_store key=Car.2 status=stored cmd=add ttl=10 ... size=5

The format has surprises. Microseconds have no leading zeros: `.93163` is 0.093163 s. Keys are
URI-encoded. A write also logs the fetch that it begins with, as an `item_get`. Lines arrive out of
order; `gid` gives the order. This module uses neither a clock nor the network.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

PATIENCE = 0.2  # seconds that a line is kept back, for earlier ones that arrive later
LONGEST = 4096  # bytes of a line: a key has up to 250, and three times as many when encoded
FOUND = "found"
STORED = "stored"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log: what happened to `key` at `time`, in seconds since 1970.

    `gid` gives the order of the lines.
    """

    time: float
    gid: int
    key: str


@dataclass(frozen=True, slots=True)
class Fetch(Line):
    """A client fetched `key`: `status` is found, not_found, expired or flushed."""

    status: str
    connection: int

    @property
    def found(self) -> bool:
        """Whether there was anything under the key."""
        return self.status == FOUND


@dataclass(frozen=True, slots=True)
class Store(Line):
    """A client sent a value of `size` bytes by `command` (add, set, cas, ...).

    `timeout` is in seconds: 0 means no expiry, and -1 removes the item. `status` is stored, or
    the reason why the value wasn't stored.
    """

    status: str
    command: str
    timeout: int
    size: int
    connection: int

    @property
    def stored(self) -> bool:
        """Whether the value was stored."""
        return self.status == STORED


@dataclass(frozen=True, slots=True)
class Eviction(Line):
    """An item of `size` bytes was evicted; `fetched` says whether it had ever been fetched."""

    fetched: bool
    size: int


@dataclass(frozen=True, slots=True)
class Deletion(Line):
    """An item of `size` bytes was deleted by a command."""

    size: int


_head = re.compile(r"ts=(\d{1,12})\.(\d{1,6}) gid=(\d{1,20}) type=(\w+) key=(\S+) (.+)", re.ASCII)
_pair = re.compile(r"(\w+)=(\S+)")


def parse(text: bytes) -> Line | None:
    """Return the line of the log in `text`: a fetch, store, eviction or deletion, else None."""
    head = _head.fullmatch(text.decode("latin-1").rstrip("\r\n"))
    if not head:
        return None
    seconds, micro, gid, kind, key, rest = head.groups()
    common = (int(seconds) + int(micro) / 1_000_000, int(gid), unquote(key))
    fields = dict(_pair.findall(rest))
    try:
        if kind == "item_get":
            return Fetch(*common, fields["status"], int(fields["cfd"]))
        if kind == "item_store":
            timeout, size, connection = (int(fields[name]) for name in ("ttl", "size", "cfd"))
            # Memcached logs a negative timeout as an unsigned number of 32 bits.
            timeout = -1 if timeout < 0 or timeout >= 2**31 else timeout
            return Store(*common, fields["status"], fields["cmd"], timeout, size, connection)
        if kind == "eviction":
            return Eviction(*common, fields["fetch"] == "yes", int(fields["size"]))
        if kind == "deleted":
            return Deletion(*common, int(fields["size"]))
    except (KeyError, ValueError):
        pass
    return None


def skipped(text: bytes) -> int:
    """Return how many lines Memcached has skipped, if `text` is its message about that, else 0."""
    match = re.fullmatch(rb"skipped=(\d{1,18})\s*", text)
    return int(match[1]) if match else 0


def fold(lines: Iterable[Line]) -> list[Line]:
    """Return `lines` ordered by gid, without the fetches that are part of a write."""
    folded: set[int] = set()
    last: dict[int, Fetch] = {}  # the last fetch of each connection
    before: Line | None = None
    ordered = sorted(lines, key=lambda line: line.gid)
    for line in ordered:
        if isinstance(line, Fetch):
            # A write that is refused for its size logs its fetch after itself.
            after = isinstance(before, Store) and before.status in ("too_large", "no_memory")
            if after and (before.gid + 1, before.key) == (line.gid, line.key):
                folded.add(id(line))
            else:
                last[line.connection] = line
        elif isinstance(line, Store):
            fetch = last.pop(line.connection, None)
            if fetch and fetch.key == line.key:
                folded.add(id(fetch))
        elif isinstance(line, Deletion) and isinstance(before, Fetch):  # names no connection
            if (before.gid + 1, before.key) == (line.gid, line.key):
                folded.add(id(before))
        before = line
    return [line for line in ordered if id(line) not in folded]


class Log:
    """Orders the lines that arrive over one connection.

    Each connection needs a new Log: gids start again when the server restarts, which breaks its
    connections.
    """

    def __init__(self) -> None:
        self.skipped = 0  # lines that the server has left out, by its own count
        self._rest = b""
        self._waiting: list[tuple[float, Line]] = []

    def feed(self, data: bytes, now: float) -> None:
        """Add `data`, received at `now` (seconds of any clock); its last line may be incomplete."""
        *texts, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST:
            self._rest = b""
        for text in texts:
            if line := parse(text):
                self._waiting.append((now, line))
            else:
                self.skipped += skipped(text)

    def take(self, now: float) -> list[Line]:
        """Return, in order and only once, the lines that have waited for PATIENCE at `now`."""
        due = {id(line) for received, line in self._waiting if received <= now - PATIENCE}
        lines = fold(line for _, line in self._waiting)
        self._waiting = [(time, line) for time, line in self._waiting if id(line) not in due]
        return [line for line in lines if id(line) in due]
