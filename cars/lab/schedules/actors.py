"""Threads that run the project's own code and stop before each step.

A step is a cache call, an SQL statement on the row, a COMMIT or a ROLLBACK. Only one thread runs
at a time, and only from one stop to the next. In a walk its clock stands still and its tokens are
counted, so what it does follows from what its steps have returned.
"""

import threading
from contextlib import contextmanager
from itertools import count

from django.core.cache import caches
from django.db import connections

from cars.caching import events, transactions

from .steps import BACK, STATEMENTS, WRITES, Step, here, stop

PATIENCE = 60  # seconds for one step: more means that it is blocked inside the database


class Abandoned(BaseException):
    """The run is over; the thread is to leave whatever it is doing."""


class Actor:
    """A thread with a connection of its own, which runs one program after the other."""

    def __init__(self, name, number, config, table, cache):
        self.name = name
        self.number = number
        self.table = table
        self.cache = cache
        self.program = None
        self.acting = self.abandoned = False
        self._go, self._stopped = threading.Lock(), threading.Lock()  # each is held by who waits
        self._go.acquire()
        self._stopped.acquire()
        self._ended = False
        self._thread = threading.Thread(target=self._work, args=(config,), daemon=True)
        self._thread.start()

    # The scheduler's side

    def begin(self, program, world):
        """Begin to run `program`, up to its first step."""
        self.program, self.world = program, world
        self.pending = self.error = self.looked = self.stood = self.wrote = None
        self.fills = True
        self.seen, self.mark, self.slept = [], 0, 0
        self.begun = self.abandoned = self.dead = self.committed = False
        self.tokens = count(1)
        self.resume()

    def resume(self):
        """Do the pending step and go on up to the next one, or to the end of the program."""
        self._go.release()
        if not self._stopped.acquire(timeout=PATIENCE):
            raise RuntimeError(f"{self.name} does not come back from {self.pending}")

    def abandon(self):
        """Leave the program, whatever it is at."""
        if self.program:
            self.abandoned = True
            while self.pending:
                self.resume()

    def end(self):
        """End the thread and close its connection."""
        self.abandon()
        self._ended = True
        self._go.release()
        self._thread.join()

    # The thread's side

    def _work(self, config):
        connection = connections.create_connection("default")
        connection.settings_dict = config
        # Both are this thread's alone.
        connections["default"] = self.connection = connection
        caches["default"] = self.cache
        connection.execute_wrappers.append(self._execute)
        self.real_commit, self.real_rollback = connection._commit, connection._rollback
        connection._commit = lambda: stop(Step("COMMIT"), self.real_commit)
        connection._rollback = lambda: stop(Step("ROLLBACK"), self.real_rollback)
        here.actor = self
        with events.listen(self._hear):
            while True:
                self._go.acquire()
                if self._ended:
                    break
                try:
                    try:
                        self.program(self)
                    except Abandoned:
                        pass
                    finally:
                        self._clean()
                except Exception as error:
                    self.error = error
                self.pending = None
                self._stopped.release()
        connection.close()

    def _clean(self):
        """Leave nothing of this run on the connection."""
        self.acting = True
        connection = self.connection
        connection.__dict__.pop(transactions.ON_CONNECTION, None)
        connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []
        connection.needs_rollback = connection.run_commit_hooks_on_set_autocommit_on = False
        if connection.connection is None:
            connection.connect()
        elif connection.in_atomic_block or not connection.autocommit:
            connection.in_atomic_block = False
            self.real_rollback()
            connection.set_autocommit(True)
        self.acting = False

    def wait(self, step):
        """Stop before `step` until the scheduler says go."""
        if not self.abandoned:
            self.pending = step
            self._stopped.release()
            self._go.acquire()
        if self.abandoned and step.kind != "ROLLBACK":
            raise Abandoned

    def _execute(self, execute, sql, params, many, context):
        kind = sql.split(None, 1)[0]
        if kind == "ROLLBACK":
            kind = BACK
        elif kind not in STATEMENTS or (kind != "BEGIN" and self.table not in sql):
            return execute(sql, params, many, context)
        step = Step(kind, atomic=self.connection.in_atomic_block, fills=self.fills)

        def do():
            result = execute(sql, params, many, context)
            if kind in WRITES:  # SQLite doesn't count an INSERT that returns something
                step.rows = 1 if kind == "INSERT" else context["cursor"].rowcount
            return result

        return stop(step, do)

    def note(self, step, result):
        """Keep in mind what a step has returned: all that this thread knows follows from that."""
        if step.kind == "gets":
            ((value, token),) = result.values()
            self.seen.append(("gets", self.world.plain(value), token))
            self.stood = self.world.plain(value)
        elif step.kind == "get":
            number = getattr(result, "number", None)
            self.seen.append(("get", number))
            if number is not None:
                self.looked = number
                self.world.hit(self, number)
        elif step.kind == "cas":
            self.seen.append(("cas", bool(result)))
        elif step.kind == "SELECT":
            self.looked = self.world.visible_to(self)
            self.seen.append(("SELECT", self.looked if step.fills else None))
        else:
            self.seen.append((step.kind, step.rows))

    def _hear(self, event):
        if event.outcome == events.WAITED:  # the last `gets` has seen the row
            self.looked = self.stood[1]
            self.world.hit(self, self.looked)

    # Forgetting: what a function has seen is gone with its frame. These return nothing and keep
    # nothing, so what comes after doesn't depend on it.

    @contextmanager
    def forgetting(self, name):
        outer, self.mark = self.mark, len(self.seen)
        try:
            yield
        finally:
            if name:
                self.seen[self.mark :] = [name]
            self.mark = outer

    @contextmanager
    def filling(self, fills):
        """Say whether the rows of a SELECT may go into the cache, or to the caller alone."""
        outer, self.fills = self.fills, fills
        try:
            yield
        finally:
            self.fills = outer

    def sleep(self, seconds):
        """Who sleeps is about to look again, and knows only how many times it has."""
        self.slept += 1
        times = sum(1 for seen in self.seen[self.mark :] if seen == "slept")
        self.seen[self.mark :] = ["slept"] * (times + 1)
