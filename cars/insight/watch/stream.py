"""The stream of server-sent events behind the page; each open page has one."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from cars.caching.inspection import LOOKS

from . import log, server, words

LENGTH = 60  # seconds; then the browser reconnects
RETRY = 200  # milliseconds until the browser reconnects
HEARTBEAT = 5  # seconds
OFTEN, SELDOM = 0.1, 2.0  # seconds between two reads of the log, and of the items
AT_ONCE = 200  # lines of the log in one message; the others are only counted
SHOWN = 100  # items in the table, the newest


def stream(addresses: list[str]) -> Iterator[str]:
    """Yield what happens on these servers, for LENGTH seconds, as server-sent events.

    `log`: what happened to keys. `totals`: the counters of the servers, and whether each of them
    answers. `cached`: the items. Only `totals` covers more than this site's keys.
    """
    start = time.monotonic()
    next_log = next_totals = next_cached = start
    next_beat = start + HEARTBEAT
    yield f"retry: {RETRY}\n\n"
    with closing(Watch(addresses)) as watch:
        while (now := time.monotonic()) < start + LENGTH:
            if now >= next_beat:
                yield ": still here\n\n"
                next_beat = now + HEARTBEAT
            if now >= next_log:
                if news := watch.news():
                    yield message("log", news)
                next_log = now + OFTEN
            if now >= next_totals:
                yield message("totals", watch.totals())
                next_totals = now + 10 * OFTEN
            if now >= next_cached:
                yield message("cached", watch.cached())
                next_cached = now + SELDOM
            watch.wait(next_log - time.monotonic())


def message(name: str, data: Any) -> str:
    """Return a server-sent event called `name`, with `data` as JSON."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


class Watch:
    """Watches several servers together."""

    def __init__(self, addresses: list[str]) -> None:
        self._prefix = words.site_prefix()
        self._describer = words.Describer()
        self._looks: Counter[tuple[str, int]] = Counter()  # to come, by server and connection
        self._watchers = [server.Watcher(address) for address in addresses]
        self._items: dict[str, list[server.Item]] = {}
        self._selector = DefaultSelector()
        self._open()

    def _open(self) -> None:
        for watcher in self._watchers:
            if watcher.open():
                self._selector.register(watcher.socket, EVENT_READ, watcher)

    def wait(self, seconds: float) -> None:
        """Read the logs for up to `seconds`, until something is received."""
        if not self._selector.get_map():
            time.sleep(max(0, seconds))
            return
        for key, _ in self._selector.select(max(0, seconds)):
            if not key.data.read():
                self._selector.unregister(key.fileobj)
                key.data.close()

    def close(self) -> None:
        """Close all connections."""
        for watcher in self._watchers:
            watcher.close()
        self._selector.close()

    def news(self) -> dict[str, Any] | None:
        """Return what has happened since the last call, or None for nothing."""
        described, fetches = [], {True: 0, False: 0}
        for watcher in self._watchers:
            for line in watcher.log.take(time.monotonic()):
                if line.key.startswith(self._prefix) and not self._is_look(watcher.address, line):
                    key = line.key.removeprefix(self._prefix)
                    event = self._describer.describe(line, key) | {"server": watcher.address}
                    described.append((line, event))
                    if isinstance(line, log.Fetch):
                        fetches[line.found] += 1
        if not described:
            return None
        if len(self._watchers) > 1:
            described.sort(key=lambda each: each[0].time)  # approximate: server clocks may differ
        # Fetches are left out first: writes are fewer and more interesting.
        order = sorted(
            range(len(described)), key=lambda i: (isinstance(described[i][0], log.Fetch), -i)
        )
        shown = [described[i][1] for i in sorted(order[:AT_ONCE])]
        return {
            "events": shown,
            "more": len(described) - len(shown),
            "found": fetches[True],
            "missing": fetches[False],
        }

    def _is_look(self, address: str, line: log.Line) -> bool:
        """Is `line` a fetch by `inspection`, for the admin or a car's page, and not by a read?"""
        if not isinstance(line, log.Fetch):
            return False
        connection = (address, line.connection)
        key = line.key.removeprefix(self._prefix)
        if key.startswith(LOOKS) and key.removeprefix(LOOKS).isdecimal():
            self._looks[connection] = int(key.removeprefix(LOOKS))
            return True
        if not self._looks[connection]:
            return False
        self._looks[connection] -= 1
        return True

    def totals(self) -> dict[str, Any]:
        """Return the sums of the servers' counters, and the condition of each server."""
        self._open()
        sums: dict[str, int] = {}
        for watcher in self._watchers:
            if not watcher.problem:
                for name, count in server.counters(watcher.address).items():
                    sums[name] = sums.get(name, 0) + count
        servers = [
            {"address": w.address, "problem": w.problem, "watching": w.is_watching}
            for w in self._watchers
        ]
        return {"counters": sums, "servers": servers}

    def cached(self) -> dict[str, Any]:
        """Return the items under the site's keys, the newest first."""
        now = time.time()
        for watcher in self._watchers:
            if watcher.problem:
                self._items.pop(watcher.address, None)
            elif (found := server.items(watcher.address)) is not None:
                self._items[watcher.address] = found
        items = [
            self._describe_item(item, now)
            for of_server in self._items.values()
            for item in of_server
            if item.key.startswith(self._prefix) and (item.expires or now + 1) > now
        ]
        items.sort(key=lambda each: (each["age"] is None, each["age"], each["key"]))
        # Of a server that never gave its items, nothing is known: that is no 0.
        unknown = [w.address for w in self._watchers if w.address not in self._items]
        return {"count": len(items), "items": items[:SHOWN], "unknown": unknown}

    def _describe_item(self, item: server.Item, now: float) -> dict[str, Any]:
        key = item.key.removeprefix(self._prefix)
        state, age = words.OTHER, None
        if item.expires:
            state = words.item_state(key, item.expires - item.accessed, item.fetched)
            if (stored := words.stored_at(key, state, item.expires)) is not None:
                age = max(0, round(now - stored))
        used = max(0, round(now - item.accessed)) if item.fetched else None
        return {"key": key, "state": state, "age": age, "used": used, "size": item.size}
