"""Events: what happened to the rows, for listeners.

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
GIVEN_UP = "given up"  # as `waited`, but the row did not come in time; the database was asked
NO_ANSWER = "no answer"  # the cache did not answer; the database was asked

LOOKUPS = (HIT, MISS, HELD, WAITED, GIVEN_UP, NO_ANSWER)

# The steps on the way: each is told when it has ended.
LOOKED = "looked"  # at what stands there: not a row that a read can use, or a writer looks
SELECTED = "selected"  # from the database
HOLD = "hold"  # a writer holds the row
COMMITTED = "committed"  # it was written and committed, since its hold was put
WITHDRAWN = "withdrawn"  # a writer's hold was removed, and nothing filled

STEPS = (LOOKED, SELECTED, HOLD, COMMITTED, WITHDRAWN)

# How an entry was changed, or was not.
FILLED = "filled"  # a reader or the release of a writer put the row into the cache
EXPIRED = "expired"  # there is no such row, or it can't be stored: the entry was removed; `forget`
OWED = "owed"  # the cache did not answer a writer: it is written down in the database
REFUSED = "refused"  # others changed the entry too often: what was to be done is owed


@dataclass(frozen=True, slots=True)
class Event:
    """One outcome: what happened to the row under `key`, and how many seconds it took.

    Rows that shared a round trip have the same `started`, the time before by `perf_counter()`.
    """

    outcome: str
    key: str
    model: type[Model]
    seconds: float
    started: float


Listener = Callable[[Event], None]

# By context, so that the listener of one request gets no events of another.
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
    """Tell the listeners how each key ended; `started` is the time before, by `perf_counter()`."""
    if listeners := _listeners.get():
        seconds = perf_counter() - started
        for key in keys:
            event = Event(outcome, key, model, seconds, started)
            for listener in listeners:
                listener(event)
