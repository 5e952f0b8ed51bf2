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

HIT = "hit"
MISS = "miss"
FILLED = "filled"
EXPIRED = "expired"


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


def tell(outcome: str, key: str, model: type[Model], started: float) -> None:
    """Tell the listeners of `outcome`; `started` is what `perf_counter()` said before."""
    if listeners := _listeners.get():
        event = Event(outcome, key, model, perf_counter() - started)
        for listener in listeners:
            listener(event)
