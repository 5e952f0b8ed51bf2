"""What makes a thread's doings follow from its schedule alone, and be forgotten in time."""

from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from unittest import mock

from cars.caching import entries, store, transactions

from .steps import here


class Clock:
    """A clock that stands still, but for those who sleep."""

    @staticmethod
    def time():
        return 1e9

    @staticmethod
    def monotonic():
        return here.actor.slept

    @staticmethod
    def sleep(seconds):
        here.actor.sleep(seconds)


def _new_token(alias):
    return f"{here.actor.name}-{next(here.actor.tokens)}"


def _forgetting(name, result):
    function = getattr(store, name)

    @wraps(function)
    def call(*args):
        with here.actor.forgetting(None if result else name):
            return function(*args)

    return call


def _fill(table, keys, mine, fill):
    with here.actor.filling(bool(mine)):
        return fill(table, keys, mine)


def _read_database(table, keys, read_database=store.read_database):
    with here.actor.filling(False):
        return read_database(table, keys)


@contextmanager
def determined():
    """Make what the threads do depend on their schedule alone."""
    with ExitStack() as stack:
        for module in (store, entries):
            stack.enter_context(mock.patch.object(module, "time", Clock))
        for module in (store, transactions):
            stack.enter_context(mock.patch.object(module, "new_token", _new_token))
        for name in ("hold", "release", "let_go", "warm"):
            stack.enter_context(mock.patch.object(store, name, _forgetting(name, result=False)))
        stack.enter_context(
            mock.patch.object(store, "read_misses", _forgetting("read_misses", result=True))
        )
        stack.enter_context(mock.patch.object(store, "_fill", partial(_fill, fill=store._fill)))
        stack.enter_context(mock.patch.object(store, "read_database", _read_database))
        yield
