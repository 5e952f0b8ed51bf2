"""The backend in the memory of one process, for trying out and for tests."""

import pickle
from collections.abc import Callable, Collection, Iterator, Mapping
from threading import Lock
from typing import Any

from django.core.cache.backends.locmem import LocMemCache

from ..entries import ABSENT, EXPIRE, Row, Seen, Swap, at_least_a_second
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

    def look_many(self, keys: Collection[str]) -> dict[str, Any]:
        # LocMemCache's `get_many` calls `get`, which shows the object of a row.
        found = {key: self.look(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    # The stamp of an entry is the pickled value itself: every write makes a new object.

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        seen = {}
        for key in keys:
            data = self._data(self.make_and_validate_key(key))
            seen[key] = ABSENT if data is None else Seen(pickle.loads(data), data)
        return seen

    def _data(self, name: str) -> Any:
        with self._lock:
            return None if self._has_expired(name) else self._cache[name]

    def rows(self) -> Iterator[tuple[str, Row]]:
        with self._lock:
            names = list(self._cache)
        for name in names:
            data = self._data(name)
            value = None if data is None else pickle.loads(data)
            if isinstance(value, Row):
                yield name, value

    def cas_many(self, swaps: Mapping[str, Swap]) -> set[str]:
        stored = set()
        for key, swap in swaps.items():
            name = self.make_and_validate_key(key)
            data = pickle.dumps(swap.value, self.pickle_protocol)
            with self._lock:
                standing = None if self._has_expired(name) else self._cache[name]
                if standing is not swap.seen.stamp:
                    continue
                if swap.value is EXPIRE:
                    self._delete(name)
                else:
                    self._set(name, data, at_least_a_second(swap.timeout))
            stored.add(key)
        return stored
