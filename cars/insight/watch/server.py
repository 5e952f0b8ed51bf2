"""Asks a Memcached server for its log, its counters and its items."""

import socket
import time
from contextlib import closing
from itertools import islice
from typing import Any

from pymemcache.client.base import Client, normalize_server_spec

from cars.caching.backends import listing
from cars.caching.backends.client import SafeClient
from cars.caching.backends.listing import Item
from cars.caching.entries import ListingError

from .log import Log

TIMEOUT = 0.5  # seconds to connect or to answer
RETRY = 2  # seconds between two attempts to connect
MOST = 20_000  # items that are read at once

# Memcached before 1.6.20 has no log of deletions and refuses a command that names it.
# The commands name connection events too, because a server with nothing to log checks its log only
# once a second: the connections that `counters` opens and closes keep it awake.
COMMANDS = (
    b"watch fetchers mutations evictions connevents deletions\r\n",
    b"watch fetchers mutations evictions connevents\r\n",
    b"watch fetchers mutations evictions\r\n",
)


def connect(address: str) -> socket.socket:
    """Return a connection to `address` (host:port); raise OSError if that fails."""
    return socket.create_connection(normalize_server_spec(address), timeout=TIMEOUT)


class Watcher:
    """Reads the log of the server at `address`, and reconnects after a broken connection.

    pymemcache can't do this: after `watch` the server sends lines without being asked.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.problem = ""  # why there is no log, in words for the page
        self._answer: bytes | None = b""  # to the command, as far as received; None once complete
        self._commands: list[bytes] = []  # to try if the server doesn't know this one
        self.log = Log()
        self.socket: socket.socket | None = None
        self._retry_at = 0.0

    def open(self) -> bool:
        """Ask for the log unless it is open already; return whether this call opened it."""
        if self.socket or time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + RETRY
        self.log, self._answer, self._commands = Log(), b"", list(COMMANDS)
        try:
            self.socket = connect(self.address)
            self.socket.sendall(self._commands.pop(0))
        except OSError:
            self.problem = "doesn't answer"
            self.close()
            return False
        self.socket.setblocking(False)
        return True

    @property
    def is_watching(self) -> bool:
        """Whether the server is sending its log."""
        return self.socket is not None and self._answer is None

    def read(self) -> bool:
        """Read what has been received; return False if the connection has to be closed."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.problem = "has closed the connection"
            return False
        if self._answer is None:
            self.log.feed(data, time.monotonic())
            return True
        self._answer += data
        try:
            return self._parse_answer()
        except OSError:
            self.problem = "has closed the connection"
            return False

    def _parse_answer(self) -> bool:
        answer, end, rest = self._answer.partition(b"\n")
        if not end:
            return len(answer) < 1000
        answer, self._answer = answer.strip(), rest
        if answer == b"ERROR" and self._commands:
            self.socket.sendall(self._commands.pop(0))
            return True
        if answer != b"OK":
            quoted = answer[:100].decode("ascii", "replace")
            self.problem = f"doesn't send its log, but answers: {quoted}"
            return False
        self.problem, self._answer = "", None
        self.log.feed(rest, time.monotonic())
        return True

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.socket:
            self.socket.close()
            self.socket = None


def counters(address: str) -> dict[str, int]:
    """Return the totals of the server at `address` since its start; {} if it doesn't answer.

    `dropped` counts the lines that the server left out of its log because they came too fast.
    """
    client = Client(
        normalize_server_spec(address), connect_timeout=TIMEOUT, timeout=TIMEOUT, ignore_exc=True
    )
    try:
        stats: dict[bytes, Any] = client.stats() or {}
    except Exception:  # pymemcache raises whatever its parser does on a malformed answer
        return {}
    finally:
        client.close()
    if not stats:
        return {}
    names = {
        "found": ["get_hits"],
        "missing": ["get_misses"],
        "evictions": ["evictions"],
        "items": ["curr_items"],
        "bytes": ["bytes"],
        "dropped": ["log_worker_dropped", "log_watcher_skipped"],
    }
    return {
        name: sum(_number(stats.get(stat.encode())) for stat in summed)
        for name, summed in names.items()
    }


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def items(address: str) -> list[Item] | None:
    """Return the items of the server at `address`, at most MOST; None if it gives none.

    A server lists its items for one client at a time. While it does so for another client, this
    waits for TIMEOUT at most.
    """
    client = SafeClient(normalize_server_spec(address), connect_timeout=TIMEOUT, timeout=TIMEOUT)
    try:
        with closing(listing.items(client, busy=TIMEOUT)) as found:
            return list(islice(found, MOST))
    except ListingError:
        return None
