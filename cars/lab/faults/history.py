"""What was written and read in a run, and the verdict on each read.

Every write of a row has a version, which is greater than those of all writes before it. When a
version was committed is known from outside only roughly: between two looks at the database.
All times are those of `time.monotonic()`, in seconds.
"""

import threading
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

KNOWN = 1.0  # seconds after the beginning of a fault, when the site has found out
MISSING = -1  # the version of a row that was not found although no write has deleted it


@dataclass
class Page:
    """One request: which kind of page or save, when, its status (0 without an answer).

    The site says in which process it was answered, and how many seconds that process `waited` for
    a Memcached that didn't answer.
    """

    kind: str
    begun: float
    ended: float = 0
    status: int = 0
    process: str = ""
    waited: float = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.begun


class Read(NamedTuple):
    """A row as a page showed it: `hit` says whether it came from the cache, of which process."""

    row: int
    version: int
    begun: float
    ended: float
    hit: bool
    process: str


class Commit(NamedTuple):
    """A version that was seen in the database, and the last look that did not show it."""

    version: int
    unseen: float
    seen: float


class Stale(NamedTuple):
    """A read of a row that a newer commit had replaced `age` seconds before it began."""

    read: Read
    newest: int
    age: float

    def in_words(self, zero: float) -> str:
        """Describe it, with times that count from `zero`."""
        read = self.read
        return (
            f"row {read.row}: a page requested at {read.begun - zero:.2f} s from process "
            f"{read.process} showed version {read.version}{' (a hit)' if read.hit else ''}; it was "
            f"replaced at {read.begun - self.age - zero:.2f} s, at last by version {self.newest}"
        )


class History:
    """All pages, reads and commits of a run; any thread may add to it."""

    def __init__(self, rows: dict[int, int], begun: float) -> None:
        self._lock = threading.Lock()
        self._version = max(rows.values())
        self.pages: list[Page] = []
        self.reads: list[Read] = []
        self.lost: list[str] = []  # writes that were answered, and are not in the database
        self.locks: list[float] = []  # seconds of each lock that the fault itself held
        self.deleted: dict[int, int] = {}  # by row, the version of its delete
        self.answered: set[int] = set()  # the versions whose save was answered as done
        self.commits: dict[int, list[Commit]] = defaultdict(list)
        # The editor leaves some rows to other writers: of two writers at once, the one with the
        # lower version could be the later one.
        self.rows_of_others = sorted(rows)[: len(rows) // 3]
        self._looked_at = begun
        self.looked(rows, begun, begun)

    def new_version(self, count: int = 1) -> int:
        """Return a version greater than all before it, the first of `count`."""
        with self._lock:
            first = self._version + 1
            self._version += count
        return first

    def deletes(self, row: int) -> int:
        """Note that `row` is going to be deleted; return the version of that write."""
        self.deleted[row] = version = self.new_version()
        return version

    def looked(self, rows: dict[int, int], begun: float, ended: float) -> None:
        """Note what the database has: `rows` by version, seen between `begun` and `ended`."""
        gone = {row: self.deleted[row] for row in self.deleted if row not in rows}
        for row, version in {**rows, **gone}.items():
            commits = self.commits[row]
            if not commits or commits[-1].version != version:
                commits.append(Commit(version, self._looked_at, ended))
        self._looked_at = begun

    def version_when_missing(self, row: int) -> int:
        """Return the version that a page shows which doesn't find `row`."""
        return self.deleted.get(row, MISSING)

    def back(self, begun: float, ended: float) -> float | None:
        """Return the time from `ended` until every process had a hit; None if one had none.

        Only hits of rows count that had no hit from `begun` to `ended`: those of other rows may
        come from a server that didn't fail. If all rows had one, all count.
        """
        during = [read for read in self.reads if begun <= read.begun and read.ended < ended]
        hit = {read.row for read in during if read.hit}
        missed = {read.row for read in during} - hit
        first: dict[str, float | None] = {}
        for read in self.reads:
            if read.begun >= ended and (read.row in missed or not missed):
                first.setdefault(read.process, None)
                if read.hit and first[read.process] is None:
                    first[read.process] = read.begun - ended
        times = [time for time in first.values() if time is not None]
        return max(times) if times and len(times) == len(first) else None

    # Verdicts

    def stale(self, end: float) -> list[Stale]:
        """Return the reads, begun before `end`, of a row that a newer commit had replaced."""
        found = []
        for read in self.reads:
            if read.begun > end:
                continue
            commits = self.commits[read.row]
            known = bisect_right(commits, read.begun, key=lambda commit: commit.seen)
            newer = [commit for commit in commits[:known] if commit.version > read.version]
            if newer:
                found.append(Stale(read, newer[-1].version, read.begun - newer[0].seen))
        return found

    def dirty(self) -> list[Read]:
        """Return the reads of a version that was not committed when they ended."""
        return [read for read in self.reads if self._is_dirty(read)]

    def _is_dirty(self, read: Read) -> bool:
        if read.version == MISSING:
            return False
        for commit in self.commits[read.row]:
            if commit.version == read.version:
                return read.ended <= commit.unseen
        # Replaced between two looks, or rolled back.
        return read.version not in self.answered
