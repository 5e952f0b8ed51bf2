"""The protocol: how readers fill and writers hold, so that no stale row is ever served.

Under a key stands nothing, a row, a reader's lease or the holds of writers. Who fills must have
seen their own mark there before the SELECT, and puts the row only if that mark still stands. A
writer's hold stands from before the COMMIT, and so breaks every fill whose SELECT was too early.

The functions here know nothing of transactions: `transactions` says when to call them.
"""

import logging
import random
import time
from collections.abc import Callable, Collection
from functools import cache as memoize
from time import perf_counter
from typing import Any

from django.conf import settings
from django.db.models import Model, QuerySet

from . import events
from .entries import ABSENT, EXPIRE, Holds, Lease, Row, Seen, Swap, new_token
from .instances import make
from .keys import Table
from .rows import pack, unpack, was_unpacked

logger = logging.getLogger(__name__)

DEFAULTS = {
    "CACHING_HOLD": 600,  # seconds that a hold stands: longer than any transaction
    "CACHING_LEASE": 10,  # seconds that a reader has to fill
    "CACHING_WAIT": 0.25,  # seconds that other readers wait for that fill
}
TRIES = 20  # at a change that others refuse by changes of their own
LONGEST_PAUSE = 0.05  # seconds between two tries, or between two looks at another's lease
CHUNK = 500  # keys in one round trip

Keys = dict[str, Any]  # pks by their keys


def setting(name: str) -> float:
    """Return the setting `name`, in seconds."""
    return getattr(settings, name, DEFAULTS[name])


# Readers


def hit(table: Table, key: str) -> Model | None:
    """Return the row under `key` if it is in the cache: one `get`, and nothing else."""
    started = perf_counter()
    value = table.cache.get(key)
    if not was_unpacked(value, table.model):
        return None
    events.tell(events.HIT, table.model, started, key)
    return value


def hits(table: Table, keys: Collection[str]) -> dict[str, Model]:
    """Return those of the rows with these keys that are in the cache: one round trip."""
    started = perf_counter()
    values = table.cache.get_many(keys) if keys else {}
    found = {key: value for key, value in values.items() if was_unpacked(value, table.model)}
    events.tell(events.HIT, table.model, started, *found)
    return found


def read_misses(table: Table, keys: Keys) -> dict[str, Model]:
    """Return the rows with these keys, which were no hits: filled, with one SELECT for all."""
    started = perf_counter()
    lease = Lease(new_token(table.alias))
    seen = _take_leases(table, keys, lease)
    found, waiting = {}, {}
    for key, (value, _) in seen.items():
        if instance := _row(table, value):
            found[key] = instance
            events.tell(events.WAITED, table.model, started, key)
        elif isinstance(value, Lease) and value != lease:
            waiting[key] = keys[key]
        else:
            held = isinstance(value, Holds)
            events.tell(events.HELD if held else events.MISS, table.model, started, key)
    ours = {key: pk for key, pk in keys.items() if key not in found and key not in waiting}
    mine = {key: seen[key] for key in ours if seen[key].value == lease}
    found |= _instances(table, _fill(table, ours, mine)[0])
    if waiting:
        found |= _wait(table, waiting, started)
    return found


def _take_leases(table: Table, keys: Keys, lease: Lease) -> dict[str, Seen]:
    """Lease those of `keys` where nothing stands, or a row that can't be used; return what does."""
    timeout = setting("CACHING_LEASE")
    cache = table.cache
    cache.cas_many({key: Swap(ABSENT, lease, timeout) for key in keys})
    seen = cache.gets_many(keys)
    unusable = {
        key: Swap(at, lease, timeout)
        for key, at in seen.items()
        if not (at is ABSENT or isinstance(at.value, (Lease, Holds)) or _row(table, at.value))
    }
    if unusable:
        cache.cas_many(unusable)
        seen |= cache.gets_many(unusable)
    return seen


def _row(table: Table, value: Any) -> Model | None:
    """Return the instance of `table` that `value` is the row of, or None."""
    instance = unpack(value) if isinstance(value, Row) else None
    return instance if was_unpacked(instance, table.model) else None


def _wait(table: Table, keys: Keys, started: float) -> dict[str, Model]:
    """Wait until others have filled these keys, for a bounded time; then ask the database."""
    found, left = {}, dict(keys)
    deadline = time.monotonic() + setting("CACHING_WAIT")
    pause = 0.001
    while left and (seconds := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, seconds))
        pause = min(pause * 1.5, LONGEST_PAUSE)
        standing = table.cache.gets_many(left)
        left = {key: pk for key, pk in left.items() if isinstance(standing[key].value, Lease)}
        for key in standing.keys() - left.keys():
            value = standing[key].value
            if instance := _row(table, value):
                found[key] = instance
    for key in keys:
        outcome = events.WAITED if key in found else events.GIVEN_UP
        events.tell(outcome, table.model, started, key)
    rest = {key: pk for key, pk in keys.items() if key not in found}
    return found | read_database(table, rest)


def warm(table: Table, keys: Keys) -> None:
    """Fill these keys where nothing stands, as a reader would that needs no answer."""
    lease = Lease(new_token(table.alias))
    seen = _take_leases(table, keys, lease)
    mine = {key: at for key, at in seen.items() if at.value == lease}
    try:
        _fill(table, {key: keys[key] for key in mine}, mine)
    except Exception:
        logger.exception("The rows of %s could not be put into the cache", sorted(mine))


# The database


def select(table: Table, keys: Keys) -> dict[str, list[Any]]:
    """Return the values of the rows with these keys, by key, from one SELECT.

    A row goes by its own pk: one that the database finds by another spelling (a collation that
    takes "a" for "A") is not this key's.
    """
    if not keys:
        return {}
    pks = list(keys.values())
    # `pk__in` fails on SQLite for a number that is too large for it; `pk` finds nothing.
    pks = {"pk__in": pks} if len(pks) > 1 else {"pk": pks[0]}
    found = _all_rows(table).filter(**pks)
    return {key: values for pk, *values in found if (key := table.key(pk)) in keys}


@memoize
def _all_rows(table: Table) -> QuerySet:
    # Made once: a QuerySet is quicker to filter than to make.
    rows = table.model._base_manager.using(table.alias)
    return rows.order_by().values_list("pk", *table.names)


def read_database(table: Table, keys: Keys) -> dict[str, Model]:
    """Return the rows with these keys as the database has them now, and fill nothing."""
    return _instances(table, select(table, keys))


def _instances(table: Table, rows: dict[str, list[Any]]) -> dict[str, Model]:
    return {key: make(table, values) for key, values in rows.items()}


def _packed(table: Table, key: str, values: list[Any]) -> Row | None:
    try:
        return pack(table, values)
    except Exception:
        logger.exception("The row %s could not be packed, and stays out of the cache", key)
        return None


def _fill(table: Table, keys: Keys, mine: dict[str, Seen]) -> tuple[dict[str, list[Any]], set[str]]:
    """SELECT these keys, and put the rows of `mine`, which bear our mark and nobody else's.

    Who can't put (no row, one that can't be packed or is too large, no answer) takes the mark
    off. All of it by comparing: what others have changed since stays as it is. Returns the rows,
    and the keys that our mark is gone from.
    """
    started = perf_counter()
    off = {key: Swap(at, EXPIRE, 0) for key, at in mine.items()}
    try:
        rows = select(table, keys)
        packed = {key: _packed(table, key, rows[key]) for key in mine if key in rows}
        timeout = table.config.timeout
        on = {key: Swap(mine[key], row, timeout) for key, row in packed.items() if row is not None}
        done = table.cache.cas_many(off | on)
    except BaseException:
        table.cache.cas_many(off)
        raise
    if refused := on.keys() - done:
        done |= table.cache.cas_many({key: off[key] for key in refused})
    for key in done:
        filled = key in on and key not in refused
        events.tell(events.FILLED if filled else events.EXPIRED, table.model, started, key)
    return rows, done


# Writers


def hold(table: Table, keys: Collection[str], token: str) -> None:
    """Put the hold `token` on these keys, whatever stands there; renew it where it stands.

    To be called before the COMMIT. A hold that can't be put does not stop the write.
    """
    deadline = time.time() + setting("CACHING_HOLD")

    def put(seen: dict[str, Seen]) -> set[str]:
        swaps = {}
        for key, at in seen.items():
            standing = at.value if isinstance(at.value, Holds) else Holds({})
            holds = standing.plus(token, deadline)
            swaps[key] = Swap(at, holds, holds.timeout)
        return table.cache.cas_many(swaps)

    _change(table, keys, put)


def release(table: Table, keys: Keys, token: str) -> None:
    """Take the hold `token` off these keys, the write being committed, and fill them."""
    empty: Keys = {}

    def take_off(seen: dict[str, Seen]) -> set[str]:
        mine = {key: at for key, at in seen.items() if _holds_alone(at.value, token)}
        empty.update({key: keys[key] for key, at in seen.items() if at is ABSENT})
        done = set(empty)
        # Others' holds are written again even without ours among them: that breaks a fill that
        # another release has begun with a SELECT from before our COMMIT.
        rest = {key: at for key, at in seen.items() if key not in mine and key not in empty}
        done |= table.cache.cas_many({key: _without(at, token) for key, at in rest.items()})
        if mine:
            try:
                done |= _fill(table, {key: keys[key] for key in mine}, mine)[1]
            except Exception:
                logger.exception("The rows of %s could not be put into the cache", sorted(mine))
                done |= mine.keys()
        return done

    _change(table, keys, take_off)
    if empty:
        warm(table, empty)


def let_go(table: Table, keys: Collection[str], token: str) -> None:
    """Take the hold `token` off these keys, and fill nothing; the last expires the entry."""

    def take_off(seen: dict[str, Seen]) -> set[str]:
        # As a release does: the write may be committed, and only its commit hook lost. So where
        # the hold was lost too, a row is expired, and others' holds are written again.
        some = {key: at for key, at in seen.items() if at is not ABSENT}
        done = table.cache.cas_many({key: _without(at, token) for key, at in some.items()})
        return done | (seen.keys() - some.keys())

    _change(table, keys, take_off)


def _holds(value: Any, token: str) -> bool:
    return isinstance(value, Holds) and token in value.deadlines


def _holds_alone(value: Any, token: str) -> bool:
    return _holds(value, token) and not value.minus(token).deadlines


def _without(at: Seen, token: str) -> Swap:
    """Return the swap that leaves the others' holds; a row or a lease says that ours was lost."""
    holds = at.value.minus(token) if isinstance(at.value, Holds) else Holds({})
    return Swap(at, holds, holds.timeout) if holds.deadlines else Swap(at, EXPIRE, 0)


def _change(
    table: Table, keys: Collection[str], change: Callable[[dict[str, Seen]], set[str]]
) -> None:
    """Show `change` what stands under these keys until it has done them all, or too many times.

    It returns those it has done; others' changes have refused the rest.
    """
    started = perf_counter()
    left = sorted(keys)
    for attempt in range(TRIES):
        if attempt:
            time.sleep(random.uniform(0, min(0.001 * 2**attempt, LONGEST_PAUSE)))
        done: set[str] = set()
        for begin in range(0, len(left), CHUNK):
            done |= change(table.cache.gets_many(left[begin : begin + CHUNK]))
        left = [key for key in left if key not in done]
        if not left:
            return
    logger.warning("Given up after %d tries to change %s in the cache", TRIES, left[:10])
    events.tell(events.REFUSED, table.model, started, *left)
