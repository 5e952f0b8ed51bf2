"""pymemcache's clients, as the Memcached backend needs them."""

import math
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, BinaryIO

from django.core.signals import request_started
from pymemcache.client.base import _readline, normalize_server_spec
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownCommandError,
    MemcacheUnknownError,
)

from ..entries import ABSENT, EXPIRE, NO_ANSWER, Seen, Swap
from .server import MOMENT, LeftAlone, server_at
from .timed import TimedClient

WITHOUT_CAS = "it runs without compare and swap, option -C"
BROKEN = (ConnectionError, MemcacheUnexpectedCloseError)  # the connection, not the server
ANSWERS = (b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND")
TOO_LARGE = b"SERVER_ERROR object too large"

UNANSWERED: dict[Any, Any] = {}  # what a read returns if the server doesn't answer

Exchanged = tuple[set[str], dict[str, Seen]]  # the names that were stored, and what was looked at


class SafeClient(TimedClient):
    """A client for one server: safe for interrupts, with a `cas` of many keys.

    With `ignore_exc`, reads from a server that doesn't answer are UNANSWERED, and writes to it are
    refused. What one thread finds out about the server holds for all (see Server).
    """

    def __init__(self, server: Any, ignore_exc: bool = False, **options: Any) -> None:
        super().__init__(server, **options)
        self.known = server_at(self.server)
        self._ignores = ignore_exc
        self._options = options

    def _ask_again(self) -> None:
        """Ask whether the server is back; raises if it isn't, within a MOMENT."""
        times = {"connect_timeout": MOMENT, "timeout": MOMENT}
        client = TimedClient(self.server, **self._options | times)
        try:
            client.version()
            if self.known.away == WITHOUT_CAS and client.stats("settings")[b"cas_enabled"] == b"no":
                raise MemcacheServerError(WITHOUT_CAS)
        finally:
            client.close()

    # All of pymemcache's commands go through one of these three.

    def _fetch_cmd(self, name: bytes, keys: Any, expect_cas: bool, key_prefix: bytes = b"") -> Any:
        try:
            if self.known.away:
                self.known.ask_again(self._ask_again)
            return super()._fetch_cmd(name, keys, expect_cas, key_prefix)
        except (ValueError, LookupError) as error:
            self._fail(MemcacheUnknownError(f"an answer that can't be read: {error}"))
            return UNANSWERED
        except BaseException as error:
            self._fail(error)
            return UNANSWERED

    def _store_cmd(self, name: bytes, values: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        try:
            if self.known.away:
                self.known.ask_again(self._ask_again)
            return super()._store_cmd(name, values, *args, **kwargs)
        except BaseException as error:
            self._fail(error)
            return dict.fromkeys(values, False)

    def _misc_cmd(self, cmds: list[bytes], *args: Any, **kwargs: Any) -> Any:
        try:
            if self.known.away:
                self.known.ask_again(self._ask_again)
            return super()._misc_cmd(cmds, *args, **kwargs)
        except BaseException as error:
            self._fail(error)
            return [b"NOT_FOUND"] * len(cmds)

    def _fail(self, error: BaseException) -> None:
        """Close the connection, and raise `error` unless the server or the network is to blame."""
        # pymemcache closes its socket on Exception only. After a Ctrl-C in the middle of a call
        # the next call would read the answer to this one.
        self.close()
        unknown = isinstance(error, MemcacheUnknownCommandError)
        if isinstance(error, MemcacheClientError) and not unknown:
            raise error  # a caller's mistake
        if not isinstance(error, (OSError, MemcacheError)):
            raise error
        # A connection that breaks after it has answered: the next call makes a new one.
        breaks = self.has_answered and isinstance(error, BROKEN)
        if not breaks and type(error) not in (LeftAlone, MemcacheServerError):
            was_silent = isinstance(error, TimeoutError)
            self.known.lose(str(error) or type(error).__name__, was_silent)
        if not self._ignores:
            raise error

    def exchange(self, swaps: dict[str, Swap], look: Collection[str]) -> Exchanged:
        """Add or cas each value, then look at the names `look`, in one round trip.

        Returns the names that were stored, and what stands then under `look`, as `gets_many` does.
        pymemcache's own `cas` takes one key at a time. A swap whose value was seen over another
        connection is refused: the numbers start again when the server is restarted, and a restart
        breaks the connection.
        """
        try:
            if self.known.away:
                self.known.ask_again(self._ask_again)
            if self.sock is None:
                self._connect()
            sent = {
                name: self._swap_command(name, swap)
                for name, swap in swaps.items()
                if swap.seen.stamp is None or swap.seen.stamp[0] is self.sock
            }
            asked = {self.check_key(name, self.key_prefix): name for name in look}
            gets = b"gets %s\r\n" % b" ".join(asked) if asked else b""
            if sent or asked:
                self.sock.sendall(b"".join(sent.values()) + gets)
            rest, stored = b"", set()
            for name in sent:
                rest, line = _readline(self.sock, rest)
                # A value that is too large must not hide the answers to the others.
                # Out of memory, a server can't hold anything: it is left alone.
                if line not in ANSWERS and not line.startswith(TOO_LARGE):
                    raise MemcacheUnknownError(line[:32])
                if line == b"STORED":
                    stored.add(name)
            return stored, self._read_values(rest, asked) if asked else {}
        except (ValueError, LookupError) as error:
            self._fail(MemcacheUnknownError(f"an answer that can't be read: {error}"))
        except BaseException as error:
            self._fail(error)
        return set(), dict.fromkeys(look, NO_ANSWER)

    def _read_values(self, rest: bytes, names: dict[bytes, str]) -> dict[str, Seen]:
        """Read the answer to `gets`, of which `rest` has arrived."""
        seen = dict.fromkeys(names.values(), ABSENT)
        while True:
            rest, line = _readline(self.sock, rest)
            if line == b"END":
                return seen
            self._raise_errors(line, b"gets")
            if not line.startswith(b"VALUE"):
                raise MemcacheUnknownError(line[:32])
            name, (value, number), rest = self._extract_value(True, line, rest, names, [])
            if number == b"0":
                raise MemcacheUnknownError(WITHOUT_CAS)
            seen[name] = Seen(value, (self.sock, number))

    def _swap_command(self, key: str, swap: Swap) -> bytes:
        name = self.check_key(key, self.key_prefix)
        if swap.value is EXPIRE:
            (data, flags), timeout = (b"", 0), -1
        else:
            data, flags = self.serde.serialize(name, swap.value)
            timeout = int(swap.timeout or 0)
        line = b"%s %d %d %d" % (name, flags, timeout, len(data))
        if swap.seen.stamp is None:
            return b"add %s\r\n%s\r\n" % (line, data)
        return b"cas %s %s\r\n%s\r\n" % (line, swap.seen.stamp[1], data)

    def by_server(self, names: Iterable[str]) -> "dict[SafeClient, list[str]]":
        """Return `names` by the client of the server that they are on, as a SafeHashClient does."""
        return {self: list(names)}

    @contextmanager
    def one_deadline(self) -> Iterator[None]:
        """Give all commands of the block one deadline, as a SafeHashClient does."""
        yield

    @property
    def address(self) -> str:
        """The server's host:port, or the path of its socket."""
        return self.known.name

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Connect for the block; yield the file of what the server sends. Raises OSError.

        For commands that pymemcache doesn't have: `send` sends them. Their answers can take
        long, so the time-out counts for each part of one.
        """
        super(TimedClient, self)._connect()
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

    Each SafeClient does what a HashClient does for a server that is away, with one difference: no
    other server takes its keys. Their rows would stay there when the server is back, and would be
    stale when it is away again.
    """

    client_class = SafeClient

    def __init__(self, servers: list[str], ignore_exc: bool = False, **options: Any) -> None:
        super().__init__((), retry_attempts=math.inf, **options)
        self.default_kwargs["ignore_exc"] = ignore_exc
        for server in servers:
            self.add_server(normalize_server_spec(server))

    def by_server(self, names: Iterable[str]) -> dict[SafeClient, list[str]]:
        """Return `names` by the client of the server that they are on."""
        by_server: dict[SafeClient, list[str]] = {}
        for name in names:
            by_server.setdefault(self._get_client(name), []).append(name)
        return by_server

    @contextmanager
    def one_deadline(self) -> Iterator[None]:
        """Give all commands of the block one deadline: a page waits for two servers as for one."""
        seconds = self.default_kwargs.get("timeout")
        deadline = None if seconds is None else monotonic() + seconds
        for client in self.clients.values():
            client.deadline = deadline
        try:
            yield
        finally:
            for client in self.clients.values():
                client.deadline = None

    def get_many(self, keys: Any, *args: Any, **kwargs: Any) -> Any:
        with self.one_deadline():
            return super().get_many(keys, *args, **kwargs)

    def exchange(self, swaps: dict[str, Swap], look: Collection[str]) -> Exchanged:
        """Do what `SafeClient.exchange` does, with one round trip to each server."""
        stored: set[str] = set()
        seen: dict[str, Seen] = {}
        with self.one_deadline():
            for client, names in self.by_server({*swaps, *look}).items():
                own = {name: swaps[name] for name in names if name in swaps}
                done = client.exchange(own, [name for name in names if name in look])
                stored |= done[0]
                seen |= done[1]
        return stored, seen


# One client for each OS thread. Django's `caches` follow the context: under ASGI requests can
# share one client, and read each other's answers.
of_this_thread = threading.local()  # by name, as attributes
_process = os.getpid()


def _drop_clients_of_parent(**kwargs: Any) -> None:
    """Drop, in a forked child, the clients of its parent: both would read the same answers."""
    global of_this_thread, _process
    if _process != os.getpid():
        _process = os.getpid()
        of_this_thread = threading.local()


os.register_at_fork(after_in_child=_drop_clients_of_parent)
# uWSGI forks in C, where Python calls no hook; its workers then begin with a request.
request_started.connect(_drop_clients_of_parent)
