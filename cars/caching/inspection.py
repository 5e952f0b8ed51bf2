"""What stands under one row's key, looked at from outside: it doesn't count as an access."""

from collections.abc import Callable, Sequence
from contextlib import suppress
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

# The state of an entry, the seconds that it has left, and its size in bytes.
_Looked = tuple[State, float | None, int | None]
_NOTHING: _Looked = (State.NOTHING, None, None)
_UNKNOWN: _Looked = (State.NO_ANSWER, None, None)

LOOKS = "looks."  # with a number: the key that is fetched before as many looks, never stored

BY_FLAGS = {flag: STATES[kind] for kind, flag in Serde.FLAGS.items()}

DESCRIPTIONS = {
    State.ROW: "A row: reads are served from it.",
    State.LEASE: "A lease: a reader is about to fill it.",
    State.HOLDS: "Holds: it is being written, so reads go to the database.",
    State.NOTHING: "Nothing: a read fills it, unless something is owed.",
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
    return inspect_many([instance])[0]


def inspect_many(instances: Sequence[Model]) -> list[Standing]:
    """Return the same for each of `instances`, of one model: one round trip to each server."""
    if not instances:
        return []
    keys = [_key(instance) for instance in instances]
    found: dict[str, _Looked] = {"": _NOTHING}
    # The cache doesn't tell when an entry was put, only when it ends.
    lasts: dict[State, float | None] = {
        State.LEASE: setting("CACHING_LEASE"),
        State.HOLDS: setting("CACHING_HOLD") + TICK,
    }
    with suppress(Exception):
        config = config_of(concrete(type(instances[0])))
        lasts[State.ROW] = config.timeout
        backend = caches[config.cache]
        look: Callable[..., dict[str, _Looked]] = _in_local_memory
        if isinstance(backend, MemcachedCache):
            look = _in_memcached
        found |= look(backend, [key for key in keys if key])
    return [_standing(key, found.get(key, _UNKNOWN), lasts) for key in keys]


def _key(instance: Any) -> str:
    try:
        key: str = instance.key()
    except ValueError:  # without a pk there is no entry
        return ""
    return key


def _standing(key: str, looked: _Looked, lasts: dict[State, float | None]) -> Standing:
    state, left, size = looked
    whole = lasts.get(state)
    age = None if left is None or whole is None else max(0.0, whole - left)
    return Standing(key, state, age, left, size)


def _in_memcached(backend: MemcachedCache, keys: list[str]) -> dict[str, _Looked]:
    """Return what stands under each of `keys`, without those of a server that doesn't answer."""
    client = backend._cache
    found: dict[str, _Looked] = {}
    keys_of = {backend.make_and_validate_key(key): key for key in keys}
    with client.one_deadline():
        for server, names in client.by_server(keys_of).items():
            commands = [f"mg {name} f s t u" for name in names]
            # Memcached logs each `mg` as a fetch. The key before tells who reads the log.
            said = f"mg {backend.make_key(f'{LOOKS}{len(names)}')} s"
            answer = server.raw_command("\r\n".join([said, *commands, "mn"]), "MN\r\n")
            lines = answer.decode().splitlines()[1:]
            if len(lines) == len(names):
                found |= zip([keys_of[n] for n in names], map(_parse, lines), strict=True)
    return found


def _parse(line: str) -> _Looked:
    word, *flags = line.split()
    if word == "EN":
        return _NOTHING
    if word != "HD":
        return _UNKNOWN
    values = {flag[0]: int(flag[1:]) for flag in flags}
    left = values["t"] if values["t"] >= 0 else None
    return BY_FLAGS.get(values["f"], State.OTHER), left, values["s"]


def _in_local_memory(backend: LocalMemoryCache, keys: list[str]) -> dict[str, _Looked]:
    """Return the same; the size is that of what this process keeps."""
    found: dict[str, _Looked] = {}
    for key, seen in backend.gets_many(keys).items():
        if seen.stamp is None:
            found[key] = _NOTHING
            continue
        ends = backend._expire_info.get(backend.make_and_validate_key(key))
        found[key] = (state_of(seen.value), ends - time() if ends else None, len(seen.stamp))
    return found
