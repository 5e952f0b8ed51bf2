"""What all processes of a storm know of the rows, in shared memory; and the verdict on a read.

Each write has a number. Of two writes of one row, the later one has the greater number: a writer
takes its number while it has the row locked, from just before its SQL until the answer to its
COMMIT or ROLLBACK. The database would make other writers wait for that time anyway. The writer
holds before it, and releases after it.

A write is *sound* if the writer could reach the cache, and the entry was not lost, from the
beginning of the write until the answer to its COMMIT. From that answer on, no read may return what
was before the write. A write that is not sound is the exception that the recipe admits: what was
before it may be read until the write has been released with the cache within reach, or until the
next sound write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import NamedTuple

MAX_WRITES = 20_000_000  # in one storm
COUNTS = (
    *("reads", "unanswered", "hits", "fills", "writes", "committed", "refilled"),
    *("evicted", "lost", "stale", "dirty", "excused"),
)

# The verdicts. All but the first are also the name of the count that they add to.
RIGHT, EXCUSED, STALE, DIRTY = "right", "excused", "stale", "dirty"


class Known(NamedTuple):
    """Of one row at one moment: the newest sound write, and the newest committed write."""

    sound: int
    committed: int


class Record:
    """The numbers that were committed, the losses, and the counts of each process.

    There are `rows` rows and `processes` processes, both counted from 0.
    """

    def __init__(self, context: BaseContext, rows: int, processes: int) -> None:
        self.rows = range(rows)
        self.locks = [context.Lock() for _ in self.rows]
        self._next = context.Value("q", 0)
        self._visible = context.RawArray("b", MAX_WRITES)  # by number: has its COMMIT begun?
        self._sound = context.RawArray("q", rows)
        self._committed = context.RawArray("q", rows)
        self._deleted = context.RawArray("q", rows)  # the newest delete whose COMMIT has begun
        self._losses = [context.RawArray("q", rows) for _ in range(processes)]
        self._counts = [context.RawArray("q", len(COUNTS)) for _ in range(processes)]

    # Counts

    def count(self, process: int, name: str, by: int = 1) -> None:
        """Add `by` to what `process` has counted under `name`, one of COUNTS."""
        self._counts[process][COUNTS.index(name)] += by

    def total(self, name: str) -> int:
        """Return what all processes together have counted under `name`."""
        return sum(counts[COUNTS.index(name)] for counts in self._counts)

    # Writers. A method that takes a row is called with the row's lock held.

    def new_number(self) -> int:
        """Return the number of a new write, greater than all numbers before it."""
        with self._next.get_lock():
            self._next.value += 1
            number: int = self._next.value
        return number

    def exists(self, row: int) -> bool:
        """Does the row exist?"""
        committed: int = self._committed[row]
        deleted: int = self._deleted[row]
        return committed > deleted

    def commit_begins(self, row: int, number: int, deletes: bool) -> None:
        """Note that from now on readers may see this write."""
        self._visible[number] = True
        if deletes:
            self._deleted[row] = number

    def commit_answered(self, row: int, number: int, sound: bool) -> None:
        """Note that from now on readers must see this write."""
        self._committed[row] = number
        if sound:
            self._sound[row] = number

    def released(self, row: int, number: int) -> None:
        """Note that the write has been released, so the exception made for it has ended."""
        self._sound[row] = max(self._sound[row], number)

    # Losses

    @contextmanager
    def losing(self, process: int, *rows: int) -> Iterator[None]:
        """Note that the entries of `rows`, whatever stands there, are lost within the block."""
        for row in rows:
            self._losses[process][row] += 1  # odd: under way
        try:
            yield
        finally:
            for row in rows:
                self._losses[process][row] += 1

    def losses(self, row: int) -> tuple[int, ...]:
        """Return the losses of this row so far, one number for each process.

        If two results are equal and all numbers are even, no loss was between them.
        """
        return tuple(losses[row] for losses in self._losses)

    # Readers

    def known(self, row: int) -> Known:
        """Return what is known of `row` now, to be asked before a read of it."""
        return Known(self._sound[row], self._committed[row])

    def verdict(self, row: int, number: int | None, before: Known) -> str:
        """Return the verdict on a read of `row`.

        `number` is what it returned, or None if it found no row; `before` is what was known when
        it began.
        """
        if number is None:
            number = self._deleted[row]
        elif not self._visible[number]:
            return DIRTY
        if number < before.sound:
            return STALE
        return EXCUSED if number < before.committed else RIGHT
