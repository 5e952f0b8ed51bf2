"""The rules for a server that doesn't answer, each of which can be switched off."""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

from django.db import connections

from cars.caching import owed, protocol
from cars.caching.entries import ABSENT, NO_ANSWER, Holds, Lease, Seen, Swap, SwapCache
from cars.caching.records import Record
from cars.caching.registry import CachedModel, Keys
from cars.lab.schedules import steps


def _replace(stack: ExitStack, module: Any, **functions: Any) -> None:
    stack.enter_context(mock.patch.multiple(module, **functions))


def _take_for_absent(stack: ExitStack) -> None:
    """No answer is taken for nothing there."""
    stack.enter_context(mock.patch.object(steps, "NO_ANSWER", ABSENT))


def _ask_once(stack: ExitStack) -> None:
    """A writer that gets no answer doesn't ask again."""
    change = protocol._change

    def change_or_fail(
        cached: CachedModel,
        keys: Collection[str],
        do: Callable[[dict[str, Seen]], set[str]],
        known: dict[str, Seen] | None = None,
        first: Swap | None = None,
    ) -> set[str]:
        seen = cached.cache.gets_many(keys)
        silent = {key for key, at in seen.items() if at is NO_ANSWER}
        return silent | change(cached, set(keys) - silent, do, known, first)

    _replace(stack, protocol, _change=change_or_fail)


def _read_what_is_owed(stack: ExitStack) -> None:
    """A reader that knows of something owed reads the cache all the same."""
    held = owed.held

    def none_held(cached: CachedModel, keys: Keys, fingerprint: bytes) -> Keys:
        held(cached, keys, fingerprint)
        return {}

    _replace(stack, owed, held=none_held)


def _insert_after_commit(stack: ExitStack) -> None:
    """In a transaction, what is owed is inserted after its COMMIT."""
    owe = owed.owe

    def owe_later(
        cached: CachedModel, keys: Collection[str], token: str, alias: str, under_way: bool
    ) -> None:
        insert = partial(owe, cached, keys, token, alias, under_way)
        if connections[alias].in_atomic_block:
            connections[alias].on_commit(insert)
        else:
            insert()

    _replace(stack, owed, owe=owe_later)


def _insert_after_write(stack: ExitStack) -> None:
    """In autocommit, what is owed is inserted after the write."""
    owe, end = owed.owe, owed.end
    later: dict[str, Collection[str]] = {}

    def owe_later(
        cached: CachedModel, keys: Collection[str], token: str, alias: str, under_way: bool
    ) -> None:
        if under_way:
            later[token] = keys
        else:
            owe(cached, keys, token, alias, under_way)

    def owe_and_end(cached: CachedModel, token: str, alias: str, under_way: bool) -> bool:
        if under_way:
            owe(cached, later[token], token, alias, under_way=False)
        end(cached, token, alias, under_way=False)
        return under_way

    _replace(stack, owed, owe=owe_later, end=owe_and_end)


def _insert_as_owed(stack: ExitStack) -> None:
    """In autocommit, what is owed can be withdrawn, and forgotten, before the write."""
    owe, end = owed.owe, owed.end

    def owe_at_once(
        cached: CachedModel, keys: Collection[str], token: str, alias: str, under_way: bool
    ) -> None:
        owe(cached, keys, token, alias, under_way=False)

    def end_at_once(cached: CachedModel, token: str, alias: str, under_way: bool) -> bool:
        end(cached, token, alias, under_way=False)
        return under_way

    _replace(stack, owed, owe=owe_at_once, end=end_at_once)


def _withdraw_unless(leaves: Callable[[Any, set[str]], bool], stack: ExitStack) -> None:
    def withdraw_owed(cache: SwapCache, tokens: dict[str, set[str]]) -> set[str]:
        seen = {key: at for key, at in cache.gets_many(tokens).items() if at is not NO_ANSWER}
        left = {key for key, at in seen.items() if at is ABSENT or leaves(at.value, tokens[key])}
        rest = seen.keys() - left
        swaps = {key: protocol._without(seen[key], *tokens[key]) for key in rest}
        return left | cache.cas_many(swaps)

    _replace(stack, protocol, withdraw_owed=withdraw_owed)


def _is_lease(value: Any, tokens: set[str]) -> bool:
    return isinstance(value, Lease)


def _is_held_by_others(value: Any, tokens: set[str]) -> bool:
    return isinstance(value, Holds) and tokens.isdisjoint(value.deadlines)


def _delete_first(stack: ExitStack) -> None:
    """What is owed is deleted before it is withdrawn."""
    withdraw = owed.Ledger._withdraw

    def delete_and_withdraw(ledger: owed.Ledger, cache: SwapCache, due: list[Record]) -> None:
        if ledger.look:
            ledger.look.delete({record.pk for record in due})
        withdraw(ledger, cache, due)

    stack.enter_context(mock.patch.object(owed.Ledger, "_withdraw", delete_and_withdraw))


RULES: dict[str, Callable[[ExitStack], None]] = {
    "no answer is not absent": _take_for_absent,
    "once more on a fresh connection": _ask_once,
    "owed counts as held": _read_what_is_owed,
    "inserted in the same transaction": _insert_after_commit,
    "inserted before the write in autocommit": _insert_after_write,
    "under way until the write has ended": _insert_as_owed,
    "withdraw expires leases": partial(_withdraw_unless, _is_lease),
    "withdraw rewrites holds": partial(_withdraw_unless, _is_held_by_others),
    "withdraw, then delete": _delete_first,
}
