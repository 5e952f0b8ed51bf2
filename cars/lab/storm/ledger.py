"""Notes the writes of one process in the record, at the moments of their SQL and COMMIT."""

import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.cache import caches
from django.db import connection
from django.db.models.signals import pre_save

from cars.caching.backends import MemcachedCache
from cars.caching.backends.client import SafeClient

from .models import Hot, HotModel
from .record import Record

CHANCE_OF_DELAY = 0.2  # before and after a SELECT or a COMMIT
LONGEST_DELAY = 0.005  # seconds


class Ledger:
    """Numbers the writes of this process, notes how they end, and delays its SQL."""

    def __init__(self, record: Record, model: HotModel, chance: random.Random) -> None:
        self.record = record
        self.chance = chance
        # By row.
        self.open: dict[int, tuple[int, bool]] = {}  # the write's number, and whether it deletes
        self.unreleased: dict[int, int] = {}  # the committed write's number
        self.losses: dict[int, tuple[int, ...]] = {}  # as they were before the write
        self.reach = _Reach()
        # Connected after the recipe's own receivers: the hold already stands, or stands beside the
        # holds of other writers, when the row is locked.
        pre_save.connect(self._number, sender=model, weak=False)
        connection.ensure_connection()
        connection.execute_wrappers.append(self._execute)
        private: Any = connection  # Django's stubs leave its private methods out
        self._commit, private._commit = private._commit, self._commit_noted
        self._rollback, private._rollback = private._rollback, self._rollback_noted

    # One write, from before its first hold to after its last release

    @contextmanager
    def write(self, rows: Collection[int]) -> Iterator[None]:
        """Note everything that is done to `rows` in the block."""
        self.reach.start()
        self.losses = {row: self.record.losses(row) for row in rows}
        try:
            yield
        finally:
            self.undo(list(self.open))
        for row, number in self.unreleased.items():
            if self.reach.is_unbroken():
                with self.record.locks[row]:
                    self.record.released(row, number)
        self.unreleased = {}

    def take(self, rows: Collection[int], deletes: bool = False) -> int:
        """Lock these rows against the storm's other writers; return the number to write to them."""
        for row in sorted(rows):
            if row not in self.open:
                self.record.locks[row].acquire()
                self.open[row] = 0, False
        number = self.record.new_number()
        self.open.update({row: (number, deletes) for row in rows})
        return number

    def undo(self, rows: Collection[int]) -> None:
        """Note that these rows are not written, and unlock them."""
        for row in rows:
            del self.open[row]
            self.record.locks[row].release()

    def _number(self, instance: Hot, **kwargs: Any) -> None:
        instance.number = self.take([instance.pk])

    # SQL

    def _execute(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        is_select = sql.startswith("SELECT")
        is_commit = not is_select and not connection.in_atomic_block
        if is_select or is_commit:
            self.delay()
        if is_commit:
            self._commit_begins()
        result = execute(sql, params, many, context)
        if is_commit and context["cursor"].rowcount:  # an UPDATE of no row leads to an INSERT
            self._commit_answered()
        if is_select or is_commit:
            self.delay()
        return result

    def _commit_noted(self) -> None:
        self.delay()
        self._commit_begins()
        self._commit()
        self._commit_answered()
        self.delay()

    def _rollback_noted(self) -> None:
        self._rollback()
        self.undo(list(self.open))

    def _commit_begins(self) -> None:
        for row, (number, deletes) in self.open.items():
            self.record.commit_begins(row, number, deletes)

    def _commit_answered(self) -> None:
        for row, (number, _) in self.open.items():
            self.record.commit_answered(row, number, self._is_sound(row))
            self.unreleased[row] = number
        self.undo(list(self.open))

    def _is_sound(self, row: int) -> bool:
        losses = self.losses[row]
        unlost = losses == self.record.losses(row) and not any(loss % 2 for loss in losses)
        return unlost and self.reach.is_unbroken()

    def delay(self) -> None:
        """Sometimes wait, up to LONGEST_DELAY seconds."""
        if self.chance.random() < CHANCE_OF_DELAY:
            time.sleep(self.chance.uniform(0, LONGEST_DELAY))


class _Reach:
    """Tells whether this process could reach the cache all the time since `start()`."""

    def __init__(self) -> None:
        self.broken = 0  # connections so far: a client closes its connection when a call fails
        close = SafeClient.close

        def close_noted(client: SafeClient) -> None:
            self.broken += 1
            close(client)

        SafeClient.close = close_noted
        cache = caches["default"]
        assert isinstance(cache, MemcachedCache)
        assert isinstance(cache._cache, SafeClient)  # there is one server
        self.client = cache._cache

    def start(self) -> None:
        self.since = self.broken
        self.away_at_first = self.is_away()

    def is_unbroken(self) -> bool:
        return not self.away_at_first and self.broken == self.since and not self.is_away()

    def is_away(self) -> bool:
        # The client doesn't ask the server for a while, and answers by itself.
        return bool(self.client.known.away)
