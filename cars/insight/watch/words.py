"""What the log says, in words.

It has no values. What was put is told by how long it may stay: each of the recipe's entries has a
timeout of its own.
"""

from math import ceil
from typing import Any

from django.core.cache import caches

from cars.caching.entries import TICK, State
from cars.caching.protocol import setting
from cars.caching.registry import cached_models, config_of

from . import log

ROW, LEASE, HOLDS, OTHER = State.ROW, State.LEASE, State.HOLDS, State.OTHER
UNSURE = "row or holds"
EXPIRED = "expired"


def site_prefix() -> str:
    """Return what the site's keys begin with in Memcached, as in "carsite:1:"."""
    return caches["default"].make_key("")


def row_timeout(key: str) -> int | None:
    """Return the seconds that a row stays under `key`, without the prefix; None if none does."""
    for model in cached_models():
        config = config_of(model)
        if key.startswith(f"{config.prefix}{model.__name__}."):
            return config.timeout
    return None


def longest() -> dict[str, int]:
    """Return the seconds that a lease and a hold may stay."""
    return {LEASE: ceil(setting("CACHING_LEASE")), HOLDS: ceil(setting("CACHING_HOLD")) + TICK}


def kind_put(key: str, timeout: int) -> str:
    """Return what was put under `key` to stay `timeout` seconds."""
    row = row_timeout(key)
    if timeout < 0:
        return EXPIRED
    if row is None:
        return OTHER
    if timeout == row:
        return ROW
    # A hold that is put again, when another writer's is taken off, stays for what is left of it.
    limits = longest()
    return next((kind for kind in (LEASE, HOLDS) if 0 < timeout <= limits[kind]), ROW)


def kind_standing(key: str, timeout: int, fetched: bool) -> str:
    """Return what stands under `key`; `timeout` is from its last access to its end, in seconds.

    Only until it is `fetched` that is sure to be the timeout it was put with.
    """
    kind = kind_put(key, timeout)
    if fetched and kind in (LEASE, HOLDS) and not 0 <= longest()[kind] - timeout <= 1:
        return UNSURE  # a row that was asked for near its end, perhaps
    return kind


def put_at(key: str, kind: str, expires: float) -> float | None:
    """Return when what stands under `key` until `expires` was put, if it can be known."""
    timeout = row_timeout(key) if kind == ROW else longest().get(kind)
    return None if timeout is None else expires - timeout


def duration(seconds: int) -> str:
    """Return `seconds` as one would say them."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = round(seconds / size)
            article = "an" if unit == "hour" else "a"
            return f"{article} {unit}" if count == 1 else f"{count} {unit}s"
    return "a second" if seconds == 1 else f"{seconds} seconds"


def size(count: int) -> str:
    """Return `count` bytes in words."""
    return "1 byte" if count == 1 else f"{count:,} bytes"


class Teller:
    """Says in words what happens, in its order, and remembers what was put where."""

    REMEMBERED = 10_000  # keys

    def __init__(self) -> None:
        self._standing: dict[str, str] = {}

    def tell(self, event: log.Line, key: str) -> dict[str, Any]:
        """Return what happened to `key` (that of `event`, without the prefix), for the page."""
        what, text = self._words(event, key)
        return {"time": event.time, "key": key, "what": what, "text": text}

    def _words(self, event: log.Line, key: str) -> tuple[str, str]:
        if isinstance(event, log.Fetch):
            return _describe_lookup(event, self._standing.get(key))
        if isinstance(event, log.Store):
            kind = kind_put(key, event.timeout)
            if event.stored:
                self._remember(key, kind)
            return _describe_store(event, kind)
        self._remember(key, None)
        if isinstance(event, log.Eviction):
            return "lost", f"evicted to make room ({size(event.size)})"
        return "lost", "deleted"

    def _remember(self, key: str, kind: str | None) -> None:
        self._standing.pop(key, None)
        if kind in (ROW, LEASE, HOLDS):
            self._standing[key] = kind
        if len(self._standing) > self.REMEMBERED:
            del self._standing[next(iter(self._standing))]


def _describe_lookup(event: log.Fetch, standing: str | None) -> tuple[str, str]:
    if event.found:
        if standing in (LEASE, HOLDS):
            return "mark", f"looked up: found a {standing}"
        return "found", "looked up: found" + (f" a {standing}" if standing else "")
    why = {"expired": ", its time was up", "flushed": ", all was flushed"}
    return "missing", "looked up: not found" + why.get(event.status, "")


def _describe_store(event: log.Store, kind: str) -> tuple[str, str]:
    if event.status in ("too_large", "no_memory"):
        return "refused", "too large, or no room: not put"
    if not event.stored:
        if kind == LEASE:
            return "refused", "no lease: something stands there"
        return "refused", "not put: something else came first"
    if kind == EXPIRED:
        return "lost", "expired: taken out"
    stays = f"stays {duration(event.timeout)}" if event.timeout else "stays for good"
    if kind == LEASE:
        return "lease", f"leased by a reader, who has {duration(event.timeout)} to fill it"
    if kind == HOLDS:
        return "hold", f"held by a writer, {duration(event.timeout)} at most"
    return "row", f"a {kind} was put ({size(event.size)}, {stays})"
