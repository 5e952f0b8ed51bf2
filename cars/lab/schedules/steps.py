"""The steps: every cache call, every SQL statement on the row, every COMMIT and ROLLBACK."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from greenlet import getcurrent

from cars.caching.backends import LocalMemoryCache, MemcachedCache, SwapMixin
from cars.caching.entries import EXPIRE, NO_ANSWER, Seen, Swap

if TYPE_CHECKING:
    from .actors import Actor

P = ParamSpec("P")
T = TypeVar("T")

WRITES = {"INSERT", "UPDATE", "DELETE"}
STATEMENTS = {"SELECT", "BEGIN", *WRITES}
TO_SAVEPOINT = "ROLLBACK TO SAVEPOINT"


class _Here:
    @property
    def actor(self) -> "Actor":  # unset where no actor runs, as in the scheduler
        running: Any = getcurrent()
        actor: Actor = running.actor
        return actor


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
        owed: bool = False,
    ) -> None:
        self.kind = kind
        self.swap = swap  # what a cas compares and puts
        self.value = value  # what a set or an add puts
        self.atomic = atomic  # whether an SQL statement is in a transaction
        self.fills = fills  # whether the rows of a SELECT may go into the cache
        self.owed = owed  # whether an SQL statement is on the records of what is owed
        self.rows = 0  # how many rows the step has written

    def __str__(self) -> str:
        if self.swap is None:
            return f"{self.kind} owed" if self.owed else self.kind
        new, stamp = self.swap.value, self.swap.seen.stamp
        what = "expire" if new is EXPIRE else type(new).__name__.lower()
        return f"{'add' if stamp is None else 'cas'} {what}"


def stop(step: Step, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `call` returns; in an actor, call it when the scheduler says so."""
    actor = getattr(here, "actor", None)
    if actor is None or actor.acting:
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


class Link:
    """An actor's connection to the cache: it can break, and then a call gets no answer."""

    def __init__(self) -> None:
        self.broken = False  # the next call gets no answer: the server has been restarted
        self.fails = self.done = False  # whether the next call gets no answer, but is done
        self.unanswered = 0  # how many calls in a row got no answer
        self._seen: list[Any] = []  # the stamps that were seen over it

    def ask(self, unanswered: T, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` returns, or `unanswered`."""
        if not (self.broken or self.fails):
            self.unanswered = 0
            return call(*args, **kwargs)
        if self.done:
            call(*args, **kwargs)
        self.broken = self.fails = self.done = False
        self.unanswered += 1
        self._seen.clear()  # the next call makes another connection
        return unanswered

    def note(self, seen: Iterable[Seen]) -> None:
        """Note what was seen over this connection."""
        self._seen += [at.stamp for at in seen]

    def has_seen(self, stamp: Any) -> bool:
        """Was `stamp` seen over this connection? A cas with another one isn't sent."""
        return stamp is None or any(stamp is seen for seen in self._seen)


def link() -> Link:
    """Return the link of the actor that runs; elsewhere one that never breaks."""
    actor = getattr(here, "actor", None)
    return actor.link if actor else Link()


class SteppingMixin(SwapMixin):
    """For cache backends: each call is a step."""

    def make_and_validate_key(self, key: str, version: int | None = None) -> str:
        return self.make_key(key, version)  # no schedule is run inside a TestCase block

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return stop(Step("get"), link().ask, default, super().get, key, default, version)

    def get_many(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return stop(Step("get"), super().get_many, *args, **kwargs)

    def gets_many(self, keys: Collection[str]) -> dict[str, Seen]:
        if not keys:
            return {}
        unanswered = dict.fromkeys(keys, NO_ANSWER)
        seen = stop(Step("gets"), link().ask, unanswered, super().gets_many, keys)
        link().note(seen.values())
        return seen

    def cas_many(self, swaps: Mapping[str, Swap]) -> set[str]:
        if not swaps:
            return set()
        (swap,) = swaps.values()
        return stop(Step("cas", swap), self._swap, swaps, swap.seen.stamp)

    def _swap(self, swaps: Mapping[str, Swap], stamp: Any) -> set[str]:
        swap_many = super().cas_many
        return link().ask(set(), swap_many, swaps) if link().has_seen(stamp) else set()

    def swap_and_look(self, swaps: Mapping[str, Swap]) -> dict[str, Seen]:
        self.cas_many(swaps)  # two steps: others can come in between
        return self.gets_many(swaps)

    def add(self, key: str, value: Any, *args: Any, **kwargs: Any) -> bool:
        add = super().add
        return stop(Step("add", value=value), link().ask, False, add, key, value, *args, **kwargs)

    def set(self, key: str, value: Any, *args: Any, **kwargs: Any) -> None:
        put = super().set
        return stop(Step("set", value=value), link().ask, None, put, key, value, *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return stop(Step("delete"), link().ask, False, super().delete, *args, **kwargs)


class SteppingLocalMemory(SteppingMixin, LocalMemoryCache):
    """The recipe's backend for local memory, in steps."""


class SteppingMemcached(SteppingMixin, MemcachedCache):
    """The recipe's backend for Memcached, in steps."""
