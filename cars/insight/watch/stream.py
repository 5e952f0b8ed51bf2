"""The stream of server-sent events behind the page: one for each who watches."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from . import log, server, words

LENGTH = 60  # seconds; then the browser takes it up again
RETRY = 200  # milliseconds until it does
HEARTBEAT = 5  # seconds
OFTEN, SELDOM = 0.1, 2.0  # seconds between two looks at the log, and at what is cached
AT_ONCE = 200  # events in one message; of the others only the number
SHOWN = 100  # cached objects in the table, the newest


def stream(addresses: list[str]) -> Iterator[str]:
    """Yield what happens on these servers, for LENGTH seconds, as server-sent events.

    `log`: what was done to the keys. `totals`: what the servers have counted, and whether they
    answer. `cached`: what they have. Only keys of this site.
    """
    start = time.monotonic()
    look = totals = cached = start
    beat = start + HEARTBEAT
    yield f"retry: {RETRY}\n\n"
    with closing(Watch(addresses)) as watch:
        while (now := time.monotonic()) < start + LENGTH:
            if now >= beat:
                yield ": still here\n\n"
                beat = now + HEARTBEAT
            if now >= look:
                if news := watch.news():
                    yield message("log", news)
                look = now + OFTEN
            if now >= totals:
                yield message("totals", watch.totals())
                totals = now + 10 * OFTEN
            if now >= cached:
                yield message("cached", watch.cached())
                cached = now + SELDOM
            watch.wait(look - time.monotonic())


def message(name: str, data: Any) -> str:
    """Return `data` as an event called `name`."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


class Watch:
    """Several servers, watched together."""

    def __init__(self, addresses: list[str]) -> None:
        self._prefix = words.site_prefix()
        self._teller = words.Teller()
        self._watchers = [server.Watcher(address) for address in addresses]
        self._entries: dict[str, list[server.Item]] = {}
        self._selector = DefaultSelector()
        self._open()

    def _open(self) -> None:
        for watcher in self._watchers:
            if watcher.open():
                self._selector.register(watcher.socket, EVENT_READ, watcher)

    def wait(self, seconds: float) -> None:
        """Read the logs for so many seconds, or until something has come."""
        if not self._selector.get_map():
            time.sleep(max(0, seconds))
            return
        for key, _ in self._selector.select(max(0, seconds)):
            if not key.data.read():
                self._selector.unregister(key.fileobj)
                key.data.close()

    def close(self) -> None:
        """End all connections."""
        for watcher in self._watchers:
            watcher.close()
        self._selector.close()

    def news(self) -> dict[str, Any] | None:
        """Return what has happened since the last time, or None for nothing."""
        told, numbers = [], {True: 0, False: 0}
        for watcher in self._watchers:
            for event in watcher.log.take(time.monotonic()):
                if event.key.startswith(self._prefix):
                    key = event.key.removeprefix(self._prefix)
                    said = self._teller.tell(event, key) | {"server": watcher.address}
                    told.append((event, said))
                    if isinstance(event, log.Fetch):
                        numbers[event.found] += 1
        if not told:
            return None
        if len(self._watchers) > 1:
            told.sort(key=lambda each: each[0].time)  # clocks may differ: about in order
        # Writes are few and tell more than lookups, so these are left out first.
        first = sorted(range(len(told)), key=lambda i: (isinstance(told[i][0], log.Fetch), -i))
        shown = [told[i][1] for i in sorted(first[:AT_ONCE])]
        return {
            "events": shown,
            "more": len(told) - len(shown),
            "found": numbers[True],
            "missing": numbers[False],
        }

    def totals(self) -> dict[str, Any]:
        """Return what the servers have counted, all together, and how each of them is."""
        self._open()
        sums: dict[str, int] = {}
        for watcher in self._watchers:
            if not watcher.trouble:
                for name, count in server.counters(watcher.address).items():
                    sums[name] = sums.get(name, 0) + count
        servers = [
            {"address": w.address, "trouble": w.trouble, "watching": w.is_watching}
            for w in self._watchers
        ]
        return {"counters": sums, "servers": servers}

    def cached(self) -> dict[str, Any]:
        """Return what the servers have under the site's keys, the newest first."""
        now = time.time()
        for watcher in self._watchers:
            if watcher.trouble:
                self._entries.pop(watcher.address, None)
            elif (found := server.entries(watcher.address)) is not None:
                self._entries[watcher.address] = found
        objects = [
            self._object(entry, now)
            for entries in self._entries.values()
            for entry in entries
            if entry.key.startswith(self._prefix) and (entry.expires or now + 1) > now
        ]
        objects.sort(key=lambda each: (each["age"] is None, each["age"], each["key"]))
        return {"count": len(objects), "objects": objects[:SHOWN]}

    def _object(self, entry: server.Item, now: float) -> dict[str, Any]:
        key = entry.key.removeprefix(self._prefix)
        kind, age = words.OTHER, None
        if entry.expires:
            kind = words.kind_standing(key, entry.expires - entry.accessed, entry.fetched)
            if put := words.put_at(key, kind, entry.expires):
                age = max(0, round(now - put))
        used = max(0, round(now - entry.accessed)) if entry.fetched else None
        return {
            "key": key,
            "kind": kind,
            "age": age,
            "used": used,
            "size": entry.size,
        }
