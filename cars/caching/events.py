"""What happened to the objects, for whoever listens.

with events.listen(print):
    Car.objects.cache(1)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter

from django.db.models import Model

# How a lookup ended: one of these.
HIT = "hit"  # the row was in the cache
MISS = "miss"  # it was not; the database was asked
HELD = "held"  # a writer holds it; the database was asked
WAITED = "waited"  # another reader was filling it; it came from the cache then
GIVEN_UP = "given up"  # as `waited`, but in vain; the database was asked

LOOKUPS = (HIT, MISS, HELD, WAITED, GIVEN_UP)

# What else happens.
FILLED = "filled"  # the row was put into the cache, by a reader or when a writer was done
EXPIRED = "expired"  # there is no such row, or it can't be put: the entry was taken out
REFUSED = "refused"  # others' changes came first, too many times: a mark stays to its deadline


@dataclass(frozen=True, slots=True)
class Event:
    """One outcome: what happened to the object under `key`, and how many seconds it took."""

    outcome: str
    key: str
    model: type[Model]
    seconds: float


Listener = Callable[[Event], None]

# By context, so that one request never hears of another's objects.
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Call `listener` with every event of this thread (or task) inside the block."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def tell(outcome: str, model: type[Model], started: float, *keys: str) -> None:
    """Tell the listeners how each key ended; `started` is what `perf_counter()` said before."""
    if listeners := _listeners.get():
        seconds = perf_counter() - started
        for key in keys:
            event = Event(outcome, key, model, seconds)
            for listener in listeners:
                listener(event)
