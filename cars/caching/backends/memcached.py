"""The backend for Memcached."""

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from django.core.cache.backends.memcached import PyMemcacheCache
from pymemcache.client.base import normalize_server_spec

from ..entries import Row, Seen, Swap, at_least_a_second
from . import client, listing
from .base import AS_STORED, SwapMixin, shown
from .client import SafeClient, SafeHashClient
from .serde import Serde

# The arguments of pymemcache's clients unless OPTIONS say otherwise. Their own defaults are to wait
# without a limit, and to raise when a server is away.
DEFAULTS = {"connect_timeout": 0.25, "timeout": 0.25, "no_delay": True, "ignore_exc": True}

# OPTIONS that have no effect: each thread has another client, so there is no pool, and no
# server takes the keys of one that is away (see SafeHashClient).
NOT_TAKEN = {"use_pooling", "max_pool_size", "pool_idle_timeout", "lock_generator"}
NOT_TAKEN |= {"retry_attempts", "retry_timeout", "dead_timeout"}

LISTING_TIMEOUT = 10  # seconds that a server is waited for while it lists its rows: no page waits


class MemcachedCache(SwapMixin, PyMemcacheCache):
    """Django's PyMemcacheCache, with `gets_many` and `cas_many`."""

    # Attributes of Django's that the stubs don't have.
    _servers: list[str]
    _options: dict[str, Any]

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(server, params)
        options = DEFAULTS | self._options
        self._name = f"{self._servers} {options}"  # of the client: caches with other keys share it
        self._pickle = options.pop("pickle", True)
        self._options = {name: options[name] for name in options.keys() - NOT_TAKEN}
        self._options["serde"] = Serde(self._pickle)

    @property
    def _cache(self) -> SafeClient | SafeHashClient:
        clients: dict[str, SafeClient | SafeHashClient] = client.of_this_thread.__dict__
        if self._name not in clients:
            clients[self._name] = self._new_client()
        return clients[self._name]

    def _new_client(self) -> SafeClient | SafeHashClient:
        if len(self._servers) == 1:  # a HashClient would choose a server for every key
            options = {name: value for name, value in self._options.items() if name != "hasher"}
            return SafeClient(normalize_server_spec(self._servers[0]), **options)
        return SafeHashClient(self._servers, **self._options)

    def rows(self) -> Iterator[tuple[str, Row]]:
        options = {name: value for name, value in self._options.items() if name != "hasher"}
        options |= {"ignore_exc": False, "timeout": LISTING_TIMEOUT}
        for server in filter(None, self._servers):
            yield from listing.rows(partial(SafeClient, normalize_server_spec(server), **options))

    def close(self, **kwargs: Any) -> None:
        """Keep the connection: Django calls this at the end of every request."""

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        # As the bases do, by two calls less: this is the path of every hit.
        value = self._cache.get(self.make_and_validate_key(key, version), default)
        return value if default is AS_STORED else shown(value, default)

    def shared_as(self) -> str:
        parts = [*sorted(self._servers), self.key_prefix, self.version]
        return sha256(repr(parts).encode()).hexdigest()[:32]

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        return self._exchange({}, keys)[1]

    def cas_many(self, swaps: Mapping[str, Swap]) -> set[str]:
        return self._exchange(swaps, ())[0]

    def swap_and_look(self, swaps: Mapping[str, Swap]) -> dict[str, Seen]:
        return self._exchange(swaps, swaps)[1]

    def _exchange(
        self, swaps: Mapping[str, Swap], look: Collection[str]
    ) -> tuple[set[str], dict[str, Seen]]:
        """Do `swaps`, and then look at the keys `look`; return what changed and what stands."""
        names = {key: self.make_and_validate_key(key) for key in look or swaps}
        on_server = {
            names[key]: swap._replace(
                timeout=self.get_backend_timeout(at_least_a_second(swap.timeout))
            )
            for key, swap in swaps.items()
        }
        stored, seen = self._cache.exchange(on_server, [names[key] for key in look])
        changed = {key for key, name in names.items() if name in stored}
        return changed, {key: seen[names[key]] for key in look}
