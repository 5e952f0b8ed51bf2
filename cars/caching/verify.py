"""Comparing what is cached with the database."""

import time
from collections.abc import Iterator
from typing import Any

from django.db import router
from django.db.models import IntegerField

from . import store
from .entries import ABSENT, Holds, Lease, Row
from .keys import Table, cached_models, pks_by_key, table_of
from .rows import unpack

CHUNK = 500  # rows in one comparison
LOOKS = 5  # at a difference, before a row is called stale
PAUSE = 0.02  # seconds between two looks: a writer may be at work

# What the entry of a row can be.
FRESH, STALE, UNUSABLE = "fresh", "stale", "unusable"
HELD, LEASED, NOT_CACHED = "held", "leased", "not cached"
OUTCOMES = (FRESH, STALE, HELD, LEASED, UNUSABLE, NOT_CACHED)


def tables(alias: str | None = None) -> Iterator[Table]:
    """Yield every cached model, on the database `alias` or the one that it is written to."""
    for model in cached_models():
        yield table_of(model, alias or router.db_for_write(model))


def count(table: Table, sample: int | None = None) -> int:
    """Return how many rows there are to compare."""
    rows = table.model._base_manager.using(table.alias).count()
    return rows if sample is None else min(rows, sample)


def chunks(table: Table, sample: int | None = None) -> Iterator[list[Any]]:
    """Yield the pks of `table` in chunks, or `sample` of them, drawn at random.

    Where the pks are whole numbers and all are wanted, those that are missing between two rows
    come too: what is cached of a row that was deleted is stale.
    """
    pks = table.model._base_manager.using(table.alias).values_list("pk", flat=True)
    if sample is not None:
        drawn = list(pks.order_by("?")[:sample])
        yield from (drawn[begin : begin + CHUNK] for begin in range(0, len(drawn), CHUNK))
        return
    pks = pks.order_by("pk")
    numbered = isinstance(table.model._meta.pk, IntegerField)
    chunk = list(pks[:CHUNK])
    while chunk:
        last = chunk[-1]
        following = list(pks.filter(pk__gt=last)[:CHUNK])
        if numbered:
            end = following[0] if following else last + CHUNK
            span = range(chunk[0], end)
            yield list(span) if len(span) <= 4 * CHUNK else chunk
        else:
            yield chunk
        chunk = following


def compare(table: Table, pks: list[Any]) -> dict[str, str]:
    """Return, by key, what the entries of the rows `pks` are; a difference is looked at again."""
    keys = pks_by_key(table, pks)
    outcomes = _compare(table, keys)
    for _ in range(LOOKS - 1):
        stale = {key: pk for key, pk in keys.items() if outcomes.get(key) == STALE}
        if not stale:
            break
        time.sleep(PAUSE)
        outcomes |= _compare(table, stale)
    return outcomes


def _compare(table: Table, keys: store.Keys) -> dict[str, str]:
    seen = table.cache.gets_many(keys)
    rows = store.select(table, keys)
    return {
        key: _outcome(table, seen[key].value, rows.get(key))
        for key in keys
        if key in rows or seen[key] is not ABSENT
    }


def _outcome(table: Table, entry: Any, row: list[Any] | None) -> str:
    if entry is None:
        return NOT_CACHED
    if isinstance(entry, Lease):
        return LEASED
    if isinstance(entry, Holds):
        return HELD
    instance = unpack(entry) if isinstance(entry, Row) else None
    if instance is None:
        return UNUSABLE
    cached = [instance.__dict__[name] for name in table.names]
    return FRESH if cached == row else STALE
