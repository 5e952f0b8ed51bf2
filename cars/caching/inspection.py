"""What stands under one row's key, looked at from outside: it doesn't count as an access."""

from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Any

from django.core.cache import caches
from django.db.models import Model

from .backends import LocalMemoryCache, MemcachedCache
from .backends.serde import Serde
from .entries import STATES, TICK, State, state_of
from .protocol import setting
from .registry import concrete, config_of

BY_FLAGS = {flag: STATES[kind] for kind, flag in Serde.FLAGS.items()}

DESCRIPTIONS = {
    State.ROW: "A row: reads are served from it.",
    State.LEASE: "A lease: a reader is about to fill it.",
    State.HOLDS: "Holds: it is being written, so reads go to the database.",
    State.NOTHING: "Nothing: the next read fills it.",
    State.OTHER: "Another value, which the recipe can’t use.",
    State.NO_ANSWER: "The cache doesn’t answer.",
}


@dataclass(frozen=True)
class Standing:
    """What stands under `key`; None for what isn't known.

    `age` is in seconds since it was put, `left` in seconds until it ends, `size` in bytes.
    """

    key: str
    state: State
    age: float | None = None
    left: float | None = None
    size: int | None = None

    def __str__(self) -> str:
        return DESCRIPTIONS[self.state]


def inspect(instance: Model) -> Standing:
    """Return what stands in the cache under the key of `instance`, a cached model's; never raises.

    Memcached is asked by `mg` without the value and with its flag `u`: that leaves the entry's
    place among those to be evicted, and its last access, as they are. (The server's totals count
    it as one more `get`.)
    """
    row: Any = instance
    try:
        key = row.key()
    except ValueError:  # without a pk there is no entry
        return Standing("", State.NOTHING)
    try:
        config = config_of(concrete(type(instance)))
        backend = caches[config.cache]
        look: Callable[..., tuple[State, float | None, int | None]] = _in_local_memory
        if isinstance(backend, MemcachedCache):
            look = _in_memcached
        state, left, size = look(backend, key)
        # The cache doesn't tell when an entry was put, only when it ends.
        lasts = {
            State.ROW: config.timeout,
            State.LEASE: setting("CACHING_LEASE"),
            State.HOLDS: setting("CACHING_HOLD") + TICK,
        }.get(state)
    except Exception:
        return Standing(key, State.NO_ANSWER)
    age = None if left is None or lasts is None else max(0.0, lasts - left)
    return Standing(key, state, age, left, size)


def _in_memcached(backend: MemcachedCache, key: str) -> tuple[State, float | None, int | None]:
    """Return the state, the seconds it has left, and its size in bytes."""
    name = backend.make_and_validate_key(key)
    answer = backend._cache.server_of(name).raw_command(f"mg {name} f s t u")
    word, *flags = answer.decode().split()
    if word == "EN":
        return State.NOTHING, None, None
    if word != "HD":
        return State.NO_ANSWER, None, None
    values = {flag[0]: int(flag[1:]) for flag in flags}
    left = values["t"] if values["t"] >= 0 else None
    return BY_FLAGS.get(values["f"], State.OTHER), left, values["s"]


def _in_local_memory(backend: LocalMemoryCache, key: str) -> tuple[State, float | None, int | None]:
    """Return the same; the size is that of what this process keeps."""
    seen = backend.gets_many([key])[key]
    if seen.token is None:
        return State.NOTHING, None, None
    ends = backend._expire_info.get(backend.make_and_validate_key(key))
    return state_of(seen.value), ends - time() if ends else None, len(seen.token)
