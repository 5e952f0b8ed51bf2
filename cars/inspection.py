"""What stands under one object's key: looked at from outside, and not counted as an access."""

from dataclasses import dataclass
from time import time

from django.core.cache import caches
from django.db.models import Model

from .caching.backends import LocalMemoryCache, MemcachedCache
from .caching.clients import Serde
from .caching.entries import TICK, Holds, Lease, Row
from .caching.keys import config_of
from .caching.store import setting

ROW, LEASE, HELD, NOTHING, OTHER = "cached", "leased", "held", "not there", "something else"
AWAY = "unknown"  # the cache doesn't answer

BY_FLAGS = {Serde.ROW: ROW, Serde.LEASE: LEASE, Serde.HOLDS: HELD}
BY_TYPE = {Row: ROW, Lease: LEASE, Holds: HELD}

IN_WORDS = {
    ROW: "Cached: its row is read from there.",
    LEASE: "Leased: a reader is about to fill it.",
    HELD: "Held: a writer is at it, so it is read from the database.",
    NOTHING: "Not there: who asks for it next fills it.",
    OTHER: "Something else stands there, of no use to the recipe.",
    AWAY: "The cache doesn’t answer.",
}


@dataclass(frozen=True)
class Entry:
    """What stands under `key`: one of the states above; None is what isn't known."""

    key: str
    state: str
    age: float | None = None  # seconds that it has stood there
    size: int | None = None  # bytes of its value

    def __str__(self) -> str:
        return IN_WORDS[self.state]


def inspect(instance: Model) -> Entry:
    """Return what stands in the cache under the key of `instance`; it never raises.

    Memcached is asked by `mg` without the value and with its flag `u`: that leaves the entry's
    place among those to be evicted and its last access as they are. (The server's own totals
    count it as one more `get`.)
    """
    config = config_of(type(instance)._meta.concrete_model)
    key = instance.key()
    try:
        backend = caches[config.cache]
        look = _in_memcached if isinstance(backend, MemcachedCache) else _in_local_memory
        state, left, size = look(backend, key)
    except Exception:
        return Entry(key, AWAY)
    # Nothing says when an entry was put, only when it ends.
    hold = setting("CACHING_HOLD") + TICK
    lasts = {ROW: config.timeout, LEASE: setting("CACHING_LEASE"), HELD: hold}
    known = left is not None and state in lasts
    return Entry(key, state, max(0.0, lasts[state] - left) if known else None, size)


def _in_memcached(backend: MemcachedCache, key: str) -> tuple[str, float | None, int | None]:
    """Return its state, the seconds it has left, and its size in bytes."""
    name = backend.make_and_validate_key(key)
    answer = backend._cache.server_of(name).raw_command(f"mg {name} f s t u")
    word, *flags = answer.decode().split()
    if word == "EN":
        return NOTHING, None, None
    if word != "HD":
        return AWAY, None, None
    values = {flag[0]: int(flag[1:]) for flag in flags}
    left = values["t"] if values["t"] >= 0 else None
    return BY_FLAGS.get(values["f"], OTHER), left, values["s"]


def _in_local_memory(backend: LocalMemoryCache, key: str) -> tuple[str, float | None, int | None]:
    """Return the same; its size is that of what this process keeps."""
    seen = backend.gets_many([key])[key]
    if seen.token is None:
        return NOTHING, None, None
    ends = backend._expire_info.get(backend.make_and_validate_key(key))
    return BY_TYPE.get(type(seen.value), OTHER), ends - time() if ends else None, len(seen.token)
