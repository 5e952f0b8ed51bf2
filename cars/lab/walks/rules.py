"""The protocol's rules, each to be switched off: what walks find then shows what a rule is for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from django.db.models.signals import pre_save

from cars.caching import protocol, transactions
from cars.caching.entries import Holds, Lease, Swap
from cars.caching.rows import pack
from cars.lab.schedules.steps import here


def _replace(stack: ExitStack, name: str, function: Callable) -> None:
    """Call `function` in place of the protocol's function `name`."""
    stack.enter_context(mock.patch.object(protocol, name, function))


def _hold_late(stack):
    """The writer holds only after its COMMIT."""
    hold, release = protocol.hold, protocol.release

    def hold_and_release(cached, keys, token):
        hold(cached, keys, token)
        release(cached, keys, token)

    _replace(stack, "hold", lambda *args: None)
    _replace(stack, "release", hold_and_release)


def _hold_alone(stack):
    """A new hold replaces the ones that stand."""

    def add_holds(cached, token, deadline, seen):
        holds = Holds({token: deadline})
        swaps = {key: Swap(at, holds, holds.timeout) for key, at in seen.items()}
        return cached.cache.cas_many(swaps)

    _replace(stack, "add_holds", add_holds)


def _delete_when_refused(stack):
    """A release that is refused once deletes the entry."""
    release_holds = protocol.release_holds

    def release_or_delete(cached, token, keys, seen):
        for key in seen.keys() - release_holds(cached, token, keys, seen):
            cached.cache.delete(key)
        return set(seen)

    _replace(stack, "release_holds", release_or_delete)


def _leave_others(stack):
    """A release that finds only others' holds leaves them as they are."""
    release_holds = protocol.release_holds

    def release_ours(cached, token, keys, seen):
        others = {
            key
            for key, at in seen.items()
            if isinstance(at.value, Holds) and token not in at.value.deadlines
        }
        rest = {key: at for key, at in seen.items() if key not in others}
        return others | release_holds(cached, token, keys, rest)

    _replace(stack, "release_holds", release_ours)


def _put_without_looking(stack):
    """A reader puts its row without looking whether its lease still stands."""
    fill = protocol.fill

    def put(cached, keys, claimed):
        if not any(isinstance(at.value, Lease) for at in claimed.values()):
            return fill(cached, keys, claimed)
        found = protocol.select(cached, keys)
        for key in found.keys() & claimed.keys():
            cached.cache.set(key, pack(cached, found[key]))
        return found, set(claimed)

    _replace(stack, "fill", put)


def _put_what_was_saved(stack):
    """The release puts the row that its writer wrote."""
    select = protocol.select

    def remember(sender, instance, **kwargs):
        names = [field.attname for field in sender._meta.concrete_fields]
        here.actor.wrote = tuple(getattr(instance, name) for name in names)

    def put(cached, keys):
        row = here.actor.wrote
        return {key: row for key in keys} if row else select(cached, keys)

    _replace(stack, "select", put)
    pre_save.connect(remember)
    stack.callback(pre_save.disconnect, remember)


def _withdraw_unknown(stack):
    """A writer whose connection broke in the COMMIT withdraws its hold at once."""
    outcome = transactions.Transaction.outcome

    def certain(transaction):
        found = outcome(transaction)
        unknown = found is transactions.Outcome.UNKNOWN
        return transactions.Outcome.UNDONE if unknown else found

    stack.enter_context(mock.patch.object(transactions.Transaction, "outcome", certain))


RULES = {
    "hold before COMMIT": _hold_late,
    "holds are a set": _hold_alone,
    "never a plain delete": _delete_when_refused,
    "rewrite when lost": _leave_others,
    "compare the token": _put_without_looking,
    "fresh SELECT": _put_what_was_saved,
    "unknown outcome: keep the hold": _withdraw_unknown,
}


@contextmanager
def without(rule: str | None) -> Iterator[None]:
    """Switch `rule` off for a while, or none; to be entered before a world is opened."""
    with ExitStack() as stack:
        if rule:
            RULES[rule](stack)
        yield
