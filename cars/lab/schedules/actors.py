"""Actors: they run the recipe's own code and stop before each step.

A step is a cache call, an SQL statement on the row, a COMMIT or a ROLLBACK. An actor runs in
a greenlet: only when the scheduler switches to it, and only from one stop to the next. In a walk
the clock of an actor stands still and its tokens are counted. So what it does depends only on what
its steps have returned.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.db import connections
from greenlet import getcurrent, greenlet

from cars.caching import events, transactions
from cars.caching.backends.base import AS_STORED
from cars.caching.entries import NO_ANSWER
from cars.caching.models import Owed
from cars.caching.selects import Values

from .steps import STATEMENTS, TO_SAVEPOINT, WRITES, Link, Step, SteppingMixin, stop

if TYPE_CHECKING:
    from .scene import PlainEntry
    from .world import World

OWED = Owed._meta.db_table


def _is_seen(sql: str, table: str) -> bool:
    return table in sql or OWED in sql


class Unaware(StrEnum):
    """What the process of a reader can't know before its next look at what is owed."""

    UNHELD = "a write was committed without a hold"
    UNRELEASED = "a committed write owes its release"


# What a step has returned: its kind and the result. Or the name of a function that has ended,
# "slept", or UNANSWERED.
UNANSWERED = "unanswered"
Noted = tuple[object, ...] | str


class Abandoned(BaseException):
    """The run is over: raised in the actor to end its program at once."""


Program = Callable[["Actor"], None]


class Running(greenlet):
    """A program that an actor has begun to run."""

    def __init__(self, program: Program, actor: "Actor") -> None:
        super().__init__(lambda: actor.run(program))
        self.actor = actor  # for `steps.here`


class Actor:
    """A separate connection, over which one program runs after the other."""

    def __init__(
        self,
        name: str,
        number: int,
        config: dict[str, Any],
        table: str,
        cache: SteppingMixin,
    ) -> None:
        self.name = name
        self.number = number  # what it writes to the row
        self.table = table
        self.cache = cache
        self.pending: Step | None = None  # what it does next; None before and after a program
        self.acting = False  # whether it is inside a step
        self.connection = connections.create_connection("default")
        self.connection.settings_dict = config
        self.connection.execute_wrappers.append(self._execute)
        self._stop_at_commits()

    # The scheduler's side

    def begin(self, program: Program, world: "World") -> None:
        """Begin to run `program`, up to its first step."""
        self.world = world
        self.error: Exception | None = None
        self.last_read: int | str | None = None  # the row as it was last read
        self.last_gets: PlainEntry | None = None
        self.wrote: Values | None = None  # the values that it has saved, for `walks.rules`
        self.fills = True  # whether the rows of a SELECT may go into the cache
        self.result: Any = None  # what the last step returned, or the exception that it raised
        self.seen: list[Noted] = []  # what its steps have returned, as far as it still knows
        self.scope_start = 0  # index in `seen`: where the innermost function began that forgets
        self.slept = 0
        self.begun = self.abandoned = self.dead = self.committed = False
        self.link = Link()
        self.ledger: Any = None  # what its process knows of what is owed, for `walks.determined`
        self.seconds = 0.0  # on the clock by which its process looks at what is owed
        self.unheld = False  # a hold of it could not be taken, since the cache didn't answer twice
        self.lost = False  # a hold of it was lost with its entry
        self.unaware: set[Unaware] = set()  # what has happened since its process looked
        self.tokens = count(1)
        self._running, self._scheduler = Running(program, self), getcurrent()
        self.resume()

    def resume(self) -> None:
        """Do the pending step and go on up to the next one, or to the end of the program."""
        connection, connections["default"] = connections["default"], self.connection
        try:
            self._running.switch()
        finally:
            connections["default"] = connection

    def stack(self) -> FrameType | None:
        """Return the innermost frame of the program, which stands before its next step."""
        return self._running.gr_frame

    def abandon(self) -> None:
        """End the program at once, at any step."""
        self.abandoned = True
        while self.pending:
            self.resume()

    def end(self) -> None:
        """End the program and close the connection."""
        self.abandon()
        self.connection.close()

    # The actor's side

    def run(self, program: Program) -> None:
        """Run `program` to its end."""
        caches["default"] = self.cache  # in the context of this greenlet only
        with events.listen(self._hear):
            try:
                try:
                    program(self)
                except Abandoned:
                    pass
                finally:
                    self._clean()
            except Exception as error:
                self.error = error
        self.pending = None

    def _stop_at_commits(self) -> None:
        # Private methods of Django, which its stubs leave out.
        connection: Any = self.connection
        commit, self._real_rollback = connection._commit, connection._rollback
        connection._commit = lambda: stop(Step("COMMIT"), commit)
        connection._rollback = lambda: stop(Step("ROLLBACK"), self._real_rollback)

    def _clean(self) -> None:
        """Leave nothing of this run on the connection."""
        self.acting = True
        connection = self.connection
        for name in (transactions.TRANSACTION, transactions.SAVES):
            connection.__dict__.pop(name, None)
        connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []
        connection.needs_rollback = connection.run_commit_hooks_on_set_autocommit_on = False
        if connection.connection is None:
            connection.connect()
        elif connection.in_atomic_block or not connection.autocommit:
            connection.in_atomic_block = False
            self._real_rollback()
            connection.set_autocommit(True)
        self.acting = False

    def wait(self, step: Step) -> None:
        """Stop before `step` until the scheduler says go."""
        if not self.abandoned:
            self.pending = step
            self._scheduler.switch()
        if self.abandoned and step.kind != "ROLLBACK":
            raise Abandoned

    def _execute(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: object,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        kind = sql.split(None, 1)[0]
        if kind == "ROLLBACK":
            kind = TO_SAVEPOINT
        elif kind not in STATEMENTS or (kind != "BEGIN" and not _is_seen(sql, self.table)):
            return execute(sql, params, many, context)
        step = Step(
            kind, atomic=self.connection.in_atomic_block, fills=self.fills, owed=OWED in sql
        )

        def do() -> Any:
            result = execute(sql, params, many, context)
            if kind in WRITES:  # SQLite doesn't count an INSERT that returns something
                step.rows = 1 if kind == "INSERT" else context["cursor"].rowcount
            return result

        return stop(step, do)

    def note(self, step: Step, result: Any) -> None:
        """Remember what a step has returned: all that this actor knows follows from that."""
        self.result = result
        if step.kind == "gets":
            ((value, token),) = result.values()
            self.last_gets = None if value is NO_ANSWER.value else self.world.plain(value)
            if value is NO_ANSWER.value:
                self.seen.append(UNANSWERED)
            else:
                self.seen.append(("gets", self.last_gets, token))
        elif step.kind == "get":
            stored = None if result is AS_STORED else result
            found = self.world.plain(stored)  # a row, or an instance of the recipe of 2009
            number = found.number if found else None
            self.seen.append(("get", number))
            if number is not None:
                self.last_read = number
                self.world.check_hit(self, number)
        elif step.kind == "cas":
            self.seen.append(("cas", bool(result)))
        elif step.kind == "SELECT" and step.owed:
            self.unaware.clear()
            self.seen.append((str(step), tuple(self.world.records.values())))
        elif step.kind == "SELECT":
            self.last_read = self.world.visible_to(self)
            self.seen.append(("SELECT", self.last_read if step.fills else None))
        else:
            self.seen.append((str(step), step.rows))

    def _hear(self, event: events.Event) -> None:
        if event.outcome == events.WAITED and self.last_gets:  # which has seen the row
            self.last_read = self.last_gets.number
            self.world.check_hit(self, self.last_gets.number)

    # Forgetting: what a function has seen is lost when it returns. The functions that are wrapped
    # here return nothing and keep nothing, so what comes after doesn't depend on it.

    @contextmanager
    def forgetting(self, name: str | None) -> Iterator[None]:
        """At the end of the block, forget what was seen in it; keep `name`, or all if None."""
        outer, self.scope_start = self.scope_start, len(self.seen)
        try:
            yield
        finally:
            if name:
                self.seen[self.scope_start :] = [name]
            self.scope_start = outer

    @contextmanager
    def filling(self, fills: bool) -> Iterator[None]:
        """Say whether the rows of a SELECT in the block may go into the cache."""
        outer, self.fills = self.fills, fills
        try:
            yield
        finally:
            self.fills = outer

    def sleep(self, seconds: float) -> None:
        """Note that it sleeps: it will look again, and knows only how many times it has."""
        self.slept += 1
        scope = self.seen[self.scope_start :]
        times = scope.count("slept")
        # It remembers that it got no answer before.
        silent = [UNANSWERED] if UNANSWERED in scope else []
        self.seen[self.scope_start :] = [*silent, *["slept"] * (times + 1)]
