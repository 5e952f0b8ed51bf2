"""A case that is run: who can take a step, and what follows from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from cars.caching.entries import Holds, State
from cars.lab.models import Counted

from .actors import Actor, Unaware
from .programs import Case
from .scene import Lock, database, new_cache
from .steps import TO_SAVEPOINT, WRITES, Step, SteppingMixin
from .verdicts import JudgedScene

# Choices, followed by the name of an actor: its next call gets no answer, and is not done, or done.
FAILS = "no answer to"
FAILS_DONE = "no answer to what was done by"
# Calls that can get no answer: those of this project's recipe, and the writes of the others. A get
# without an answer is a miss.
CAN_FAIL = ("gets", "cas", "set", "add", "delete")


@contextmanager
def open_world(
    case: str, cache: str = "local", servers: list[str] | None = None
) -> Iterator["World"]:
    """Yield the World of `case`, its actors running; `cache` is "local" or "memcached".

    Raises ValueError for a word in `case` that is not the word of a case.
    """
    parsed = Case(case)
    with database(parsed.model) as config:
        world = World(parsed, config, new_cache(cache, servers))
        try:
            yield world
        finally:
            world.end()


class World(JudgedScene):
    """All that a case consists of. A run is `start()`, then `take()` until `able` is empty."""

    def __init__(self, case: Case, config: dict[str, Any], cache: SteppingMixin) -> None:
        super().__init__(case, config, cache)
        self.cached_at_start = self._fill() if case.start == "cached" else None

    def start(self) -> None:
        """Put everything back to the start, and each actor before its first step."""
        for actor in self.actors:
            actor.abandon()
        self._write_row()
        self.cache.delete(self.key)
        if self.cached_at_start is not None:
            self.cache.set(self.key, self.cached_at_start, 3600)
        self._reset(None if self.case.start == "absent" else 0)
        for actor in self.actors:
            actor.begin(self.programs[actor.name], self)
        self.look()
        self.able = self._choices()

    def _fill(self) -> Any:
        """Return the value that a read puts into the cache."""
        self._write_row()
        self.cache.delete(self.key)
        self._reset(0)
        reader = Actor("first", 0, self.connection.settings_dict, self.table, self.cache)
        reader.begin(self.case.program("read"), self)
        while reader.pending:
            reader.resume()
        reader.end()
        if reader.error:
            raise reader.error
        return self.cache.gets_many([self.key])[self.key].value

    def _choices(self) -> list[str]:
        """Return what can happen next, by name, always in the same order.

        Faults first: once taken they stay asleep until an actor does something they depend on.
        """
        able = []
        if "killed" in self.faults_left:
            able += [f"kill {a.name}" for a in self.writers if a.pending and a.committed]
        if "lost" in self.faults_left and self.entry:
            able.append("lost")
        if "later" in self.faults_left and self._can_end():
            able.append("later")
        if "restart" in self.faults_left:
            able.append("restart")
        for actor in self.actors:
            if self.can_fail(actor):
                able.append(f"{FAILS} {actor.name}")
                if actor.pending and actor.pending.swap:
                    able.append(f"{FAILS_DONE} {actor.name}")
        return able + [actor.name for actor in self.actors if self._can_go_on(actor)]

    def _can_end(self) -> bool:
        """Can the entry end by time? A hold's deadline is later than the end of any writer."""
        if not self.entry or self.entry.state is State.ROW:
            return False
        alive = any(writer.pending and not writer.dead for writer in self.writers)
        return self.entry.state is not State.HOLDS or not alive

    def can_fail(self, actor: Actor) -> bool:
        """Can the next call of `actor` get no answer? The calls after it can as well."""
        asks = actor.pending is not None and actor.pending.kind in CAN_FAIL
        silent = actor.name == self.silent or (not self.silent and "no-answer" in self.faults_left)
        return asks and silent and not actor.link.broken and self._can_go_on(actor)

    def _can_go_on(self, actor: Actor) -> bool:
        if not actor.pending or actor.dead or (self.lock and self.lock.blocks(actor)):
            return False
        twin = self.twin(actor)
        return twin is None or twin.begun

    def twin(self, actor: Actor) -> Actor | None:
        """Return the actor with the same program that has to begin before `actor`.

        The two differ in name only, so one order of their beginnings is enough.
        """
        return None if actor.begun else self.twins.get(actor.name)

    def take(self, name: str) -> None:
        """Take the step `name`, one of `able`: an actor's next step, or a fault."""
        self.verdict = None
        if name in ("lost", "later"):
            self.steps.append(f"-- the entry {'is lost' if name == 'lost' else 'ends, by time'}")
            self.faults_left.remove(name)
            if name == "lost":
                self._note_loss()
            self.cache.delete(self.key)
            self.look()
        elif name.startswith("kill "):
            self.steps.append(f"-- {name}")
            self.faults_left.remove("killed")
            self.by_name[name[5:]].dead = True
        elif name == "restart":
            self.steps.append("-- the cache is restarted")
            self.faults_left.remove("restart")
            self._note_loss()
            self.cache.delete(self.key)
            self.look()
            for actor in self.actors:
                actor.link.broken = True
        elif name.startswith(FAILS):
            how, _, name = name.rpartition(" ")
            actor = self.by_name[name]
            self.silent = name
            self.faults_left.discard("no-answer")
            actor.link.fails, actor.link.done = True, how == FAILS_DONE
            self._step(actor, f" ({how})")
        else:
            self._step(self.by_name[name])
        self.able = self._choices()
        if not self.able:
            self._check_at_rest()

    def _note_loss(self) -> None:
        """Note whose holds are lost with the entry; other recipes have none, but lose as much."""
        if not issubclass(self.case.model, Counted):
            holders = self.writers
        else:
            tokens = self.entry.tokens if self.entry else ()
            holders = [self.holders[token] for token in tokens if token in self.holders]
        for writer in holders:
            writer.lost = True

    def _step(self, actor: Actor, how: str = "") -> None:
        step = actor.pending
        if step is None:
            raise ValueError(f"{actor.name} has no step to take")
        if not how and actor.name == self.silent and step.kind in CAN_FAIL:
            self.silent = ""
        elif actor.link.broken and step.kind in ("get", *CAN_FAIL):
            how = " (the connection is broken)"
        self.steps.append(f"{actor.name}: {step}{how}")
        actor.begun = True
        if step.swap and isinstance(step.swap.value, Holds):
            for token in step.swap.value.deadlines:  # others only pass on what they have seen
                self.holders.setdefault(token, actor)
        before = self.stamp
        actor.resume()
        if step.kind in ("cas", "add", "set", "delete"):
            self.look()
        if step.swap:
            self._check_refused(step.swap.seen.stamp, before)
        self._follow_transaction(actor, step)
        self.steps[-1] += self._result(actor)
        if actor.error and not actor.pending:
            self._wrong("error", f"{actor.name} raised {actor.error!r}")

    def _follow_transaction(self, actor: Actor, step: Step) -> None:
        """Note who has the row locked after `step`, and what is committed."""
        lock = self.lock
        if step.owed:
            self._follow_records(actor, step)
            return
        if step.kind == "COMMIT" and self.owes:
            self._read_records()
        if step.kind == "BEGIN":
            self.lock = Lock(actor.name, new=False, written=False)
        elif step.kind in WRITES and step.rows > 0 and step.atomic:
            self.lock = Lock(actor.name, new=lock.new if lock else step.kind == "INSERT")
        elif step.kind in WRITES and step.rows > 0:
            self._note_commit(actor)
        elif not lock or not self.owns_lock(actor):
            return
        elif step.kind == TO_SAVEPOINT:  # the row was locked or written inside the savepoint
            sqlite = self.connection.vendor == "sqlite"
            self.lock = replace(lock, written=False) if sqlite else None
        elif step.kind in ("COMMIT", "ROLLBACK"):
            self.lock = None
            if step.kind == "COMMIT" and lock.written:
                self._note_commit(actor)

    def _follow_records(self, actor: Actor, step: Step) -> None:
        if step.kind in WRITES and not step.atomic:
            self._read_records()
        if step.kind == "INSERT" and actor.committed:
            self._make_unaware(Unaware.UNRELEASED)

    def _make_unaware(self, of: Unaware) -> None:
        for actor in self.actors:
            actor.unaware.add(of)

    def _note_commit(self, actor: Actor) -> None:
        actor.committed = actor in self.writers
        if actor.unheld:
            self._make_unaware(Unaware.UNHELD)
        self.committed = self._read_row()
        self.ever_committed.add(self.committed)
        self.steps[-1] += f", committed: {self.committed}"

    def _result(self, actor: Actor) -> str:
        """Say what the step returned, if the actor has not forgotten it yet."""
        last = actor.seen[-1] if actor.seen else None
        if isinstance(last, tuple) and last[0] == "SELECT owed":
            return f" -> {', '.join(token for token, _ in self.records.values()) or 'nothing'}"
        if isinstance(last, tuple) and last[0] in ("get", "gets", "cas", "SELECT"):
            return f" -> {actor.last_read if last[0] == 'SELECT' else last[1]}"
        return ""
