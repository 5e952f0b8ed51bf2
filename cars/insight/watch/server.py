"""What the page asks a Memcached server: its log, its counters, and which keys it has."""

import re
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pymemcache.client.base import Client, normalize_server_spec

from .log import Log

TIMEOUT = 0.5  # seconds to connect or to answer
RETRY = 2  # seconds between two tries to connect
MOST = 20_000  # entries that are looked at in one go

# Before 1.6.20 there is no log of deletions, and who asks for it gets nothing. Connections are
# asked for since a server with nothing to log looks for it once a second only: a connection that
# is made and ended, as by `counters`, keeps it awake.
COMMANDS = (
    b"watch fetchers mutations evictions connevents deletions\r\n",
    b"watch fetchers mutations evictions connevents\r\n",
    b"watch fetchers mutations evictions\r\n",
)


def connect(address: str) -> socket.socket:
    """Return a connection to `address`, host:port; raise OSError if there is none."""
    return socket.create_connection(normalize_server_spec(address), timeout=TIMEOUT)


class Watcher:
    """The log of the server at `address`, over a connection that is taken up again if it breaks.

    pymemcache has no `watch`: its answers come unasked.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.trouble = ""  # why there is no log, in words
        self._answer: bytes | None = b""  # to the command, as far as it is there; None when done
        self._commands: list[bytes] = []  # to try if it isn't understood
        self.log = Log()
        self.socket: socket.socket | None = None
        self._retry_at = 0.0

    def open(self) -> bool:
        """Ask for the log unless that has been done; return whether it was done just now."""
        if self.socket or time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + RETRY
        self.log, self._answer, self._commands = Log(), b"", list(COMMANDS)
        try:
            self.socket = connect(self.address)
            self.socket.sendall(self._commands.pop(0))
        except OSError:
            self.trouble = "doesn't answer"
            self.close()
            return False
        self.socket.setblocking(False)
        return True

    @property
    def is_watching(self) -> bool:
        """Does the server show its log?"""
        return self.socket is not None and self._answer is None

    def read(self) -> bool:
        """Read what there is; return False if the connection is of no use any more."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.trouble = "has ended the connection"
            return False
        if self._answer is None:
            self.log.feed(data, time.monotonic())
            return True
        self._answer += data
        try:
            return self._understand()
        except OSError:
            self.trouble = "has ended the connection"
            return False

    def _understand(self) -> bool:
        answer, end, rest = self._answer.partition(b"\n")
        if not end:
            return len(answer) < 1000
        answer, self._answer = answer.strip(), rest
        if answer == b"ERROR" and self._commands:
            self.socket.sendall(self._commands.pop(0))
            return True
        if answer != b"OK":
            said = answer[:100].decode("ascii", "replace")
            self.trouble = f"doesn't show its log: it says {said}"
            return False
        self.trouble, self._answer = "", None
        self.log.feed(rest, time.monotonic())
        return True

    def close(self) -> None:
        """End the connection, if there is one."""
        if self.socket:
            self.socket.close()
            self.socket = None


def counters(address: str) -> dict[str, int]:
    """Return what the server at `address` has counted since it started; {} if it is away.

    `dropped` are the lines of its log that nobody got, since they came too fast.
    """
    client = Client(
        normalize_server_spec(address), connect_timeout=TIMEOUT, timeout=TIMEOUT, ignore_exc=True
    )
    try:
        stats: dict[bytes, Any] = client.stats() or {}
    except Exception:  # pymemcache raises what parsing does on an answer that makes no sense
        return {}
    finally:
        client.close()
    names = {
        "found": ["get_hits"],
        "missing": ["get_misses"],
        "evictions": ["evictions"],
        "items": ["curr_items"],
        "bytes": ["bytes"],
        "dropped": ["log_worker_dropped", "log_watcher_skipped"],
    }
    return {
        name: sum(_number(stats.get(stat.encode())) for stat in its) for name, its in names.items()
    }


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True)
class Item:
    """What a server has under `key`: seconds since 1970 and bytes, with key and header.

    `expires` is None if it stays for good. `accessed` is when it was last asked for, to the
    minute, or when it was put if it was not `fetched`.
    """

    key: str
    expires: int | None
    accessed: int
    fetched: bool
    size: int


_entry = re.compile(
    r"key=(\S+) exp=(-?\d{1,12}) la=(\d{1,12}) cas=\d+ fetch=(yes|no) cls=\d+ size=(\d{1,12})\b.*",
    re.ASCII,
)


def parse_entry(line: bytes) -> Item | None:
    """Return what a line of `lru_crawler metadump` says, or None."""
    match = _entry.fullmatch(line.decode("latin-1").rstrip("\r\n"))
    if not match:
        return None
    key, expires, accessed, fetched, size = match.groups()
    expires = int(expires) if int(expires) > 0 else None
    return Item(unquote(key), expires, int(accessed), fetched == "yes", int(size))


def entries(address: str) -> list[Item] | None:
    """Return what the server at `address` has, the first MOST entries; None if it doesn't say.

    By `metadump`, which touches nothing and logs nothing; `me` and `mg` would log lookups, and
    these would be seen on the page.
    """
    found = []
    try:
        with connect(address) as connection, connection.makefile("rb") as lines:
            connection.sendall(b"lru_crawler metadump all\r\n")
            for _ in range(MOST):
                line = lines.readline(4096)
                if line.startswith(b"END"):
                    break
                if not line.startswith(b"key="):  # BUSY with another's
                    return None
                if entry := parse_entry(line):
                    found.append(entry)
    except OSError:
        return None
    return found
