"""The row, its entry in the cache, and the actors: who can take a step, and what goes wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
from django.db import connections
from django.db.models import Model

from cars.caching.backends import LocalMemoryCache
from cars.caching.entries import Holds, Lease, Row, State
from cars.caching.models import Owed
from cars.caching.rows.fingerprint import SIZE
from cars.lab.models import Counted

from .actors import OWED, Actor, Unaware
from .programs import OUTAGES, PK, Case
from .steps import TO_SAVEPOINT, WRITES, Step, SteppingLocalMemory, SteppingMemcached, SteppingMixin


def new_cache(kind: str, servers: list[str] | None) -> SteppingMixin:
    """Return an empty cache whose calls are steps: "local" memory, or "memcached" on `servers`."""
    if kind == "local":
        cache = SteppingLocalMemory("lab", {})
        cache.clear()
        return cache
    return SteppingMemcached(servers or [], {"KEY_PREFIX": f"lab-{token_hex(8)}"})


# Choices, followed by the name of an actor: its next call gets no answer, and is not done, or done.
FAILS = "no answer to"
FAILS_DONE = "no answer to what was done by"
# Calls that can get no answer: those of this project's recipe, and the writes of the others. A get
# without an answer is a miss.
CAN_FAIL = ("gets", "cas", "set", "add", "delete")


class Verdict(StrEnum):
    """What a read of the cache was: "excused" is stale, by an exception that the docs list."""

    RIGHT = "right"
    STALE = "stale"
    DIRTY = "dirty"
    EXCUSED = "excused"


class PlainEntry(NamedTuple):
    """What stands under a key, without what differs from run to run."""

    state: State
    number: int | None = None  # of a row
    tokens: tuple[str, ...] = ()  # of a lease or of holds, sorted

    def __str__(self) -> str:
        if self.state is State.OTHER:
            return "None"
        what = str(self.number) if self.state is State.ROW else ", ".join(self.tokens)
        return f"{self.state} {what}"


@dataclass(frozen=True)
class Lock:
    """A transaction has the row locked: other transactions can't write it."""

    owner: str
    new: bool  # the transaction has created the row, so others don't see it
    written: bool = True  # on SQLite the lock is taken before the write

    def blocks(self, actor: Actor) -> bool:
        """Would the next step of `actor` wait for this lock?"""
        if not actor.pending or self.owner == actor.name:
            return False
        kind = actor.pending.kind
        if kind not in WRITES | {"BEGIN"}:
            return False
        if actor.pending.owed:
            return actor.connection.vendor == "sqlite"
        return kind not in ("UPDATE", "DELETE") or not self.new


@contextmanager
def database(model: type[Model]) -> Iterator[dict[str, Any]]:
    """Yield the settings of a database with the table of `model` that threads can share."""
    config = connections["default"].settings_dict
    if connections["default"].vendor != "sqlite":
        yield config
        return
    with TemporaryDirectory() as folder:  # in memory, a reader would wait for a writer
        config = {**config, "NAME": str(Path(folder, "db.sqlite3"))}
        connection = connections.create_connection("default")
        connection.settings_dict = config
        with connection.schema_editor() as editor:
            editor.create_model(model)
            editor.create_model(Owed)
        connection.close()
        yield config


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


class World:
    """All that a case consists of. A run is `start()`, then `take()` until `able` is empty."""

    def __init__(self, case: Case, config: dict[str, Any], cache: SteppingMixin) -> None:
        self.case = case
        self.table = case.model._meta.db_table
        self.connection = connections.create_connection("default")
        self.connection.settings_dict = config
        self.cache = cache
        words = case.writers + case.readers
        self.words = {f"{word}{n}": word for n, word in enumerate(words, 1)}
        self.programs = {name: case.program(word) for name, word in self.words.items()}
        names = enumerate(self.words, 1)
        self.actors = [Actor(name, n, config, self.table, cache) for n, name in names]
        self.by_name = {actor.name: actor for actor in self.actors}
        self.writers = self.actors[: len(case.writers)]
        self.twins = {
            actor.name: before
            for before, actor in pairwise(self.actors)
            if self.words[before.name] == self.words[actor.name]
        }
        self.owes = bool(OUTAGES & case.faults)  # what can't be told to the cache is owed
        self.outcomes: set[tuple[object, ...]] = set()  # of all runs: hits and states at rest
        self.key = f"{case.model.__name__}.{PK}"
        self.cached_at_start = self._fill() if case.start == "cached" else None

    def end(self) -> None:
        """End all threads."""
        for actor in self.actors:
            actor.end()
        self.connection.close()

    # A run

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
        self._look()
        self.able = self._choices()

    def _reset(self, number: int | None) -> None:
        self.committed = number  # the row; None if it doesn't exist
        self.ever_committed = {number}
        self.lock: Lock | None = None
        self.faults_left = set(self.case.faults)
        self.holders: dict[str, Actor] = {}  # by the token of a hold
        self.silent = ""  # the actor that gets no answer, until it gets one
        self.records: dict[int, tuple[str, bool]] = {}  # by pk: token and "under way", committed
        self.verdict: Verdict | None = None  # of the read that the last step was, if it was one
        self.problems: list[str] = []
        self.steps: list[str] = []

    def _write_row(self) -> None:
        with self.connection.cursor() as cursor:
            if self.case.start == "absent":
                cursor.execute(f"DELETE FROM {self.table}")
            else:
                cursor.execute(
                    f"INSERT INTO {self.table} (id, number) VALUES ({PK}, 0) "
                    "ON CONFLICT (id) DO UPDATE SET number = 0"
                )
            if "insert" in self.case.writers:
                if self.connection.vendor == "sqlite":
                    cursor.execute("DELETE FROM sqlite_sequence")
                else:
                    cursor.execute(f"SELECT setval('{self.table}_id_seq', {PK}, false)")
            if self.owes:
                cursor.execute(f"DELETE FROM {OWED}")

    def _read_row(self) -> int | None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT number FROM {self.table} WHERE id = {PK}")
            row = cursor.fetchone()
        number: int | None = row[0] if row else None
        return number

    def _read_records(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT id, token, under_way FROM {OWED} ORDER BY id")
            self.records = {pk: (token, bool(way)) for pk, token, way in cursor.fetchall()}

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

    def _look(self) -> None:
        """Look at what stands in the cache."""
        seen = self.cache.gets_many([self.key])[self.key]
        self.entry, self.token = self.plain(seen.value), seen.token
        if self.entry is None and seen.token is not None:  # a stored None
            self.entry = PlainEntry(State.OTHER)

    def plain(self, value: Any) -> PlainEntry | None:
        """Return what stands under a key in a form that can be compared; None for nothing."""
        if isinstance(value, Row):
            return PlainEntry(State.ROW, number=msgspec.msgpack.decode(value[SIZE:])[1])
        if isinstance(value, Lease):
            return PlainEntry(State.LEASE, tokens=(value.token,))
        if isinstance(value, Holds):
            return PlainEntry(State.HOLDS, tokens=tuple(sorted(value.deadlines)))
        return None if value is None else PlainEntry(State.ROW, number=value.number)

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
            self._look()
        elif name.startswith("kill "):
            self.steps.append(f"-- {name}")
            self.faults_left.remove("killed")
            self.by_name[name[5:]].dead = True
        elif name == "restart":
            self.steps.append("-- the cache is restarted")
            self.faults_left.remove("restart")
            self._note_loss()
            self.cache.delete(self.key)
            self._look()
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
        before = self.token
        actor.resume()
        if step.kind in ("cas", "add", "set", "delete"):
            self._look()
        if step.swap:
            self._check_refused(step.swap.seen.token, before)
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

    def owns_lock(self, actor: Actor) -> bool:
        """Has the transaction of `actor` locked the row?"""
        return self.lock is not None and self.lock.owner == actor.name

    def visible_to(self, actor: Actor) -> int | str | None:
        """Return the row as a SELECT of `actor` sees it: uncommitted if it has written it."""
        if self.lock and self.lock.owner == actor.name and self.lock.written:
            return "uncommitted"
        return self.committed

    # What goes wrong

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
        local = isinstance(self.cache, LocalMemoryCache)  # others make a new token at each look
        if local and compared is not before and self.token is not before:
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
