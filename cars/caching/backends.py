"""Django cache backends that can compare and swap, and that hide leases and holds.

`get`, `get_many` and `has_key` see the object of a row, and a miss where there is a lease, a
hold or a row that can't be used.

With OPTIONS = {"pickle": False} nothing that is read is unpickled: besides rows only plain data
can be stored (text, bytes, numbers, and lists and dicts of those), and a pickle is a miss.
"""

import pickle
from collections.abc import Collection
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from pymemcache.client.base import normalize_server_spec

from .clients import (
    SafeClient,
    SafeHashClient,
    Serde,
    client_of_this_thread,
    refuse_unless_plain,
)
from .entries import ABSENT, EXPIRE, Holds, Lease, Row, Seen, Swap, living
from .rows import unpack

HIDDEN = (Lease, Holds)

# What pymemcache's clients are given unless OPTIONS say otherwise: its own would wait for ever,
# and raise where a server is away.
DEFAULTS = {"connect_timeout": 0.5, "timeout": 0.5, "no_delay": True, "ignore_exc": True}

# OPTIONS that change nothing: each thread has a client of its own, so there is no pool, and no
# server takes the keys of one that is away (see SafeHashClient).
NOT_TAKEN = {"use_pooling", "max_pool_size", "pool_idle_timeout", "lock_generator"}
NOT_TAKEN |= {"retry_attempts", "retry_timeout", "dead_timeout"}


class SwapMixin:
    """What the backends have in common: readers that hide leases and holds, writers that refuse."""

    _pickle: bool  # OPTIONS["pickle"]

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self._visible(super().get(key, default, version), default)

    def get_many(self, keys: Collection[str], version: int | None = None) -> dict[str, Any]:
        found = super().get_many(keys, version)
        visible = {key: self._visible(value, ABSENT) for key, value in found.items()}
        return {key: value for key, value in visible.items() if value is not ABSENT}

    def has_key(self, key: str, version: int | None = None) -> bool:
        return self.get(key, self._missing_key, version) is not self._missing_key

    @staticmethod
    def _visible(value: Any, default: Any) -> Any:
        if type(value) is Row:
            value = unpack(value)
            return default if value is None else value
        return default if type(value) in HIDDEN else value

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        """Return what stands under each of `keys`, leases and holds too, ABSENT for nothing."""
        raise NotImplementedError

    def cas_many(self, swaps: dict[str, Swap]) -> set[str]:
        """Do each swap unless something else stands there by now; return the keys that changed.

        One round trip to each server.
        """
        raise NotImplementedError

    def add(
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        self._refuse_pickle(value)
        return super().add(key, value, timeout, version)

    def set_many(
        self, data: dict[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        for value in data.values():
            self._refuse_pickle(value)
        return super().set_many(data, timeout, version)

    def _refuse_pickle(self, value: Any) -> None:
        if not self._pickle and type(value) not in (int, Row, Lease, Holds):
            refuse_unless_plain(value)

    def set(
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        self._refuse_pickle(value)
        super().set(key, value, timeout, version)


class MemcachedCache(SwapMixin, PyMemcacheCache):
    """Django's PyMemcacheCache, with `gets_many` and `cas_many`."""

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(server, params)
        options = DEFAULTS | self._options
        self._pickle = options.pop("pickle", True)
        self._options = {name: options[name] for name in options.keys() - NOT_TAKEN}
        self._options["serde"] = Serde(self._pickle)
        self._name = f"{self._servers} {params}"  # its hash is kept, as a text's is

    @property
    def _cache(self) -> SafeClient | SafeHashClient:
        return client_of_this_thread(self._name, self._new_client)

    def _new_client(self) -> SafeClient | SafeHashClient:
        if len(self._servers) == 1:  # a HashClient would choose a server for every key
            options = {name: value for name, value in self._options.items() if name != "hasher"}
            return SafeClient(normalize_server_spec(self._servers[0]), **options)
        return SafeHashClient(self._servers, **self._options)

    def close(self, **kwargs: Any) -> None:
        """Keep the connection: Django calls this at the end of every request."""

    def make_and_validate_key(self, key: str, version: int | None = None) -> str:
        name = self.make_key(key, version)
        # Django looks at each character by itself; this finds most keys good at once.
        if not (len(name) <= 250 and name.isascii() and name.isprintable() and " " not in name):
            self.validate_key(name)
        return name

    # As the mixin's and Django's come to together, in fewer steps.

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        value = self._cache.get(self.make_and_validate_key(key, version), default)
        return self._visible(value, default)

    def get_many(self, keys: Collection[str], version: int | None = None) -> dict[str, Any]:
        names = {self.make_and_validate_key(key, version): key for key in keys}
        found = {}
        for name, value in self._cache.get_many(names).items():
            value = self._visible(value, ABSENT)
            if value is not ABSENT:
                found[names[name]] = value
        return found

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        names = {self.make_and_validate_key(key): key for key in keys}
        client = self._cache
        seen = dict.fromkeys(keys, ABSENT)
        for name, (value, cas) in client.gets_many(list(names)).items():
            seen[names[name]] = Seen(living(value), (client.server_of(name).sock, cas))
        return seen

    def cas_many(self, swaps: dict[str, Swap]) -> set[str]:
        names = {self.make_and_validate_key(key): key for key in swaps}
        client = self._cache
        by_server: dict[SafeClient, dict[str, Swap]] = {}
        for name, key in names.items():
            timeout = self.get_backend_timeout(max(1, swaps[key].timeout))
            swap = swaps[key]._replace(timeout=timeout)
            by_server.setdefault(client.server_of(name), {})[name] = swap
        stored: set[str] = set()
        for server, its in by_server.items():
            stored |= server.swap_many(its)
        return {names[name] for name in stored}


class LocalMemoryCache(SwapMixin, LocMemCache):
    """Django's LocMemCache, for one process, with `gets_many` and `cas_many`."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(name, params)
        # Nothing comes from a network here; what Memcached would refuse is refused all the same.
        self._pickle = (params.get("OPTIONS") or {}).get("pickle", True)

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
