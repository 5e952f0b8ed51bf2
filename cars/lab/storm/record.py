"""What all processes of a storm know of the rows, in memory they share; and the verdict on a read.

Each write has a number, and of two writes of one row the later has the greater: a writer takes
its number while it has the row to itself, from just before its SQL until the answer to its COMMIT
or ROLLBACK, as the database would have it wait anyway. Its holds and its release are outside.

A write is *sound* if between its beginning and the answer to its COMMIT neither the entry was
lost nor the cache out of the writer's reach. From that answer on nobody may read what was before
it. A write that is not sound is the exception that the recipe allows itself: what was before it
may be read until it has been released within reach, or until the next sound write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import NamedTuple

MOST = 20_000_000  # writes in one storm
COUNTS = ("reads", "hits", "fills", "writes", "evicted", "lost", "stale", "dirty", "excused")

# The verdicts. The last two are named like what they add to.
RIGHT, EXCUSED, STALE, DIRTY = "right", "excused", "stale", "dirty"


class Known(NamedTuple):
    """Of one row at one moment: the newest sound write, and the newest of all, committed."""

    sound: int
    committed: int


class Record:
    """The numbers that were committed, the losses, and the counts of every process."""

    def __init__(self, context: BaseContext, rows: int, processes: int) -> None:
        self.rows = range(rows)
        self.locks = [context.Lock() for _ in self.rows]
        self._next = context.Value("q", 0)
        self._visible = context.RawArray("b", MOST)  # by number: has its COMMIT begun?
        self._sound = context.RawArray("q", rows)
        self._committed = context.RawArray("q", rows)
        self._deleted = context.RawArray("q", rows)  # the newest delete whose COMMIT has begun
        self._losses = [context.RawArray("q", rows) for _ in range(processes)]
        self._counts = [context.RawArray("q", len(COUNTS)) for _ in range(processes)]

    # Counts

    def count(self, process: int, name: str, by: int = 1) -> None:
        """Add to what `process` has counted under `name`."""
        self._counts[process][COUNTS.index(name)] += by

    def total(self, name: str) -> int:
        """Return what all processes have counted under `name`."""
        return sum(counts[COUNTS.index(name)] for counts in self._counts)

    # Writers. Those that name a row have its lock.

    def new_number(self) -> int:
        """Return the number of a new write, greater than all there are."""
        with self._next.get_lock():
            self._next.value += 1
            return self._next.value

    def exists(self, row: int) -> bool:
        """Is there such a row?"""
        return self._committed[row] > self._deleted[row]

    def commit_begins(self, row: int, number: int, deletes: bool) -> None:
        """Note that from now on others may see this write."""
        self._visible[number] = True
        if deletes:
            self._deleted[row] = number

    def commit_answered(self, row: int, number: int, sound: bool) -> None:
        """Note that from now on others must see this write."""
        self._committed[row] = number
        if sound:
            self._sound[row] = number

    def released(self, row: int, number: int) -> None:
        """Note that the exception made for this write has ended."""
        self._sound[row] = max(self._sound[row], number)

    # Losses

    @contextmanager
    def losing(self, process: int, *rows: int) -> Iterator[None]:
        """Note that whatever stands in the cache for `rows` is lost within the block."""
        for row in rows:
            self._losses[process][row] += 1  # odd: under way
        try:
            yield
        finally:
            for row in rows:
                self._losses[process][row] += 1

    def losses(self, row: int) -> tuple[int, ...]:
        """Return the losses of this row so far: equal ones, all even, have none between them."""
        return tuple(losses[row] for losses in self._losses)

    # Readers

    def known(self, row: int) -> Known:
        """Return what is known of `row` now: before a read of it."""
        return Known(self._sound[row], self._committed[row])

    def verdict(self, row: int, number: int | None, before: Known) -> str:
        """Return what a read of `row` was that has ended in `number`, or None for no such row."""
        if number is None:
            number = self._deleted[row]
        elif not self._visible[number]:
            return DIRTY
        if number < before.sound:
            return STALE
        return EXCUSED if number < before.committed else RIGHT
