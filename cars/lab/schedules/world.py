"""One row, its place in the cache, and the actors: who may go on, and what goes wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import msgspec
from django.db import connections

from cars.caching.backends import LocalMemoryCache, SwapMixin
from cars.caching.entries import Holds, Lease, Row
from cars.caching.rows.fingerprint import SIZE

from .actors import Actor
from .programs import PK, Case
from .steps import BACK, WRITES, SteppingLocalMemory, SteppingMemcached


def new_cache(kind: str, servers: list[str] | None) -> SwapMixin:
    """Return an empty cache whose calls are steps: "local" memory, or "memcached" on `servers`."""
    if kind == "local":
        cache = SteppingLocalMemory("lab", {})
        cache.clear()
        return cache
    return SteppingMemcached(servers, {"KEY_PREFIX": f"lab-{token_hex(8)}"})


@dataclass(frozen=True)
class Lock:
    """A transaction has written the row: others can't. One that it has made they don't see."""

    owner: str
    new: bool
    written: bool = True  # on SQLite it is taken before

    def bars(self, actor):
        """Would the step that `actor` is at wait for this lock?"""
        kind = actor.pending.kind
        if self.owner == actor.name or kind not in WRITES | {"BEGIN"}:
            return False
        return kind != "UPDATE" and kind != "DELETE" or not self.new


@contextmanager
def database(model):
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
        connection.close()
        yield config


@contextmanager
def open_world(
    case: str, cache: str = "local", servers: list[str] | None = None
) -> Iterator["World"]:
    """Yield the World of `case`, its actors running; `cache` is "local" or "memcached"."""
    parsed = Case(case)
    with database(parsed.model) as config:
        world = World(parsed, config, new_cache(cache, servers))
        try:
            yield world
        finally:
            world.end()


class World:
    """All that there is in a case. A run is `start()`, then `take()` until nobody is `able`."""

    def __init__(self, case, config, cache):
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
        self.outcomes = set()  # of all runs: hits and what was left at rest
        self.key = f"{case.model.__name__}.{PK}"
        self.full = self._fill() if case.start == "cached" else None

    def end(self):
        """End all threads."""
        for actor in self.actors:
            actor.end()
        self.connection.close()

    # A run

    def start(self):
        """Put everything back to the start, and each actor before its first step."""
        for actor in self.actors:
            actor.abandon()
        self._write_row()
        self.cache.delete(self.key)
        if self.full is not None:
            self.cache.set(self.key, self.full, 3600)
        self.committed = None if self.case.start == "absent" else 0
        self.ever = {self.committed}
        self.lock = None
        self.left = set(self.case.faults)
        self.problems, self.steps = [], []
        for actor in self.actors:
            actor.begin(self.programs[actor.name], self)
        self._look()
        self.able = self._choices()

    def _write_row(self):
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

    def _read_row(self):
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT number FROM {self.table} WHERE id = {PK}")
            row = cursor.fetchone()
        return row and row[0]

    def _fill(self):
        """Return what a read puts into the cache."""
        self._write_row()
        self.cache.delete(self.key)
        self.committed, self.lock, self.problems, self.steps = 0, None, [], []
        reader = Actor("first", 0, self.connection.settings_dict, self.table, self.cache)
        reader.begin(self.case.program("read"), self)
        while reader.pending:
            reader.resume()
        reader.end()
        if reader.error:
            raise reader.error
        return self.cache.gets_many([self.key])[self.key].value

    def _look(self):
        """Look at what stands in the cache."""
        seen = self.cache.gets_many([self.key])[self.key]
        self.entry, self.token = self.plain(seen.value), seen.token

    def plain(self, value):
        """Return what stands under a key as something short, the same for what is the same."""
        if isinstance(value, Row):
            return ("row", msgspec.msgpack.decode(value[SIZE:])[1])
        if isinstance(value, Lease):
            return ("lease", value.token)
        if isinstance(value, Holds):
            return ("holds", *sorted(value.deadlines))
        return value and ("row", value.number)

    def _choices(self):
        """Return who may take a step now, always in the same order.

        Faults first: after that they are asleep until somebody does what makes a difference.
        """
        able = []
        if "killed" in self.left:
            able += [f"kill {a.name}" for a in self.writers if a.pending and a.committed]
        if "lost" in self.left and self.entry:
            able.append("lost")
        return able + [actor.name for actor in self.actors if self._may_go_on(actor)]

    def _may_go_on(self, actor):
        if not actor.pending or actor.dead or (self.lock and self.lock.bars(actor)):
            return False
        twin = self.twin(actor)
        return twin is None or twin.begun

    def twin(self, actor):
        """Return who does the same and has to begin first: which of the two does makes no odds."""
        if actor.begun:
            return None
        return self.twins.get(actor.name)

    def take(self, name):
        """Take the next step of `name`."""
        if name == "lost":
            self.steps.append("-- the entry is lost")
            self.left.remove("lost")
            self.cache.delete(self.key)
            self._look()
        elif name.startswith("kill "):
            self.steps.append(f"-- {name}")
            self.left.remove("killed")
            self.by_name[name[5:]].dead = True
        else:
            self._step(self.by_name[name])
        self.able = self._choices()
        if not self.able:
            self._rest()

    def _step(self, actor):
        step = actor.pending
        self.steps.append(f"{actor.name}: {step}")
        actor.begun = True
        before = self.token
        actor.resume()
        if step.kind in ("cas", "set", "delete"):
            self._look()
        if step.kind == "cas":
            self._check_refused(step.swap.seen.token, before)
        if step.kind == "BEGIN":
            self.lock = Lock(actor.name, new=False, written=False)
        elif step.kind in WRITES and step.rows > 0 and step.atomic:
            new = self.lock.new if self.lock else step.kind == "INSERT"
            self.lock = Lock(actor.name, new)
        elif step.kind in WRITES and step.rows > 0:
            self._has_committed(actor)
        elif step.kind == BACK and self.owns_lock(
            actor
        ):  # it was taken or written inside the savepoint
            sqlite = self.connection.vendor == "sqlite"
            self.lock = replace(self.lock, written=False) if sqlite else None
        elif step.kind in ("COMMIT", "ROLLBACK") and self.owns_lock(actor):
            written, self.lock = self.lock.written, None
            if step.kind == "COMMIT" and written:
                self._has_committed(actor)
        self.steps[-1] += self._outcome(actor)
        if actor.error and not actor.pending:
            self._wrong("error", f"{actor.name} raised {actor.error!r}")

    def _has_committed(self, actor):
        actor.committed = actor.name in (a.name for a in self.writers)
        self.committed = self._read_row()
        self.ever.add(self.committed)
        self.steps[-1] += f", committed: {self.committed}"

    def _outcome(self, actor):
        """Say what the step returned, if the actor has not forgotten it yet."""
        last = actor.seen[-1] if actor.seen else None
        if isinstance(last, tuple) and last[0] in ("get", "gets", "cas", "SELECT"):
            return f" -> {actor.looked if last[0] == 'SELECT' else last[1]}"
        return ""

    def owns_lock(self, actor):
        return self.lock is not None and self.lock.owner == actor.name

    def visible_to(self, actor):
        """Return the row as a SELECT of `actor` sees it: its own, uncommitted, or committed."""
        return "its own" if self.owns_lock(actor) and self.lock.written else self.committed

    # What goes wrong

    def hit(self, actor, number):
        """Check what the cache has given `actor`: it must be the committed row."""
        self.outcomes.add(("hit", actor.name, number, self.committed))
        if number == self.committed:
            return
        if number not in self.ever:
            self._wrong("dirty hit", f"{actor.name} got {number}, which was never committed")
        elif not self._is_excused():
            self._wrong("stale hit", f"{actor.name} got {number}, committed is {self.committed}")

    def _is_excused(self):
        """Is this the design's exception 1: an entry lost, a write of it not yet released?"""
        lost = "lost" in self.case.faults - self.left
        return lost and any(w.committed and (w.pending or w.dead) for w in self.writers)

    def _check_refused(self, compared, before):
        """Check what the pruning relies on: a cas of what stands no more changes nothing."""
        local = isinstance(self.cache, LocalMemoryCache)  # others make a new token at each look
        if local and compared is not before and self.token is not before:
            self._wrong("not refused", "a cas has replaced what it had not seen")

    def answered(self, actor, number):
        """Check what a read has returned: what it has seen last."""
        if number != actor.looked:
            self._wrong("wrong answer", f"{actor.name}: {number}, it saw {actor.looked}")

    def _rest(self):
        self.outcomes.add(("rest", self.committed, self.entry))
        stuck = [a.name for a in self.actors if a.pending and not a.dead]
        if stuck:
            self._wrong("stuck", f"nobody can go on, of {', '.join(stuck)}")
        row = self.entry and self.entry[0] == "row"
        killed = any(a.dead for a in self.actors)
        if row and self.entry[1] != self.committed and not (killed and self._is_excused()):
            what = f"in the cache {self.entry[1]}, in the database {self.committed}"
            self._wrong("stale at rest", what)

    def _wrong(self, kind, what):
        self.problems.append(kind)
        self.steps.append(f"   {kind}: {what}")
