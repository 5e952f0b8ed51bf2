"""The design's rules, each to be switched off: what the walks find then shows what it is for."""

from contextlib import ExitStack, contextmanager
from inspect import getclosurevars
from unittest import mock

from django.db.models.signals import pre_save

from cars.caching import rows, store, transactions
from cars.caching.entries import Holds, Lease

from .steps import here


def _hold_late(stack):
    """The writer holds only after its COMMIT."""
    hold, release = store.hold, store.release

    def hold_and_release(table, keys, token):
        hold(table, keys, token)
        release(table, keys, token)

    stack.enter_context(mock.patch.object(store, "hold", lambda *args: None))
    stack.enter_context(mock.patch.object(store, "release", hold_and_release))


def _hold_alone(stack):
    """A new hold replaces the ones that stand."""
    alone = mock.patch.object(Holds, "plus", lambda holds, token, end: Holds({token: end}))
    stack.enter_context(alone)


def _releases_only(changed):
    """Patch what a release does at each look: `changed(table, token, change, seen)`."""
    real = store._change

    def change_keys(table, keys, change):
        if change.__qualname__.startswith("release."):
            token = getclosurevars(change).nonlocals["token"]
            real(table, keys, lambda seen: changed(table, token, change, seen))
        else:
            real(table, keys, change)

    return mock.patch.object(store, "_change", change_keys)


def _delete_when_refused(stack):
    """A release that was refused once deletes the entry."""

    def changed(table, token, change, seen):
        for key in seen.keys() - change(seen):
            table.cache.delete(key)
        return set(seen)

    stack.enter_context(_releases_only(changed))


def _leave_others(stack):
    """A release that finds only others' holds leaves them as they are."""

    def changed(table, token, change, seen):
        others = {
            key
            for key, at in seen.items()
            if isinstance(at.value, Holds) and token not in at.value.deadlines
        }
        return others | change({key: at for key, at in seen.items() if key not in others})

    stack.enter_context(_releases_only(changed))


def _put_without_looking(stack):
    """A reader puts its row without looking whether its lease still stands."""
    fill = store._fill

    def put(table, keys, mine):
        if not any(isinstance(at.value, Lease) for at in mine.values()):
            return fill(table, keys, mine)
        found = store.select(table, keys)
        for key in found.keys() & mine.keys():
            table.cache.set(key, rows.pack(table, found[key]))
        return found, set(mine)

    stack.enter_context(mock.patch.object(store, "_fill", put))


def _put_what_was_saved(stack):
    """The release puts the row that its writer wrote."""
    select = store.select

    def remember(sender, instance, **kwargs):
        names = [field.attname for field in sender._meta.concrete_fields]
        here.actor.wrote = tuple(getattr(instance, name) for name in names)

    def put(table, keys):
        row = here.actor.wrote
        return {key: row for key in keys} if row else select(table, keys)

    stack.enter_context(mock.patch.object(store, "select", put))
    pre_save.connect(remember)
    stack.callback(pre_save.disconnect, remember)


def _let_go_in_doubt(stack):
    """A writer whose connection broke in the COMMIT lets its hold go at once."""
    end = transactions.Transaction.end

    def certain(transaction):
        found = end(transaction)
        in_doubt = found is transactions.End.IN_DOUBT
        return transactions.End.UNDONE if in_doubt else found

    stack.enter_context(mock.patch.object(transactions.Transaction, "end", certain))


RULES = {
    "hold before COMMIT": _hold_late,
    "holds are a set": _hold_alone,
    "never a plain delete": _delete_when_refused,
    "rewrite when lost": _leave_others,
    "compare the token": _put_without_looking,
    "fresh SELECT": _put_what_was_saved,
    "leave it when in doubt": _let_go_in_doubt,
}


@contextmanager
def without(rule):
    """Switch `rule` off for a while, or none; to be entered before a world."""
    with ExitStack() as stack:
        if rule:
            RULES[rule](stack)
        yield
