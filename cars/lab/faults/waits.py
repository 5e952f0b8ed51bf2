"""How long a page waits for a Memcached that doesn't answer.

This module is pymemcache's option `socket_module` in a run: the socket module, with a class that
measures the calls that fail. Other programs on the machine make a page slower, but hardly ever make
such a call fail.
"""

import socket as original
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any


class _Page(threading.local):
    seconds = 0.0


_page = _Page()


def begin() -> None:
    """Begin a page in this thread."""
    _page.seconds = 0.0


def seconds() -> float:
    """Return how many seconds this thread has waited in calls that failed, since `begin`."""
    return _page.seconds


class socket(original.socket):
    """A socket that measures its calls that fail. A closed connection costs no time."""

    def connect(self, address: Any) -> None:
        with _measured():
            super().connect(address)

    def sendall(self, data: Any, flags: int = 0) -> None:
        with _measured():
            super().sendall(data, flags)

    def recv(self, size: int, flags: int = 0) -> bytes:
        with _measured():
            return super().recv(size, flags)


@contextmanager
def _measured() -> Iterator[None]:
    started = perf_counter()
    try:
        yield
    except OSError:
        _page.seconds += perf_counter() - started
        raise


def __getattr__(name: str) -> Any:
    return getattr(original, name)
