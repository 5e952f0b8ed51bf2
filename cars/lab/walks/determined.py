"""What makes a run follow from its schedule alone, and lets the actors forget in time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from unittest import mock

from django.test import override_settings

from cars.caching import entries, protocol, transactions
from cars.lab.schedules.steps import here
from cars.lab.schedules.world import World, open_world


class Clock:
    """A clock that stands still, except for an actor that sleeps."""

    @staticmethod
    def time():
        return 1e9

    @staticmethod
    def monotonic():
        return here.actor.slept

    @staticmethod
    def sleep(seconds):
        here.actor.sleep(seconds)


def _new_token():
    return f"{here.actor.name}-{next(here.actor.tokens)}"


def _forgetting(name, result):
    function = getattr(protocol, name)

    @wraps(function)
    def call(*args):
        with here.actor.forgetting(None if result else name):
            return function(*args)

    return call


def _fill(cached, keys, claimed, fill):
    with here.actor.filling(bool(claimed)):
        return fill(cached, keys, claimed)


def _read_database(cached, keys, read_database=protocol.read_database):
    with here.actor.filling(False):
        return read_database(cached, keys)


@contextmanager
def determined() -> Iterator[None]:
    """Make what the actors do depend on their schedule alone."""
    with ExitStack() as stack:
        # One look at another reader's lease; leases and holds that outlast every schedule.
        stack.enter_context(override_settings(CACHING_WAIT=1, CACHING_LEASE=600))
        for module in (protocol, entries):
            stack.enter_context(mock.patch.object(module, "time", Clock))
        for module in (protocol, transactions):
            stack.enter_context(mock.patch.object(module, "new_token", _new_token))
        for name in ("hold", "release", "withdraw", "warm"):
            patched = _forgetting(name, result=False)
            stack.enter_context(mock.patch.object(protocol, name, patched))
        patched = _forgetting("read_misses", result=True)
        stack.enter_context(mock.patch.object(protocol, "read_misses", patched))
        patched = partial(_fill, fill=protocol.fill)
        stack.enter_context(mock.patch.object(protocol, "fill", patched))
        stack.enter_context(mock.patch.object(protocol, "read_database", _read_database))
        yield


@contextmanager
def world(case: str, cache: str = "local", servers: list[str] | None = None) -> Iterator[World]:
    """Yield the World of `case`, determined; the arguments are those of `open_world`."""
    with determined(), open_world(case, cache, servers) as opened:
        yield opened
