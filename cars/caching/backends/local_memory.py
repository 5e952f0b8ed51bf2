"""The backend in the memory of one process, for trying out and for tests."""

import pickle
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import Any

from django.core.cache.backends.locmem import LocMemCache

from ..entries import ABSENT, EXPIRE, Seen, Swap, whole_seconds
from .base import SwapMixin


class LocalMemoryCache(SwapMixin, LocMemCache):
    """Django's LocMemCache, with `gets_many` and `cas_many`."""

    # Attributes of Django's that the stubs don't have.
    _cache: dict[str, Any]
    _expire_info: dict[str, float | None]
    _lock: Lock
    _has_expired: Callable[[str], bool]
    _delete: Callable[[str], bool]
    _set: Callable[[str, bytes, Any], None]

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(name, params)
        # Nothing comes from a network here, but this backend accepts what Memcached would accept.
        self._pickle = (params.get("OPTIONS") or {}).get("pickle", True)

    # The token of an entry is the pickled value itself: every write makes a new object.

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        seen = {}
        for key in keys:
            name = self.make_and_validate_key(key)
            with self._lock:
                data = None if self._has_expired(name) else self._cache[name]
            seen[key] = ABSENT if data is None else Seen(pickle.loads(data), data)
        return seen

    def cas_many(self, swaps: Mapping[str, Swap]) -> set[str]:
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
                    self._set(name, data, whole_seconds(swap.timeout))
            stored.add(key)
        return stored
