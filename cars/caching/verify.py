"""Comparing what is cached with the database, in both directions.

From the database to the cache: is what is cached of each row equal to it? And from the cache to the
database: is there a row for everything that is cached?
"""

import time
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import router
from django.db.models import QuerySet

from .entries import ABSENT, Row, State, state_of
from .registry import CachedModel, Keys, cached_model, cached_models
from .rows import SIZE, fingerprint_of, is_same, pk_in, unpack
from .selects import select

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
    rows = _all_rows(cached).count()
    return rows if sample is None else min(rows, sample)


def chunks(cached: CachedModel, sample: int | None = None) -> Iterator[list[Any]]:
    """Yield the pks of `cached` in chunks, or `sample` of them, drawn at random.

    Without `sample`, yields nothing for a model whose pks have no keys: its pk's field returns
    values that it refuses.
    """
    pks = _all_rows(cached).values_list("pk", flat=True)
    if sample is not None:
        yield from _in_chunks(pks.order_by("?")[:sample])
        return
    pks = pks.order_by("pk")
    chunk = list(pks[:CHUNK])
    while cached.known_keys(chunk[-1:]):
        yield chunk
        chunk = list(pks.filter(pk__gt=chunk[-1])[:CHUNK])


def _all_rows(cached: CachedModel) -> QuerySet[Any]:
    return QuerySet(cached.model, using=cached.alias)


def _in_chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(values)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def compare(cached: CachedModel, pks: Iterable[Any]) -> dict[str, str]:
    """Return, by key, FRESH or STALE for a row, or the State of another entry.

    A difference is looked at again before a row is called stale: a writer may be at work.
    """
    keys = cached.known_keys(pks)
    outcomes = _compare(cached, keys)
    for _ in range(LOOKS - 1):
        stale = {key: pk for key, pk in keys.items() if outcomes.get(key) == STALE}
        if not stale:
            break
        time.sleep(PAUSE)
        outcomes = {key: what for key, what in outcomes.items() if key not in stale}
        outcomes |= _compare(cached, stale)
    return outcomes


def _compare(cached: CachedModel, keys: Keys) -> dict[str, str]:
    seen = cached.cache.gets_many(keys)
    rows = select(cached, keys)
    return {
        key: _outcome(cached, key, seen[key].value, rows.get(key))
        for key in keys
        if key in rows or seen[key] is not ABSENT
    }


def _outcome(cached: CachedModel, key: str, entry: Any, row: list[Any] | None) -> str:
    if not isinstance(entry, Row):
        return state_of(entry)
    instance = unpack(cached, fingerprint_of(cached), key, entry)
    if instance is None:
        return State.OTHER
    return FRESH if is_same([instance.__dict__[name] for name in cached.names], row) else STALE


def listed(models: Collection[CachedModel]) -> Iterator[tuple[CachedModel, list[Any]]]:
    """Yield the pks of the rows of `models` that their cache lists, in chunks, each with its model.

    `models` are of one of Django's CACHES. Raises ListingError if that one can't be listed.
    """
    by_fingerprint = {fingerprint_of(cached): cached for cached in models}
    (cache,) = {cached.cache for cached in models}
    for chunk in _in_chunks(cache.rows()):
        pks: dict[CachedModel, list[Any]] = {}
        for name, row in chunk:
            if cached := by_fingerprint.get(row[:SIZE]):
                try:
                    pk = pk_in(cached, row)
                    if cache.make_and_validate_key(cached.key(pk)) == name:
                        pks.setdefault(cached, []).append(pk)
                except Exception:  # noqa: S112 (a row that can't be unpacked is not served)
                    continue
        yield from pks.items()


def deleted(cached: CachedModel, pks: Collection[Any]) -> list[str]:
    """Return the keys of those of `pks` that are cached rows, but that the database doesn't have.

    They are looked at several times, as `compare` does.
    """
    rows = _all_rows(cached).filter(pk__in=pks).values_list("pk", flat=True)
    standing = cached.known_keys(rows)
    missing = [pk for key, pk in cached.keys(pks).items() if key not in standing]
    return [key for key, what in compare(cached, missing).items() if what == STALE]
