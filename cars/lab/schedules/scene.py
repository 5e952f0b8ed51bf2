"""What a case consists of: the row, its entry in the cache, and the actors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
from django.db import connections
from django.db.models import Model

from cars.caching.entries import NO_ANSWER, Holds, Lease, Row, State
from cars.caching.models import Owed
from cars.caching.rows.fingerprint import SIZE

from .actors import OWED, Actor
from .programs import OUTAGES, PK, Case
from .steps import WRITES, SteppingLocalMemory, SteppingMemcached, SteppingMixin

SECONDS = 2  # that Memcached has to answer
LOCK_TIMEOUT = 1  # seconds; the lock that an actor waits for isn't released before it goes on


def new_cache(kind: str, servers: list[str] | None) -> SteppingMixin:
    """Return an empty cache whose calls are steps: "local" memory, or "memcached" on `servers`."""
    if kind == "local":
        cache = SteppingLocalMemory("lab", {})
        cache.clear()
        return cache
    # Longer than a busy machine takes: without an answer it isn't known what stands there.
    options = {"timeout": SECONDS, "connect_timeout": SECONDS}
    return SteppingMemcached(
        servers or [], {"KEY_PREFIX": f"lab-{token_hex(8)}", "OPTIONS": options}
    )


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
    """Yield the settings of a database with the table of `model` that actors can share."""
    config = connections["default"].settings_dict
    options = config["OPTIONS"]
    if connections["default"].vendor != "sqlite":
        wait = f"{options.get('options', '')} -c lock_timeout={LOCK_TIMEOUT}s"
        yield {**config, "OPTIONS": {**options, "options": wait}}
        return
    with TemporaryDirectory() as folder:  # in memory, a reader would wait for a writer
        options = {**options, "timeout": LOCK_TIMEOUT}
        config = {**config, "NAME": str(Path(folder, "db.sqlite3")), "OPTIONS": options}
        connection = connections.create_connection("default")
        connection.settings_dict = config
        with connection.schema_editor() as editor:
            editor.create_model(model)
            editor.create_model(Owed)
        connection.close()
        yield config


class Scene:
    """The row, its entry in the cache, and the actors."""

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

    def end(self) -> None:
        """End all actors."""
        for actor in self.actors:
            actor.end()
        self.connection.close()

    def _reset(self, number: int | None) -> None:
        self.committed = number  # the row; None if it doesn't exist
        self.ever_committed = {number}
        self.lock: Lock | None = None
        self.faults_left = set(self.case.faults)
        self.holders: dict[str, Actor] = {}  # by the token of a hold
        self.silent = ""  # the actor that gets no answer, until it gets one
        self.records: dict[int, tuple[str, bool]] = {}  # by pk: token and "under way", committed
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

    def look(self) -> None:
        """See what stands in the cache: `entry`, and the cache's stamp for it.

        Raises ConnectionError if the cache doesn't answer.
        """
        seen = self.cache.gets_many([self.key])[self.key]
        if seen is NO_ANSWER:
            raise ConnectionError("Memcached doesn't answer")
        self.entry, self.stamp = self.plain(seen.value), seen.stamp
        if self.entry is None and seen.stamp is not None:  # a stored None
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

    def owns_lock(self, actor: Actor) -> bool:
        """Has the transaction of `actor` locked the row?"""
        return self.lock is not None and self.lock.owner == actor.name

    def visible_to(self, actor: Actor) -> int | str | None:
        """Return the row as a SELECT of `actor` sees it: uncommitted if it has written it."""
        if self.lock and self.lock.owner == actor.name and self.lock.written:
            return "uncommitted"
        return self.committed
