"""What can go wrong in a case, and what the exceptions in the docs excuse."""

from enum import StrEnum
from typing import Any

from cars.caching.backends import LocalMemoryCache
from cars.caching.entries import State
from cars.lab.models import Counted

from .actors import Actor, Unaware
from .scene import Scene


class Verdict(StrEnum):
    """What a read of the cache was: "excused" is stale, by an exception that the docs list."""

    RIGHT = "right"
    STALE = "stale"
    DIRTY = "dirty"
    EXCUSED = "excused"


class JudgedScene(Scene):
    """A Scene that checks what is read, refused and left."""

    def _reset(self, number: int | None) -> None:
        super()._reset(number)
        self.verdict: Verdict | None = None  # of the read that the last step was, if it was one
        self.problems: list[str] = []

    def check_hit(self, actor: Actor, number: int | None) -> None:
        """Check the row that the cache has given `actor`: it must be the committed one."""
        self.verdict = self._verdict(actor, number)
        self.outcomes.add(("hit", actor.name, number, self.committed, self.verdict))
        if self.verdict is Verdict.DIRTY:
            self._wrong("dirty hit", f"{actor.name} got {number}, which was never committed")
        elif self.verdict is Verdict.STALE:
            self._wrong("stale hit", f"{actor.name} got {number}, committed is {self.committed}")

    def _verdict(self, actor: Actor, number: int | None) -> Verdict:
        if number == self.committed:
            return Verdict.RIGHT
        if number not in self.ever_committed:
            return Verdict.DIRTY
        if self.has_unseen_write() or self._has_lost_an_entry() or self.is_out_of_reach(actor):
            return Verdict.EXCUSED
        return Verdict.STALE

    def _has_lost_an_entry(self) -> bool:
        """Is this the exception "lost entry": a hold was lost before its write was released?"""
        return any(w.lost and w.committed and (w.pending or w.dead) for w in self.writers)

    def has_unseen_write(self) -> bool:
        """Is this the exception "unseen write": raw SQL, of which the cache wasn't told?"""
        raw = any(self.words[w.name] == "raw" and w.committed for w in self.writers)
        return raw and issubclass(self.case.model, Counted)

    def is_out_of_reach(self, actor: Actor) -> bool:
        """Is this the exception "unreachable server": owed, and `actor` has not looked since?"""
        lost = any(writer.lost for writer in self.writers)
        return Unaware.UNHELD in actor.unaware or (lost and Unaware.UNRELEASED in actor.unaware)

    def _check_refused(self, compared: Any, before: Any) -> None:
        """Check what the pruning relies on: a cas fails if the entry has changed since."""
        local = isinstance(self.cache, LocalMemoryCache)  # others make a new stamp at each look
        if local and compared is not before and self.stamp is not before:
            self._wrong("not refused", "a cas has replaced what it had not seen")

    def check_answer(self, actor: Actor, number: int | None) -> None:
        """Check the row that a read has returned: it must be the one that it has seen last."""
        if number != actor.last_read:
            self._wrong("wrong answer", f"{actor.name}: {number}, it saw {actor.last_read}")

    def _check_at_rest(self) -> None:
        self.outcomes.add(("rest", self.committed, self.entry, *self.records.values()))
        stuck = [a.name for a in self.actors if a.pending and not a.dead]
        if stuck:
            self._wrong("stuck", f"no actor can go on, of {', '.join(stuck)}")
        killed = any(a.dead for a in self.actors)
        if not self.entry or self.entry.state is not State.ROW:
            return
        if self.records or self.has_unseen_write():  # the looks to come will withdraw
            return
        if self.entry.number != self.committed and not (killed and self._has_lost_an_entry()):
            what = f"in the cache {self.entry.number}, in the database {self.committed}"
            self._wrong("stale at rest", what)

    def _wrong(self, kind: str, what: str) -> None:
        self.problems.append(kind)
        self.steps.append(f"   {kind}: {what}")
