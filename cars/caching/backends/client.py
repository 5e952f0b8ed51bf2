"""pymemcache's clients, as the Memcached backend needs them."""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec
from pymemcache.client.base import Client, normalize_server_spec
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheClientError, MemcacheError
from pymemcache.serde import FLAG_PICKLE, pickle_serde

from ..entries import EXPIRE, Holds, Lease, Row, Swap

logger = logging.getLogger(__name__)

LEFT_ALONE = 1  # seconds that a server that didn't answer is not asked again

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


class SafeClient(Client):  # type: ignore[misc]  # pymemcache has no stubs
    """pymemcache's client for one server: safe for interrupts, with a `cas` of many keys.

    With `ignore_exc`, reads from a server that is down are misses and writes to it are refused,
    and it isn't asked again for LEFT_ALONE seconds.
    """

    _retry_at = 0.0

    def __init__(self, server: Any, ignore_exc: bool = False, **options: Any) -> None:
        super().__init__(server, **options)
        self._ignores = ignore_exc

    @property
    def is_left_alone(self) -> bool:
        """Has the server failed to answer within the last LEFT_ALONE seconds?"""
        return time.monotonic() < self._retry_at

    def _connect(self) -> None:
        if self.is_left_alone:
            raise ConnectionRefusedError(f"{self.server} is left alone for {LEFT_ALONE} s")
        try:
            super()._connect()
        except OSError:
            self._leave_alone()
            raise

    def _leave_alone(self) -> None:
        self._retry_at = time.monotonic() + LEFT_ALONE

    def _fetch_cmd(self, name: bytes, keys: Any, expect_cas: bool, key_prefix: bytes = b"") -> Any:
        try:
            return super()._fetch_cmd(name, keys, expect_cas, key_prefix)
        except BaseException as error:
            self._fail(error)
            return {}

    def _store_cmd(self, name: bytes, values: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._store_cmd(name, values, *args, **kwargs)
        except BaseException as error:
            self._fail(error)
            return dict.fromkeys(values, False)

    def _misc_cmd(self, cmds: list[bytes], *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._misc_cmd(cmds, *args, **kwargs)
        except BaseException as error:
            self._fail(error)
            return [b"NOT_FOUND"] * len(cmds)

    def _fail(self, error: BaseException) -> None:
        # pymemcache closes its socket on Exception only. After a Ctrl-C in the middle of a call
        # the next call would read the answer to this one.
        self.close()
        if isinstance(error, TimeoutError):
            self._leave_alone()
        # A caller's mistake is not the server's, and is raised.
        ignored = isinstance(error, (OSError, MemcacheError))
        if not (self._ignores and ignored) or isinstance(error, MemcacheClientError):
            raise error

    def swap_many(self, swaps: dict[str, Swap]) -> set[str]:
        """Add or cas each value, in one round trip; return the names that were stored.

        pymemcache's own `cas` takes one key at a time. A swap whose value was seen over another
        connection is refused: the numbers that `cas` compares start again when the server is
        restarted, and a restart breaks the connection.
        """
        swaps = {
            key: swap
            for key, swap in swaps.items()
            if swap.seen.token is None or swap.seen.token[0] is self.sock
        }
        commands = [self._swap_command(key, swap) for key, swap in swaps.items()]
        if not commands:
            return set()
        # A value that is too large for the server must not hide the answers to the others.
        self._raise_errors = lambda line, name: None
        try:
            answers = self._misc_cmd(commands, b"cas", noreply=False)
        finally:
            del self._raise_errors
        return {key for key, answer in zip(swaps, answers, strict=True) if answer == b"STORED"}

    def _swap_command(self, key: str, swap: Swap) -> bytes:
        name = self.check_key(key, self.key_prefix)
        if swap.value is EXPIRE:
            (data, flags), timeout = (b"", 0), -1
        else:
            data, flags = self.serde.serialize(name, swap.value)
            timeout = int(swap.timeout or 0)
        line = b"%s %d %d %d" % (name, flags, timeout, len(data))
        if swap.seen.token is None:
            return b"add %s\r\n%s\r\n" % (line, data)
        return b"cas %s %s\r\n%s\r\n" % (line, swap.seen.token[1], data)

    def server_of(self, key: str) -> "SafeClient":
        """Return the client of the server that `key` is on, as a SafeHashClient does."""
        return self

    @property
    def address(self) -> str:
        """The server's host:port, or the path of its socket."""
        return self.server if isinstance(self.server, str) else "{}:{}".format(*self.server)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Connect for the block; yield the file of what the server sends. Raises OSError.

        For commands that pymemcache doesn't have: `send` sends them.
        """
        self._connect()
        try:
            with self.sock.makefile("rb") as received:
                yield received
        finally:
            self.close()

    def send(self, commands: bytes) -> None:
        """Send `commands` to the server. Raises OSError."""
        self.sock.sendall(commands)


class SafeHashClient(HashClient):  # type: ignore[misc]  # pymemcache has no stubs
    """pymemcache's client for several servers, with a SafeClient for each.

    Each SafeClient does what a HashClient does for a server that is down, with one difference: no
    other server takes its keys. Their rows would stay there when the server is back, and would be
    stale when it is down again.
    """

    client_class = SafeClient

    def __init__(self, servers: list[str], ignore_exc: bool = False, **options: Any) -> None:
        super().__init__((), retry_attempts=math.inf, **options)
        self.default_kwargs["ignore_exc"] = ignore_exc
        for server in servers:
            self.add_server(normalize_server_spec(server))

    def server_of(self, key: str) -> SafeClient:
        """Return the client of the server that `key` is on."""
        client: SafeClient = self._get_client(key)
        return client


# One client for each OS thread. Django's `caches` follow the context: under ASGI requests can
# share one client, and read each other's answers.
_local = threading.local()


def client_of_this_thread(name: str, make: Callable[[], Any]) -> Any:
    """Return this thread's client called `name`, made by `make` if there is none."""
    clients = _local.__dict__
    process = os.getpid()
    if clients.get("process") != process:
        # A forked child drops the parent's clients. Compared here, and not by a fork hook, since
        # uWSGI forks in C, where Python calls none.
        clients.clear()
        clients["process"] = process
    if name not in clients:
        clients[name] = make()
    return clients[name]
