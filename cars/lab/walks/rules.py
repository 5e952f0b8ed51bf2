"""The rules of the protocol, each of which can be switched off.

What walks find without a rule shows why the protocol needs it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from django.db.models import Model
from django.db.models.signals import pre_save

from cars.caching import protocol, selects, transactions
from cars.caching.entries import Holds, Lease, Seen
from cars.caching.registry import CachedModel, Keys
from cars.caching.rows import pack
from cars.caching.selects import Values
from cars.lab.schedules.steps import here

from . import outage_rules


def _replace(stack: ExitStack, name: str, function: Callable[..., Any]) -> None:
    """Call `function` in place of the protocol's function `name`."""
    stack.enter_context(mock.patch.object(protocol, name, function))


def _hold_late(stack: ExitStack) -> None:
    """The writer holds only after its COMMIT."""
    hold, release = protocol.hold, protocol.release

    def hold_and_release(
        cached: CachedModel, keys: Keys, token: str, held: dict[str, Seen] | None = None
    ) -> set[str]:
        return release(cached, keys, token, hold(cached, keys, token))

    _replace(stack, "hold", lambda *args: {})
    _replace(stack, "release", hold_and_release)


def _hold_alone(stack: ExitStack) -> None:
    """A new hold replaces the ones that stand."""

    add_holds = protocol.add_holds

    def add_alone(
        cached: CachedModel, token: str, deadline: float, seen: dict[str, Seen]
    ) -> dict[str, Seen]:
        alone = {key: Seen(None, at.stamp) for key, at in seen.items()}
        return add_holds(cached, token, deadline, alone)

    _replace(stack, "add_holds", add_alone)


def _delete_when_refused(stack: ExitStack) -> None:
    """A release that is refused once deletes the entry."""
    release_holds = protocol.release_holds

    def release_or_delete(
        cached: CachedModel, token: str, keys: Keys, seen: dict[str, Seen]
    ) -> set[str]:
        for key in seen.keys() - release_holds(cached, token, keys, seen):
            cached.cache.delete(key)
        return set(seen)

    _replace(stack, "release_holds", release_or_delete)


def _leave_others(stack: ExitStack) -> None:
    """A release that finds only other writers' holds leaves them as they are."""
    release_holds = protocol.release_holds

    def release_unless_lost(
        cached: CachedModel, token: str, keys: Keys, seen: dict[str, Seen]
    ) -> set[str]:
        others = {
            key
            for key, at in seen.items()
            if isinstance(at.value, Holds) and token not in at.value.deadlines
        }
        rest = {key: at for key, at in seen.items() if key not in others}
        return others | release_holds(cached, token, keys, rest)

    _replace(stack, "release_holds", release_unless_lost)


def _fill_over_others(stack: ExitStack) -> None:
    """A release fills also where others hold."""
    release_holds = protocol.release_holds

    def release_as_if_alone(
        cached: CachedModel, token: str, keys: Keys, seen: dict[str, Seen]
    ) -> set[str]:
        mine = {
            key: Seen(Holds({token: at.value.deadlines[token]}), at.stamp)
            for key, at in seen.items()
            if isinstance(at.value, Holds) and token in at.value.deadlines
        }
        return release_holds(cached, token, keys, seen | mine)

    _replace(stack, "release_holds", release_as_if_alone)


def _put_without_looking(stack: ExitStack) -> None:
    """A reader puts its row without a look at whether its lease still stands."""
    fill = protocol.fill

    def put(
        cached: CachedModel, keys: Keys, claimed: dict[str, Seen]
    ) -> tuple[dict[str, Values], set[str]]:
        if not any(isinstance(at.value, Lease) for at in claimed.values()):
            return fill(cached, keys, claimed)
        found = selects.select(cached, keys)
        for key in found.keys() & claimed.keys():
            cached.cache.set(key, pack(cached, found[key]))
        return found, set(claimed)

    _replace(stack, "fill", put)


def _put_what_was_saved(stack: ExitStack) -> None:
    """The release puts the row that its writer wrote."""
    select = selects.select

    def remember(sender: type[Model], instance: Model, **kwargs: Any) -> None:
        names = [field.attname for field in sender._meta.concrete_fields]
        here.actor.wrote = [getattr(instance, name) for name in names]

    def put(cached: CachedModel, keys: Keys) -> dict[str, Values]:
        row = here.actor.wrote
        return {key: row for key in keys} if row else select(cached, keys)

    _replace(stack, "select", put)
    pre_save.connect(remember)
    stack.callback(pre_save.disconnect, remember)


def _withdraw_unknown(stack: ExitStack) -> None:
    """A writer whose connection broke in the COMMIT withdraws its hold at once."""
    outcome = transactions.Transaction.outcome

    def certain(transaction: transactions.Transaction) -> transactions.Outcome:
        found = outcome(transaction)
        unknown = found is transactions.Outcome.UNKNOWN
        return transactions.Outcome.UNDONE if unknown else found

    stack.enter_context(mock.patch.object(transactions.Transaction, "outcome", certain))


RULES: dict[str, Callable[[ExitStack], None]] = {
    "hold before COMMIT": _hold_late,
    "holds are a set": _hold_alone,
    "never a plain delete": _delete_when_refused,
    "rewrite when lost": _leave_others,
    "fill only alone": _fill_over_others,
    "compare the token": _put_without_looking,
    "fresh SELECT": _put_what_was_saved,
    "unknown outcome: keep the hold": _withdraw_unknown,
    **outage_rules.RULES,
}

_switched_off: list[str] = []  # one rule at most


def switched_off() -> str | None:
    """Return the rule that is switched off now, if one is."""
    return _switched_off[-1] if _switched_off else None


@contextmanager
def without(rule: str | None) -> Iterator[None]:
    """Within the block, switch `rule` off, or none; enter it before a world is opened.

    Raises KeyError for a name that is not one of RULES.
    """
    if not rule:
        yield
        return
    with ExitStack() as stack:
        RULES[rule](stack)
        _switched_off.append(rule)
        stack.callback(_switched_off.remove, rule)
        yield
