"""Follows the logs in a thread, one for each process, and keeps the last minutes for its pages."""

import time
from collections import deque
from contextlib import closing
from threading import Condition, Lock, Thread
from typing import Any

from django.conf import settings

from . import server, words
from .servers import News, Watch

KEPT = 300  # seconds that events are kept
UNUSED = 300  # seconds that a recorder goes on without a page
MOST = 2000  # events that are kept
OFTEN, SECOND, SELDOM = 0.1, 1.0, 2.0  # seconds between two looks: log, counters, items

Seconds = list[tuple[int, int, int]]

_recorders: dict[tuple[tuple[str, ...], str], "Recorder"] = {}
_lock = Lock()


def recorder(addresses: list[str]) -> "Recorder":
    """Return the recorder of this process for the servers at `addresses`; start it if needed."""
    watched = (tuple(addresses), words.site_prefix())
    with _lock:
        found = _recorders.get(watched)
        if found is None or not found.is_alive():  # as in a forked child
            found = _recorders[watched] = Recorder(*watched)
            found.start()
        found.asked = time.monotonic()
        return found


class Recorder(Thread):
    """The thread. Pages take what they haven't seen by `log()`, `totals` and `items`.

    It ends when no page has asked for UNUSED seconds, unless WATCH_FROM_START is set.
    """

    def __init__(self, addresses: tuple[str, ...], prefix: str) -> None:
        super().__init__(name="watch", daemon=True)
        self._watched = (addresses, prefix)
        self.prefix = prefix
        self.asked = time.monotonic()  # when a page has asked last
        self.changed = Condition()  # is notified of news; guards what follows
        self.totals: dict[str, Any] = {}
        self.items: dict[str, list[server.Item] | None] = {}
        self.version = 0  # counts the changes
        self._number = 0  # of the newest event
        self._events: deque[tuple[int, dict[str, Any]]] = deque(maxlen=MOST)
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=KEPT)

    def run(self) -> None:
        next_totals = next_items = 0.0
        with closing(Watch(*self._watched)) as watch:
            while self._is_wanted():
                watch.open()
                self._add(watch.news())
                now = time.monotonic()
                viewed = now < self.asked + SELDOM
                if viewed and now >= next_totals:
                    self._set(totals=watch.totals())
                    next_totals = now + SECOND
                if viewed and now >= next_items:
                    self._set(items=watch.items())
                    next_items = now + SELDOM
                watch.wait(OFTEN if viewed else SECOND)

    def _is_wanted(self) -> bool:
        with _lock:
            wanted = settings.WATCH_FROM_START or time.monotonic() < self.asked + UNUSED
            if not wanted and _recorders.get(self._watched) is self:
                del _recorders[self._watched]
            return wanted

    def _add(self, news: News) -> None:
        if not news.events:
            return
        with self.changed:
            for event in news.events:
                self._number += 1
                self._events.append((self._number, event))
            while self._events[0][1]["time"] < time.time() - KEPT and len(self._events) > 1:
                self._events.popleft()
            second, found, missing = int(time.time()), news.found, news.missing
            if self._seconds and self._seconds[-1][0] == second:
                _, before_found, before_missing = self._seconds.pop()
                found, missing = found + before_found, missing + before_missing
            self._seconds.append((second, found, missing))
            self._tell()

    def _set(self, **latest: dict[str, Any]) -> None:
        with self.changed:
            vars(self).update(latest)
            self._tell()

    def _tell(self) -> None:
        self.version += 1
        self.changed.notify_all()

    def wait(self, version: int, seconds: float) -> None:
        """Wait for up to `seconds` until there is another version."""
        with self.changed:
            self.changed.wait_for(lambda: self.version != version, seconds)

    def log(self, seen: int) -> tuple[int, list[dict[str, Any]], Seconds]:
        """Return the number of the newest event, the events after number `seen`, and the seconds.

        A second is (its time, fetches that found something, fetches that found nothing): the last
        two, or all if nothing is `seen`.
        """
        with self.changed:
            self.asked = time.monotonic()
            events = [event for number, event in self._events if number > seen]
            return self._number, events, list(self._seconds)[-2 if seen else 0 :]
