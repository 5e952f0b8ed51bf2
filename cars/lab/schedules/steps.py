"""The steps: every cache call, every SQL statement on the row, every COMMIT and ROLLBACK."""

import threading

from cars.caching.backends import LocalMemoryCache, MemcachedCache
from cars.caching.entries import EXPIRE

WRITES = {"INSERT", "UPDATE", "DELETE"}
STATEMENTS = {"SELECT", "BEGIN", *WRITES}
BACK = "ROLLBACK TO SAVEPOINT"

here = threading.local()  # its `actor`, if this thread is one's


class Step:
    """What an actor is about to do."""

    def __init__(self, kind, swap=None, atomic=False, fills=True):
        self.kind = kind
        self.swap = swap  # of a cas
        self.atomic = atomic  # an SQL statement in a transaction
        self.fills = fills  # a SELECT whose rows may go into the cache
        self.rows = 0  # how many it has written

    def __str__(self):
        if self.swap is None:
            return self.kind
        new, token = self.swap.value, self.swap.seen.token
        what = "expire" if new is EXPIRE else type(new).__name__.lower()
        return f"{'add' if token is None else 'cas'} {what}"


def stop(step, call, *args, **kwargs):
    """Do `call` when the scheduler says so, if this thread is an actor's."""
    actor = getattr(here, "actor", None)
    if actor is None or actor.acting or actor.program is None:
        return call(*args, **kwargs)
    actor.wait(step)
    actor.acting = True
    try:
        result = call(*args, **kwargs)
    except Exception as error:
        actor.seen.append((step.kind, type(error).__name__))
        raise
    finally:
        actor.acting = False
    actor.note(step, result)
    return result


class SteppingMixin:
    """For cache backends: each call is a step."""

    def get(self, *args, **kwargs):
        return stop(Step("get"), super().get, *args, **kwargs)

    def get_many(self, *args, **kwargs):
        return stop(Step("get"), super().get_many, *args, **kwargs)

    def gets_many(self, keys):
        return stop(Step("gets"), super().gets_many, keys) if keys else {}

    def cas_many(self, swaps):
        if not swaps:
            return set()
        (swap,) = swaps.values()
        return stop(Step("cas", swap), super().cas_many, swaps)

    def set(self, *args, **kwargs):
        return stop(Step("set"), super().set, *args, **kwargs)

    def delete(self, *args, **kwargs):
        return stop(Step("delete"), super().delete, *args, **kwargs)


class SteppingLocalMemory(SteppingMixin, LocalMemoryCache):
    """The project's backend for local memory, in steps."""


class SteppingMemcached(SteppingMixin, MemcachedCache):
    """The project's backend for Memcached, in steps."""
