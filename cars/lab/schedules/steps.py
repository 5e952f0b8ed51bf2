"""The steps: every cache call, every SQL statement on the row, every COMMIT and ROLLBACK."""

import threading
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cars.caching.backends import LocalMemoryCache, MemcachedCache, SwapMixin
from cars.caching.entries import EXPIRE, Seen, Swap

if TYPE_CHECKING:
    from .actors import Actor

P = ParamSpec("P")
T = TypeVar("T")

WRITES = {"INSERT", "UPDATE", "DELETE"}
STATEMENTS = {"SELECT", "BEGIN", *WRITES}
TO_SAVEPOINT = "ROLLBACK TO SAVEPOINT"


class _Here(threading.local):
    actor: "Actor"  # unset in a thread that is not an actor's


here = _Here()


class Step:
    """What an actor will do next."""

    def __init__(
        self,
        kind: str,
        swap: Swap | None = None,
        atomic: bool = False,
        fills: bool = True,
        value: Any = None,
    ) -> None:
        self.kind = kind
        self.swap = swap  # what a cas compares and puts
        self.value = value  # what a set or an add puts
        self.atomic = atomic  # whether an SQL statement is in a transaction
        self.fills = fills  # whether the rows of a SELECT may go into the cache
        self.rows = 0  # how many rows the step has written

    def __str__(self) -> str:
        if self.swap is None:
            return self.kind
        new, token = self.swap.value, self.swap.seen.token
        what = "expire" if new is EXPIRE else type(new).__name__.lower()
        return f"{'add' if token is None else 'cas'} {what}"


def stop(step: Step, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `call` returns; in an actor's thread, call it when the scheduler says so."""
    actor = getattr(here, "actor", None)
    if actor is None or actor.acting or actor.program is None:
        return call(*args, **kwargs)
    actor.wait(step)
    actor.acting = True
    try:
        result = call(*args, **kwargs)
    except Exception as error:
        actor.seen.append((step.kind, type(error).__name__))
        actor.result = error
        raise
    finally:
        actor.acting = False
    actor.note(step, result)
    return result


class SteppingMixin(SwapMixin):
    """For cache backends: each call is a step."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return stop(Step("get"), super().get, *args, **kwargs)

    def get_many(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return stop(Step("get"), super().get_many, *args, **kwargs)

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        return stop(Step("gets"), super().gets_many, keys) if keys else {}

    def cas_many(self, swaps: Mapping[str, Swap]) -> set[str]:
        if not swaps:
            return set()
        (swap,) = swaps.values()
        return stop(Step("cas", swap), super().cas_many, swaps)

    def swap_and_look(self, swaps: Mapping[str, Swap]) -> dict[str, Seen]:
        self.cas_many(swaps)  # two steps: others can come in between
        return self.gets_many(swaps)

    def add(self, key: str, value: Any, *args: Any, **kwargs: Any) -> bool:
        return stop(Step("add", value=value), super().add, key, value, *args, **kwargs)

    def set(self, key: str, value: Any, *args: Any, **kwargs: Any) -> None:
        return stop(Step("set", value=value), super().set, key, value, *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return stop(Step("delete"), super().delete, *args, **kwargs)


class SteppingLocalMemory(SteppingMixin, LocalMemoryCache):
    """The recipe's backend for local memory, in steps."""


class SteppingMemcached(SteppingMixin, MemcachedCache):
    """The recipe's backend for Memcached, in steps."""
