"""Comparing what is cached with the database."""

import time
from collections.abc import Iterator
from typing import Any

from django.db import router
from django.db.models import IntegerField

from . import protocol
from .entries import ABSENT, Row, State, state_of
from .registry import CachedModel, Keys, cached_model, cached_models
from .rows import is_same, unpack_many

CHUNK = 500  # rows in one comparison
LOOKS = 5  # at a difference, before a row is called stale
PAUSE = 0.02  # seconds between two looks: a writer may be at work

# What a row can be; other entries are named by their State.
FRESH, STALE = "fresh", "stale"


def all_cached(alias: str | None = None) -> Iterator[CachedModel]:
    """Yield every cached model, on the database `alias` or the one that it is written to."""
    for model in cached_models():
        yield cached_model(model, alias or router.db_for_write(model))


def count(cached: CachedModel, sample: int | None = None) -> int:
    """Return how many rows there are to compare."""
    rows = cached.model._base_manager.using(cached.alias).count()
    return rows if sample is None else min(rows, sample)


def chunks(cached: CachedModel, sample: int | None = None) -> Iterator[list[Any]]:
    """Yield the pks of `cached` in chunks, or `sample` of them, drawn at random.

    Where the pks are integers and all are compared, the pks missing between two rows come too: an
    entry of a row that was deleted is stale.
    """
    pks = cached.model._base_manager.using(cached.alias).values_list("pk", flat=True)
    if sample is not None:
        drawn = list(pks.order_by("?")[:sample])
        yield from (drawn[begin : begin + CHUNK] for begin in range(0, len(drawn), CHUNK))
        return
    pks = pks.order_by("pk")
    numbered = isinstance(cached.model._meta.pk, IntegerField)
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


def compare(cached: CachedModel, pks: list[Any]) -> dict[str, str]:
    """Return, by key, FRESH or STALE for a row, or the State of another entry.

    A difference is looked at again before a row is called stale: a writer may be at work.
    """
    keys = cached.keys(pks)
    outcomes = _compare(cached, keys)
    for _ in range(LOOKS - 1):
        stale = {key: pk for key, pk in keys.items() if outcomes.get(key) == STALE}
        if not stale:
            break
        time.sleep(PAUSE)
        outcomes |= _compare(cached, stale)
    return outcomes


def _compare(cached: CachedModel, keys: Keys) -> dict[str, str]:
    seen = cached.cache.gets_many(keys)
    rows = protocol.select(cached, keys)
    return {
        key: _outcome(cached, key, seen[key].value, rows.get(key))
        for key in keys
        if key in rows or seen[key] is not ABSENT
    }


def _outcome(cached: CachedModel, key: str, entry: Any, row: list[Any] | None) -> str:
    if not isinstance(entry, Row):
        return state_of(entry)
    instance = unpack_many(cached, {key: entry}).get(key)
    if instance is None:
        return State.OTHER
    return FRESH if is_same([instance.__dict__[name] for name in cached.names], row) else STALE
