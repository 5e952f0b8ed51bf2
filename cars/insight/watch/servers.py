"""Watches the logs of several servers together."""

import time
from collections import Counter
from dataclasses import dataclass, field
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from cars.caching.inspection import LOOKS

from . import log, server, words

AT_ONCE = 500  # lines of the log in one piece of news; the others are only counted


@dataclass
class News:
    """What has happened: events for the page, and how many fetches found something or nothing."""

    events: list[dict[str, Any]] = field(default_factory=list)
    found: int = 0
    missing: int = 0


class Watch:
    """Watches the servers at `addresses` for what happens to keys that begin with `prefix`."""

    def __init__(self, addresses: tuple[str, ...], prefix: str) -> None:
        self._prefix = prefix
        self._describer = words.Describer()
        self._looks: Counter[tuple[str, int]] = Counter()  # to come, by server and connection
        self._watchers = [server.Watcher(address) for address in addresses]
        self._items: dict[str, list[server.Item]] = {}
        self._selector = DefaultSelector()

    def open(self) -> None:
        """Connect to each server that has no connection, at most every few seconds."""
        for watcher in self._watchers:
            if watcher.open():
                self._describer.forget()  # a server may have been emptied meanwhile
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

    def news(self) -> News:
        """Return what has happened since the last call."""
        news, described = News(), []
        for watcher in self._watchers:
            for line in watcher.log.take(time.monotonic()):
                if line.key.startswith(self._prefix) and not self._is_look(watcher.address, line):
                    event = self._describer.describe(line, line.key.removeprefix(self._prefix))
                    # A server that starts again numbers its lines from 1 again.
                    number = f"{watcher.address} {line.gid} {line.time}"
                    event |= {"id": number, "server": watcher.address}
                    described.append((isinstance(line, log.Fetch), event))
                    if isinstance(line, log.Fetch):
                        news.found += line.found
                        news.missing += not line.found
        if len(self._watchers) > 1:
            described.sort(key=lambda each: each[1]["time"])  # roughly: server clocks may differ
        # Fetches are left out first: writes are fewer and more interesting.
        order = sorted(range(len(described)), key=lambda i: (described[i][0], -i))
        news.events = [described[i][1] for i in sorted(order[:AT_ONCE])]
        if more := len(described) - len(news.events):
            news.events.append(_gap(more, news.events[-1]))
        return news

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
        """Return the sums of the servers' counters, the condition of each server, and the time."""
        sums: Counter[str] = Counter()
        for watcher in self._watchers:
            if not watcher.problem:
                sums.update(server.counters(watcher.address))
        servers = [
            {"address": w.address, "problem": w.problem, "watching": w.is_watching}
            for w in self._watchers
        ]
        return {"counters": sums, "servers": servers, "now": time.time()}

    def items(self) -> dict[str, list[server.Item] | None]:
        """Return the items of each server; None for one that has never given them."""
        for watcher in self._watchers:
            if watcher.problem:
                self._items.pop(watcher.address, None)
            elif (found := server.items(watcher.address)) is not None:
                self._items[watcher.address] = found
        return {w.address: self._items.get(w.address) for w in self._watchers}


def _gap(count: int, before: dict[str, Any]) -> dict[str, Any]:
    """Return the event that stands for `count` lines, after the event `before`."""
    text = f"{count:,} more lines, too fast to show"
    return {
        "id": f"{before['id']} and more",
        "time": before["time"],
        "key": "",
        "server": "",
        "connection": None,
        "what": "gap",
        "text": text,
        "count": count,
        "state": None,
        "until": None,
    }
