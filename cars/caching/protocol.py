"""The protocol: how readers fill and writers hold, so that no stale row is ever served.

Under a key stands nothing, a row, a reader's lease or the holds of writers. A reader or a writer
fills only if its own token stood there before its SELECT, and puts the row only if it still does.
A writer's hold stands from before the COMMIT on, so it breaks every fill whose SELECT was too
early.

The functions here know nothing of transactions: `transactions` says when to call them. All that
reads and writes entries is in this one module, so that it can be checked in one sitting.
"""

import logging
import random
import time
from collections.abc import Callable, Collection
from functools import partial
from time import perf_counter
from typing import Any

from django.conf import settings
from django.db.models import Model

from . import events
from .entries import (
    ABSENT,
    EXPIRE,
    NO_ANSWER,
    Holds,
    Lease,
    Row,
    Seen,
    Swap,
    SwapCache,
    holds_in,
    new_token,
    put_holds,
)
from .registry import CachedModel, Keys
from .rows import make_instance, pack, unpack, unpack_many
from .selects import Values, select

logger = logging.getLogger(__name__)

DEFAULTS = {
    "CACHING_HOLD": 600,  # seconds that a hold stands: longer than any transaction
    "CACHING_LEASE": 10,  # seconds that a reader has to fill
    "CACHING_WAIT": 0.25,  # seconds that other readers wait for that fill
}
TRIES = 20  # at a change that is refused because others have changed the entry
LONGEST_PAUSE = 0.05  # seconds between two tries, or between two looks at another reader's lease
CHUNK = 500  # keys in one round trip of a writer
KEPT = 2_000  # keys of a model, of which a writer remembers what stands: about a megabyte
MOST_PKS = 2_000  # in one read: the deadline of a command counts for its whole answer


def setting(name: str) -> float:
    """Return the setting `name`, in seconds."""
    return getattr(settings, name, DEFAULTS[name])


# Readers


def look_up(cached: CachedModel, fingerprint: bytes, key: str, pk: Any) -> Model | None:
    """Return the row `pk`, under `key`, if it is in the cache: one `get`, and nothing else."""
    started = perf_counter()
    instance = unpack(cached, fingerprint, key, cached.cache.look(key), pk)
    outcome = events.LOOKED if instance is None else events.HIT
    events.tell(outcome, cached.model, started, key)
    return instance


def look_up_many(cached: CachedModel, keys: Collection[str]) -> dict[str, Model]:
    """Return, by key, the rows with these keys that are in the cache: one round trip."""
    started = perf_counter()
    found = unpack_many(cached, cached.cache.look_many(keys) if keys else {})
    events.tell(events.HIT, cached.model, started, *found)
    if len(found) < len(keys):
        events.tell(events.LOOKED, cached.model, started, *(k for k in keys if k not in found))
    return found


def read_misses(cached: CachedModel, keys: Keys) -> dict[str, Model]:
    """Return the rows with these keys, which the cache didn't have; one SELECT fills them all."""
    started = perf_counter()
    lease = Lease(new_token())
    seen, found = _take_leases(cached, keys, lease)
    waiting: Keys = {}
    for key, at in seen.items():
        outcome = events.MISS
        if key in found:
            outcome = events.WAITED
        elif isinstance(at.value, Lease) and at.value != lease:
            outcome = events.LOOKED
            waiting[key] = keys[key]
        elif isinstance(at.value, Holds):
            outcome = events.HELD
        elif at is NO_ANSWER:
            outcome = events.NO_ANSWER
        events.tell(outcome, cached.model, started, key)
    missed = {key: pk for key, pk in keys.items() if key not in found and key not in waiting}
    leased = {key: seen[key] for key in missed if seen[key].value == lease}
    rows, _ = fill(cached, missed, leased)
    found |= {key: make_instance(cached, values) for key, values in rows.items()}
    if waiting:
        found |= _wait(cached, waiting)
    return found


def warm(cached: CachedModel, keys: Keys) -> None:
    """Fill these keys where nothing stands, as a reader does, but return nothing."""
    started = perf_counter()
    lease = Lease(new_token())
    seen, _ = _take_leases(cached, keys, lease)
    events.tell(events.LOOKED, cached.model, started, *keys)
    leased = {key: at for key, at in seen.items() if at.value == lease}
    fill_or_log(cached, {key: keys[key] for key in leased}, leased)


def _take_leases(
    cached: CachedModel, keys: Keys, lease: Lease
) -> tuple[dict[str, Seen], dict[str, Model]]:
    """Lease those of `keys` with nothing or an unusable row.

    Returns what stands now, and the instances of the rows that others have put meanwhile.
    """
    timeout = setting("CACHING_LEASE")
    cache = cached.cache
    seen = cache.swap_and_look({key: Swap(ABSENT, lease, timeout) for key in keys})
    found = unpack_many(cached, {key: at.value for key, at in seen.items()})
    others = (Lease, Holds)
    unusable = {
        key: Swap(at, lease, timeout)
        for key, at in seen.items()
        if not (at is ABSENT or at is NO_ANSWER or key in found or isinstance(at.value, others))
    }
    if unusable:
        now = cache.swap_and_look(unusable)
        found |= unpack_many(cached, {key: at.value for key, at in now.items()})
        seen |= now
    return seen, found


def _wait(cached: CachedModel, keys: Keys) -> dict[str, Model]:
    """Wait until others have filled these keys, for a bounded time; then ask the database."""
    started = perf_counter()
    found: dict[str, Model] = {}
    left = dict(keys)
    deadline = time.monotonic() + setting("CACHING_WAIT")
    pause = 0.001
    while left and (seconds := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, seconds))
        pause = min(pause * 1.5, LONGEST_PAUSE)
        seen = cached.cache.gets_many(left)
        left = {key: pk for key, pk in left.items() if isinstance(seen[key].value, Lease)}
        found |= unpack_many(cached, {key: at.value for key, at in seen.items()})
    for key in keys:
        outcome = events.WAITED if key in found else events.GIVEN_UP
        events.tell(outcome, cached.model, started, key)
    rest = {key: pk for key, pk in keys.items() if key not in found}
    return found | read_database(cached, rest)


# The database


def read_database(cached: CachedModel, keys: Keys) -> dict[str, Model]:
    """Return the rows with these keys as the database has them now, and fill nothing."""
    rows = select(cached, keys)
    return {key: make_instance(cached, values) for key, values in rows.items()}


# Filling


def fill(
    cached: CachedModel, keys: Keys, claimed: dict[str, Seen]
) -> tuple[dict[str, Values], set[str]]:
    """SELECT these keys, and put the rows of `claimed`, which have our token and no other.

    Where a row can't be put (there is none, it can't be packed or is too large, no answer) our
    token is removed. All of it by comparing: an entry that others have changed stays as it is.
    Returns the rows, and the keys that our token is gone from.
    """
    expire = {key: Swap(at, EXPIRE, 0) for key, at in claimed.items()}
    try:
        rows = select(cached, keys)
        packed = {key: _packed(cached, key, rows[key]) for key in claimed if key in rows}
        timeout = cached.config.timeout
        put = {
            key: Swap(claimed[key], row, timeout) for key, row in packed.items() if row is not None
        }
        started = perf_counter()
        done = cached.cache.cas_many(expire | put)  # a key of both is put
    except BaseException:
        cached.cache.cas_many(expire)
        raise
    if refused := put.keys() - done:
        done |= cached.cache.cas_many({key: expire[key] for key in refused})
    for key in done:
        filled = key in put and key not in refused
        events.tell(events.FILLED if filled else events.EXPIRED, cached.model, started, key)
    return rows, done


def fill_or_log(cached: CachedModel, keys: Keys, claimed: dict[str, Seen]) -> set[str]:
    """Fill as `fill` does, but log an error. Returns the keys that are done.

    After an error these are all: `fill` has tried to remove our token, and what is left of it ends
    at its deadline.
    """
    try:
        return fill(cached, keys, claimed)[1]
    except Exception:
        logger.exception("The rows of %s could not be put into the cache", sorted(claimed))
        return set(claimed)


def _packed(cached: CachedModel, key: str, values: Values) -> Row | None:
    try:
        return pack(cached, values)
    except Exception as error:
        kind = (cached.model, type(error), getattr(error, "field", None))
        if kind not in _warned:  # once for each field, not at each read
            _warned.add(kind)
            logger.warning("The row %s can't be packed, and stays out of the cache: %s", key, error)
        return None


_warned: set[tuple[Any, ...]] = set()


# Writers


def hold(
    cached: CachedModel, keys: Collection[str], token: str, are_new: bool = False
) -> dict[str, Seen]:
    """Put the hold `token` on these keys, whatever stands there; renew it where it stands.

    To be called before the COMMIT. Returns what stands now, by key, where the hold is known to
    stand; ABSENT for each of more than KEPT keys. What is to be done about the other keys is owed:
    the server didn't answer, or others were faster too many times.

    `are_new`: mostly nothing stands under these keys. The look itself puts the hold there.
    """
    # As it is read again, so that a renewal can be told from what it renews.
    deadline = round(time.time() + setting("CACHING_HOLD"), 3)
    held: dict[str, Seen] = {}

    def add(seen: dict[str, Seen]) -> set[str]:
        started = perf_counter()
        added = add_holds(cached, token, deadline, seen)
        events.tell(events.HOLD, cached.model, started, *added)
        # Of many rows, what stands would take more memory than their pks.
        held.update(added if len(keys) <= KEPT else dict.fromkeys(added, ABSENT))
        return set(added)

    _change(cached, keys, add, first=put_holds(ABSENT, {token: deadline}) if are_new else None)
    return held


# Each of these returns the keys where it couldn't be done: it is owed. `held` is what `hold` has
# returned. While it still stands, the others that had held before are in it, and no other has held
# since. So it can be replaced without another look.


def release(
    cached: CachedModel, keys: Keys, token: str, held: dict[str, Seen] | None = None
) -> set[str]:
    """Remove the hold `token` from these keys, since the write is committed, and fill them."""
    return _change(cached, keys, partial(release_holds, cached, token, keys), held)


def withdraw(
    cached: CachedModel, keys: Collection[str], token: str, held: dict[str, Seen] | None = None
) -> set[str]:
    """Remove the hold `token` from these keys, and fill nothing; the last one expires the entry."""
    return _change(cached, keys, partial(remove_holds, cached, token), held)


def withdraw_owed(cache: SwapCache, tokens: dict[str, set[str]]) -> set[str]:
    """Do what writers owe: withdraw, by key, the holds with these `tokens`.

    As in `remove_holds` a row or a lease expires, and others' holds are written again. Returns the
    keys that are done.
    """
    seen = {key: at for key, at in cache.gets_many(tokens).items() if at is not NO_ANSWER}
    standing = {key: at for key, at in seen.items() if at is not ABSENT}
    done = cache.cas_many({key: _without(at, *tokens[key]) for key, at in standing.items()})
    return done | (seen.keys() - standing.keys())


def forget(cached: CachedModel, keys: Collection[str]) -> int:
    """Remove the rows with these keys, but no leases and no holds; return how many there were."""
    removed: set[str] = set()

    def expire_rows(seen: dict[str, Seen]) -> set[str]:
        started = perf_counter()
        rows = {key: Swap(at, EXPIRE, 0) for key, at in seen.items() if isinstance(at.value, Row)}
        done = cached.cache.cas_many(rows)
        events.tell(events.EXPIRED, cached.model, started, *done)
        removed.update(done)
        return set(seen)  # what others have changed meanwhile is another row

    _change(cached, keys, expire_rows)
    return len(removed)


# What a writer does with what stands under some keys. Each function returns the keys that are
# done; the rest were refused, since others have changed them.


def add_holds(
    cached: CachedModel, token: str, deadline: float, seen: dict[str, Seen]
) -> dict[str, Seen]:
    swaps = {}
    for key, at in seen.items():
        holds = holds_in(at.value)
        if holds.get(token) != deadline:
            swaps[key] = put_holds(at, holds | {token: deadline})
    now = seen | cached.cache.swap_and_look(swaps) if swaps else seen
    return {key: at for key, at in now.items() if holds_in(at.value).get(token) == deadline}


def release_holds(cached: CachedModel, token: str, keys: Keys, seen: dict[str, Seen]) -> set[str]:
    absent = {key: keys[key] for key, at in seen.items() if at is ABSENT}
    alone = {key: at for key, at in seen.items() if holds_in(at.value).keys() == {token}}
    rest = {key: at for key, at in seen.items() if key not in alone}
    done = remove_holds(cached, token, rest) if rest else set()
    if absent:
        warm(cached, absent)
    if alone:
        done |= fill_or_log(cached, {key: keys[key] for key in alone}, alone)
    return done


def remove_holds(cached: CachedModel, token: str, seen: dict[str, Seen]) -> set[str]:
    # Others' holds are written again even without ours among them: that breaks a fill that
    # another release has begun with a SELECT from before our COMMIT.
    standing = {key: at for key, at in seen.items() if at is not ABSENT}
    started = perf_counter()
    done = cached.cache.cas_many({key: _without(at, token) for key, at in standing.items()})
    events.tell(events.WITHDRAWN, cached.model, started, *done)
    return done | (seen.keys() - standing.keys())


def _without(at: Seen, *tokens: str) -> Swap:
    """Return the swap that leaves the holds of others, or else expires the entry.

    So it expires a row and a lease too. They show that our hold was lost.
    """
    holds = holds_in(at.value)
    return put_holds(at, {token: holds[token] for token in holds if token not in tokens})


def _change(
    cached: CachedModel,
    keys: Collection[str],
    change: Callable[[dict[str, Seen]], set[str]],
    known: dict[str, Seen] | None = None,
    first: Swap | None = None,
) -> set[str]:
    """Show `change` what stands under these keys until all are done, TRIES times at most.

    The first time, keys in `known` need no look. Before each look, the swap `first` is made.

    Where the server doesn't answer it is asked once more: a connection that broke, as all do when
    a server is restarted, is a fresh one then. Returns the keys that are not done.
    """
    started = perf_counter()
    left = sorted(keys)
    known = dict(known or {})
    unanswered: set[str] = set()  # once
    failed: set[str] = set()  # unanswered twice
    for attempt in range(TRIES):
        if attempt:
            time.sleep(random.uniform(0, min(0.001 * 2**attempt, LONGEST_PAUSE)))
        ended: set[str] = set()
        for begin in range(0, len(left), CHUNK):
            part = left[begin : begin + CHUNK]
            seen = {key: known.pop(key) for key in part if key in known}
            if unknown := [key for key in part if key not in seen]:
                looked = perf_counter()
                if first:
                    seen |= cached.cache.swap_and_look(dict.fromkeys(unknown, first))
                else:
                    seen |= cached.cache.gets_many(unknown)
                events.tell(events.LOOKED, cached.model, looked, *unknown)
            silent = {key for key, at in seen.items() if at is NO_ANSWER}
            ended |= change({key: at for key, at in seen.items() if key not in silent})
            failed |= silent & unanswered
            unanswered |= silent
        left = [key for key in left if key not in ended and key not in failed]
        if not left:
            break
    else:
        logger.warning("Given up after %d tries to change %s in the cache", TRIES, left[:10])
        events.tell(events.REFUSED, cached.model, started, *left)
    return failed.union(left)
