"""What makes a run depend on its schedule only, and lets the actors forget what they can't use."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest import mock

from django.db.models import Model
from django.test import override_settings

from cars.caching import entries, owed, protocol, records, transactions
from cars.caching.entries import Seen
from cars.caching.registry import CachedModel, Keys
from cars.caching.selects import Values
from cars.lab.schedules.steps import here
from cars.lab.schedules.world import World, open_world


class Clock:
    """A clock that stands still, except for an actor that sleeps."""

    @staticmethod
    def time() -> float:
        return 1e9

    @staticmethod
    def monotonic() -> float:
        return here.actor.slept

    @staticmethod
    def perf_counter() -> float:
        return here.actor.seconds

    @staticmethod
    def sleep(seconds: float) -> None:
        here.actor.sleep(seconds)


def _new_token() -> str:
    return f"{here.actor.name}-{next(here.actor.tokens)}"


def _forgetting(name: str, keeps_result: bool) -> Callable[..., Any]:
    function = getattr(protocol, name)

    @wraps(function)
    def call(*args: Any) -> Any:
        with here.actor.forgetting(None if keeps_result else name):
            result = function(*args)
        if result and not keeps_result:
            here.actor.seen.append("failed")
        return result

    return call


def _hold_keeping_what_stands() -> Callable[..., dict[str, Seen]]:
    """Return `protocol.hold`; all that the actor keeps of what it saw is what it returns."""
    hold = protocol.hold

    def call(cached: CachedModel, keys: Keys, token: str, are_new: bool = False) -> dict[str, Seen]:
        actor = here.actor
        with actor.forgetting("hold"):
            standing = hold(cached, keys, token, are_new)
        world = actor.world
        if keys.keys() - standing.keys():
            actor.seen.append("failed")
            actor.unheld = actor.link.unanswered >= 2
        actor.seen += [("gets", world.plain(at.value), at.stamp) for at in standing.values()]
        return standing

    return call


def _noting_fills() -> dict[str, Callable[..., Any]]:
    """Return the functions of `protocol` that SELECT, and tell the actor whether that can fill."""
    fill, read_database = protocol.fill, protocol.read_database

    def fill_noted(
        cached: CachedModel, keys: Keys, claimed: dict[str, Seen]
    ) -> tuple[dict[str, Values], set[str]]:
        with here.actor.filling(bool(claimed)):
            return fill(cached, keys, claimed)

    def read_database_noted(cached: CachedModel, keys: Keys) -> dict[str, Model]:
        with here.actor.filling(False):
            return read_database(cached, keys)

    return {"fill": fill_noted, "read_database": read_database_noted}


# What is owed. Each actor is a process that has looked when the run began. Its looks go over the
# connection that it has, and no time passes between them but what its program says.


class ActorLedger(owed.Ledger):
    """What the process of an actor knows of what is owed."""

    def _look(self, cached: CachedModel) -> None:
        with here.actor.forgetting("look"):
            super()._look(cached)
        written = here.actor.world.records
        withdrawn = frozenset(written[pk][0] for pk in self.withdrawn if pk in written)
        here.actor.seen.append(("knows", frozenset(self.names), withdrawn))


class ActorLook(records.Look):
    """A look over the connection of the actor."""

    def __init__(self, alias: str) -> None:
        self._connection = here.actor.connection

    def close(self) -> None:
        pass

    @contextmanager
    def _limited(self) -> Iterator[None]:
        yield


def _ledger(cached: CachedModel) -> owed.Ledger | None:
    actor = here.actor
    if not actor.world.owes:
        return None
    ledger: owed.Ledger | None = actor.ledger
    if ledger is None:
        ledger = actor.ledger = ActorLedger("lab", looked=0.0)
    return ledger


def _is_trusted(cached: CachedModel, fingerprint: bytes) -> bool:
    return not here.actor.world.owes


def _record(pk: int, token: str, names: str, under_way: bool, *times: object) -> records.Record:
    """Return a record; a writer that was killed has passed its deadline."""
    writer, _, _ = token.rpartition("-")
    dead = here.actor.world.by_name[writer].dead
    return records.Record(pk, token, names.split(), dead or not under_way)


def _raise(what: str, error: Exception) -> None:
    raise AssertionError(f"{what}: {error}")


def _patches_of_owed() -> Iterator[Any]:
    replacements: dict[str, Any] = {
        "_ledger": _ledger,
        "is_trusted": _is_trusted,
        "perf_counter": Clock.perf_counter,
        "Look": ActorLook,
        "log_once": _raise,
    }
    yield mock.patch.multiple(owed, **replacements)
    yield mock.patch.object(records, "_record", _record)


@contextmanager
def determined() -> Iterator[None]:
    """Within the block, make what the actors do depend on their schedule only."""
    with ExitStack() as stack:
        # One look at another reader's lease; leases and holds that outlast every schedule.
        stack.enter_context(override_settings(CACHING_WAIT=1, CACHING_LEASE=600))
        for module in (protocol, entries):
            stack.enter_context(mock.patch.object(module, "time", Clock))
        for module in (protocol, transactions):
            stack.enter_context(mock.patch.object(module, "new_token", _new_token))
        functions = _noting_fills() | {"read_misses": _forgetting("read_misses", keeps_result=True)}
        functions["hold"] = _hold_keeping_what_stands()
        for name in ("release", "withdraw", "warm"):
            functions[name] = _forgetting(name, keeps_result=False)
        for patch in _patches_of_owed():
            stack.enter_context(patch)
        for name, function in functions.items():
            stack.enter_context(mock.patch.object(protocol, name, function))
        yield


@contextmanager
def determined_world(
    case: str, cache: str = "local", servers: list[str] | None = None
) -> Iterator[World]:
    """Yield the World of `case`, determined; the arguments are those of `open_world`."""
    with determined(), open_world(case, cache, servers) as world:
        yield world
