"""The stream of server-sent events behind the page; each open page has one."""

import json
import selectors
import socket
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from .recorder import Recorder
from .table import cached

# Seconds; then the browser reconnects. A longer stream would not notice one that doesn't read:
# minutes of a quiet log fit into the buffers of the sockets. Such a browser does not reconnect.
LENGTH = 8
RETRY = 100  # milliseconds until the browser reconnects
HEARTBEAT = 3  # seconds
OVERLAP = 2  # seconds that a browser gets again after a reconnection: lines can arrive late
PIECE = 1024  # bytes; less than any socket takes when it is ready to write


def stream(
    recorder: Recorder, followed: str = "", since: float = 0.0, client: socket.socket | None = None
) -> Generator[str]:
    """Yield what the recorder has and gets, for LENGTH seconds, as server-sent events.

    It begins with the events after the time `since`. With the socket of the `client`, the server
    isn't blocked in a write: the stream ends in time, whether the client reads or not.
    """
    end = time.monotonic() + LENGTH
    for text in _messages(recorder, followed, since, end):
        if client is None:
            yield text
            continue
        for start in range(0, len(text), PIECE):
            if not _takes_more(client, end - time.monotonic()):
                with suppress(OSError):  # it has gone already
                    client.shutdown(socket.SHUT_RDWR)  # else the server would wait to write the end
                return
            yield text[start : start + PIECE]


def _takes_more(client: socket.socket, seconds: float) -> bool:
    """Wait for up to `seconds` until `client` takes more without blocking."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_WRITE)
        return bool(selector.select(seconds))


def _messages(recorder: Recorder, followed: str, since: float, end: float) -> Generator[str]:
    """Yield the server-sent events until the time `end`.

    `log`: what happened to keys, first in the last minutes. `totals`: the counters of the servers,
    and whether each of them answers. `cached`: the items, and the one under the key `followed`.
    Only `totals` covers more than this site's keys.
    """
    next_beat = time.monotonic() + HEARTBEAT
    seen, totals, items = 0, None, None
    yield f"retry: {RETRY}\n\n"
    while time.monotonic() < end:
        version = recorder.version
        number, events, seconds = recorder.log(seen)
        if number > seen:
            if not seen:
                events = [event for event in events if event["time"] > since - OVERLAP]
            latest = max((event["time"] for event in events), default=since)
            yield message("log", {"events": events, "seconds": seconds}, latest)
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


def message(name: str, data: Any, time: float | None = None) -> str:
    """Return a server-sent event called `name`, with `data` as JSON.

    A browser sends the latest `time` back when it reconnects.
    """
    id_ = "" if time is None else f"id: {time}\n"
    return f"event: {name}\n{id_}data: {json.dumps(data)}\n\n"
