"""The stream of server-sent events behind the page; each open page has one."""

import json
import time
from collections.abc import Generator
from typing import Any

from .recorder import Recorder
from .table import cached

LENGTH = 60  # seconds; then the browser reconnects
RETRY = 200  # milliseconds until the browser reconnects
HEARTBEAT = 5  # seconds


def stream(recorder: Recorder, followed: str = "") -> Generator[str]:
    """Yield what the recorder has and gets, for LENGTH seconds, as server-sent events.

    `log`: what happened to keys, first in the last minutes. `totals`: the counters of the servers,
    and whether each of them answers. `cached`: the items, and the one under the key `followed`.
    Only `totals` covers more than this site's keys.
    """
    end = time.monotonic() + LENGTH
    next_beat = time.monotonic() + HEARTBEAT
    seen, totals, items = 0, None, None
    yield f"retry: {RETRY}\n\n"
    while time.monotonic() < end:
        version = recorder.version
        number, events, seconds = recorder.log(seen)
        if number > seen:
            yield message("log", {"events": events, "seconds": seconds})
            seen = number
        if recorder.totals and recorder.totals is not totals:
            totals = recorder.totals
            yield message("totals", totals)
        if recorder.items and recorder.items is not items:
            items = recorder.items
            yield message("cached", cached(items, recorder.prefix, followed))
        if time.monotonic() >= next_beat:
            yield ": still here\n\n"
            next_beat = time.monotonic() + HEARTBEAT
        recorder.wait(version, min(1, HEARTBEAT))


def message(name: str, data: Any) -> str:
    """Return a server-sent event called `name`, with `data` as JSON."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
