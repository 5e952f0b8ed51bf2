"""Django cache backends that can compare and swap, and that hide leases and holds.

`get`, `get_many` and `has_key` see the object of a row, and a miss where there is a lease, a
hold or a row that can't be used.
"""

import os
import pickle
import threading
from collections.abc import Collection
from typing import Any, NamedTuple

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient
from pymemcache.serde import pickle_serde

from .rows import Holds, Lease, Row, living, unpack

NOTHING = None  # what stands under a key where nothing stands, or nothing that counts


class Seen(NamedTuple):
    """What `gets_many` saw under a key, and the token that `cas_many` compares."""

    value: Any
    token: Any


class Swap(NamedTuple):
    """Put `value` for `timeout` seconds in the place of what was `seen`; EXPIRE takes it away."""

    seen: Seen
    value: Any
    timeout: float


ABSENT = Seen(NOTHING, None)
EXPIRE = object()


def _visible(value: Any, default: Any) -> Any:
    if isinstance(value, Row):
        value = unpack(value)
        return default if value is None else value
    return default if isinstance(value, (Lease, Holds)) else value


class SwapMixin:
    """What the backends have in common: the readers that hide leases and holds."""

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return _visible(super().get(key, default, version), default)

    def get_many(self, keys: Collection[str], version: int | None = None) -> dict[str, Any]:
        found = super().get_many(keys, version)
        visible = {key: _visible(value, NOTHING) for key, value in found.items()}
        return {key: value for key, value in visible.items() if value is not NOTHING}

    def has_key(self, key: str, version: int | None = None) -> bool:
        return self.get(key, self._missing_key, version) is not self._missing_key

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        """Return what stands under each of `keys`, leases and holds too, ABSENT for nothing."""
        raise NotImplementedError

    def cas_many(self, swaps: dict[str, Swap]) -> set[str]:
        """Do each swap unless something else stands there by now; return the keys that changed.

        One round trip to each server.
        """
        raise NotImplementedError


# Memcached


UNREADABLE = Row(b"")  # what can't be read stands there like a row that can't be used


class _Serde:
    """Tells rows, leases and holds apart by Memcached's flags."""

    ROW, LEASE, HOLDS = 1 << 8, 1 << 9, 1 << 10  # pymemcache's own are below

    def serialize(self, key: bytes, value: Any) -> tuple[Any, int]:
        if isinstance(value, Row):
            return value.data, self.ROW
        if isinstance(value, Lease):
            return value.token.encode(), self.LEASE
        if isinstance(value, Holds):
            holds = (f"{token}:{deadline:.3f}" for token, deadline in value.deadlines.items())
            return " ".join(holds).encode(), self.HOLDS
        return pickle_serde.serialize(key, value)

    def deserialize(self, key: bytes, data: bytes, flags: int) -> Any:
        try:
            if flags == self.ROW:
                return Row(data)
            if flags == self.LEASE:
                return Lease(data.decode())
            if flags == self.HOLDS:
                holds = (hold.split(":") for hold in data.decode().split())
                return Holds({token: float(deadline) for token, deadline in holds})
            return pickle_serde.deserialize(key, data, flags)
        except Exception:
            # An error here would hide from pymemcache's caller what stands under the other keys.
            return UNREADABLE


class _Client(Client):
    """pymemcache's client, made safe for interrupts, and with a `cas` of many keys."""

    # pymemcache closes its socket on Exception only. After a Ctrl-C in the middle of a call the
    # next one would read the last one's answer.

    def _fetch_cmd(self, *args: Any, **kwargs: Any) -> Any:
        return self._or_close(super()._fetch_cmd, *args, **kwargs)

    def _store_cmd(self, *args: Any, **kwargs: Any) -> Any:
        return self._or_close(super()._store_cmd, *args, **kwargs)

    def _misc_cmd(self, *args: Any, **kwargs: Any) -> Any:
        return self._or_close(super()._misc_cmd, *args, **kwargs)

    def _or_close(self, command: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BaseException:
            self.close()
            raise

    SWAP = b"swap"

    def _raise_errors(self, line: bytes, name: bytes) -> None:
        # One value that is too large for the server must not hide its answers to the others.
        if name != self.SWAP or not line.startswith(b"SERVER_ERROR"):
            super()._raise_errors(line, name)

    def swap_many(self, swaps: dict[str, Swap]) -> set[str]:
        """Add or cas each value, in one round trip; pymemcache's own `cas` takes one key a time.

        A swap seen over another connection is refused: the numbers that `cas` compares start
        again with the server, and a restart breaks the connection.
        """
        swaps = {
            key: swap
            for key, swap in swaps.items()
            if swap.seen.token is None or swap.seen.token[0] is self.sock
        }
        commands = [self._swap_command(key, swap) for key, swap in swaps.items()]
        if not commands:
            return set()
        answers = self._misc_cmd(commands, self.SWAP, noreply=False)
        return {key for key, answer in zip(swaps, answers, strict=True) if answer == b"STORED"}

    def _swap_command(self, key: str, swap: Swap) -> bytes:
        name = self.check_key(key, self.key_prefix)
        if swap.value is EXPIRE:
            data, flags, timeout = b"", 0, -1
        else:
            data, flags = self.serde.serialize(name, swap.value)
            timeout = swap.timeout
        line = b"%s %d %d %d" % (name, flags, timeout, len(data))
        if swap.seen.token is None:
            return b"add %s\r\n%s\r\n" % (line, data)
        return b"cas %s %s\r\n%s\r\n" % (line, swap.seen.token[1], data)


class _HashClient(HashClient):
    client_class = _Client


# One client for each OS thread. Django's `caches` follow the context: under ASGI requests can
# share one client, and read each other's answers.
_local = threading.local()


def _forget_clients() -> None:
    global _local
    _local = threading.local()  # the parent's sockets stay open: they are the parent's


os.register_at_fork(after_in_child=_forget_clients)


class MemcachedCache(SwapMixin, PyMemcacheCache):
    """Django's PyMemcacheCache, with `gets_many` and `cas_many`."""

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _HashClient
        self._options["serde"] = _Serde()
        self._name = (tuple(self._servers), repr(params))

    @property
    def _cache(self) -> HashClient:
        clients = _local.__dict__.setdefault("clients", {})
        if self._name not in clients:
            clients[self._name] = self._class(self.client_servers, **self._options)
        return clients[self._name]

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        names = {self.make_and_validate_key(key): key for key in keys}
        client = self._cache
        seen = dict.fromkeys(keys, ABSENT)
        for name, (value, cas) in client.gets_many(list(names)).items():
            if server := client._get_client(name):
                seen[names[name]] = Seen(living(value), (server.sock, cas))
        return seen

    def cas_many(self, swaps: dict[str, Swap]) -> set[str]:
        names = {self.make_and_validate_key(key): key for key in swaps}
        client = self._cache
        by_server: dict[Client, dict[str, Swap]] = {}
        for name, key in names.items():
            if server := client._get_client(name):
                timeout = self.get_backend_timeout(max(1, swaps[key].timeout))
                by_server.setdefault(server, {})[name] = swaps[key]._replace(timeout=timeout)
        stored: set[str] = set()
        for server, its in by_server.items():
            stored |= client._safely_run_func(server, server.swap_many, set(), its)
        return {names[name] for name in stored}


# Local memory


class LocalMemoryCache(SwapMixin, LocMemCache):
    """Django's LocMemCache, for one process, with `gets_many` and `cas_many`."""

    # A token is the pickled value itself: every write makes a new object.

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        seen = {}
        for key in keys:
            name = self.make_and_validate_key(key)
            with self._lock:
                data = None if self._has_expired(name) else self._cache[name]
            seen[key] = ABSENT if data is None else Seen(living(pickle.loads(data)), data)
        return seen

    def cas_many(self, swaps: dict[str, Swap]) -> set[str]:
        stored = set()
        for key, swap in swaps.items():
            name = self.make_and_validate_key(key)
            data = pickle.dumps(swap.value, self.pickle_protocol)
            with self._lock:
                standing = None if self._has_expired(name) else self._cache[name]
                if standing is not swap.seen.token:
                    continue
                if swap.value is EXPIRE:
                    self._delete(name)
                else:
                    self._set(name, data, max(1, swap.timeout))
            stored.add(key)
        return stored
