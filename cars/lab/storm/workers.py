"""What the processes of a storm do: make the rows, read them, write them, look at them at rest."""

import random
import time
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import NamedTuple

from django.core.cache import caches
from django.db import connection, transaction

from cars.caching import events
from cars.caching.entries import ABSENT, EXPIRE, Holds, Swap

from .ledger import Ledger
from .models import RECIPES
from .record import EXCUSED, RIGHT, STALE, Known, Record

CHANCE_OF_SNAPSHOT = 0.01  # of a read in a transaction whose snapshot is old
AGE_OF_SNAPSHOT = 0.05  # seconds
CHANCE_OF_EVICTION = 0.1  # after each read
CHANCE_OF_LOSS = 0.03  # of these: whatever stands there, holds too
SKEW = 3  # writers prefer the same rows, to be in each other's way
REST = 1.5  # times as long as the last write took: so the rows are held a steady part of the time
EXAMPLES = 3  # of wrong reads, told by each process


class Task(NamedTuple):
    """What a process of the storm is given."""

    record: Record
    recipe: str
    process: int
    seed: int
    stop: Event
    told: SimpleQueue


class Undone(Exception):
    """Raised to roll a transaction back."""


def make(task: Task) -> None:
    """Make the table and its rows."""
    model = RECIPES[task.recipe]
    with connection.schema_editor() as editor:
        editor.create_model(model)
    worker = Worker(task)
    for row in task.record.rows:
        worker.save([row])


def read(task: Task) -> None:
    """Read rows until told to stop."""
    worker = Worker(task)
    with events.listen(worker.hear):
        while not task.stop.is_set():
            rows = worker.some_rows(most=10)
            if worker.chance.random() < CHANCE_OF_SNAPSHOT:
                worker.read_in_snapshot(rows)
            else:
                worker.read(rows)
            worker.sometimes_evict()


def write(task: Task) -> None:
    """Write rows in all sorts of ways, with rests, until told to stop."""
    worker = Worker(task)
    ways = [worker.save, worker.save, worker.save_in_atomic, worker.save_in_atomic]
    ways += [worker.roll_back, worker.roll_back_to_savepoint, worker.update, worker.bulk_update]
    ways += [worker.delete_and_create, worker.delete_many_and_create, worker.replace]
    with events.listen(worker.hear):
        while not task.stop.is_set():
            started = time.perf_counter()
            worker.chance.choice(ways)(worker.some_rows(most=3, skew=SKEW))
            task.record.count(task.process, "writes")
            time.sleep(REST * (time.perf_counter() - started))


def look_at_rest(task: Task) -> None:
    """Compare what is cached with the database: a read of each row that is there."""
    worker = Worker(task)
    rows = dict(worker.model.objects.values_list("pk", "number"))
    for row in task.record.rows:
        before = task.record.known(row)
        cached = caches["default"].get(worker.key(row))
        if cached is not None and cached.number != rows.get(row):
            number = cached.number
            verdict = task.record.verdict(row, number, before)
            worker.judge(row, number, EXCUSED if verdict == EXCUSED else STALE, "at rest")


class Worker:
    """One process's hands."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.record = task.record
        self.model = RECIPES[task.recipe]
        self.chance = random.Random(f"{task.seed} {task.process}")
        self.ledger = Ledger(self.record, self.model, self.chance)
        self.examples = EXAMPLES
        self.cache = caches["default"]
        if task.recipe == "2009":
            self._hear_2009()

    def count(self, name: str, by: int = 1) -> None:
        self.record.count(self.task.process, name, by)

    def key(self, row: int) -> str:
        return self.model(pk=row).key()

    def some_rows(self, most: int, skew: float = 1) -> list[int]:
        """Return one row or, as often, up to `most`; the higher the `skew` the lower ones."""
        many = self.chance.choice([1, self.chance.randint(2, most)])
        picks = [self.chance.random() ** skew for _ in range(many)]
        return sorted({self.record.rows[int(pick * len(self.record.rows))] for pick in picks})

    def hear(self, event: events.Event) -> None:
        """Count the hits and fills."""
        if event.outcome in (events.HIT, events.FILLED):
            self.count("hits" if event.outcome == events.HIT else "fills")

    def _hear_2009(self) -> None:
        # That recipe tells no events; but it calls nothing but these.
        get, put = self.cache.get, self.cache.set

        def get_counted(key: str) -> object:
            found = get(key)
            self.count("hits", found is not None)
            return found

        def put_counted(key: str, value: object) -> None:
            put(key, value)
            self.count("fills")

        self.cache.get, self.cache.set = get_counted, put_counted

    # Reads

    def read_in_snapshot(self, rows: list[int]) -> None:
        """Read these rows in a transaction that may see what they were when it began."""
        before = self._known(rows)
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT 1")  # the snapshot is of the first query
            time.sleep(AGE_OF_SNAPSHOT)
            self.evict(rows)  # else it would find what others have put meanwhile
            self.read(rows, before)

    def _known(self, rows: list[int]) -> dict[int, Known]:
        return {row: self.record.known(row) for row in rows}

    def read(self, rows: list[int], before: dict[int, Known] | None = None) -> None:
        """Read these rows, and judge what comes back by what was known before."""
        before = before or self._known(rows)
        found = self._read(rows)
        self.count("reads", len(rows))
        for row in rows:
            number = found[row].number if row in found else None
            self.judge(row, number, self.record.verdict(row, number, before[row]), "read")

    def _read(self, rows: list[int]) -> dict[int, object]:
        if self.task.recipe != "2009":
            if len(rows) > 1:
                return self.model.objects.cache_many(rows)
        found = {}
        for row in rows:
            try:
                found[row] = self.model.objects.cache(row)
            except self.model.DoesNotExist:
                pass
        return found

    def judge(self, row: int, number: int | None, verdict: str, what: str) -> None:
        """Count a verdict, and tell of the first few wrong reads."""
        if verdict == RIGHT:
            return
        self.count(verdict)
        if verdict != EXCUSED and self.examples:
            self.examples -= 1
            self.task.told.put(
                f"{verdict}, {what} by process {self.task.process}: row {row} as write {number}"
                f" left it; now {self.record.known(row)}"
            )

    def sometimes_evict(self) -> None:
        """Evict rows, or lose whatever stands in the cache for them."""
        if self.chance.random() > CHANCE_OF_EVICTION:
            return
        rows = self.some_rows(most=5)
        if self.chance.random() < CHANCE_OF_LOSS:
            with self.record.losing(self.task.process, *rows):
                self.cache.delete_many([self.key(row) for row in rows])
            self.count("lost", len(rows))
        else:
            self.evict(rows)

    def evict(self, rows: list[int]) -> None:
        """Take rows and leases out of the cache, as a full server would."""
        # By comparing: a hold that is put meanwhile stays, and so there is no exception to make.
        seen = self.cache.gets_many([self.key(row) for row in rows])
        swaps = {
            key: Swap(at, EXPIRE, 0)
            for key, at in seen.items()
            if at is not ABSENT and not isinstance(at.value, Holds)
        }
        self.count("evicted", len(self.cache.cas_many(swaps)))

    # Writes

    def save(self, rows: list[int]) -> None:
        """Save in autocommit; a row that isn't there is created."""
        for row in rows:
            with self.ledger.write([row]):
                self.model(pk=row).save()

    def save_in_atomic(self, rows: list[int]) -> None:
        """Save in one transaction, which reads other rows as well."""
        with self.ledger.write(rows), transaction.atomic():
            self._save_all(rows)
            self.read([row for row in self.some_rows(3) if row not in rows])

    def roll_back(self, rows: list[int]) -> None:
        """Save, and roll back."""
        with self.ledger.write(rows):
            self._undone(lambda: self._save_all(rows))

    def roll_back_to_savepoint(self, rows: list[int]) -> None:
        """Save one row, and undo the others."""
        first, *others = rows
        with self.ledger.write(rows), transaction.atomic():
            self._save_all([first])
            self._undone(lambda: self._save_all(others))
            self.ledger.undo(others)

    def _save_all(self, rows: list[int]) -> None:
        for row in rows:
            self.model(pk=row).save()
            self.ledger.delay()

    def _undone(self, do: Callable[[], None]) -> None:
        try:
            with transaction.atomic():
                do()
                raise Undone
        except Undone:
            pass

    def update(self, rows: list[int]) -> None:
        """Write by `update()`."""
        with self.ledger.write(rows):
            number, rows = self._take_existing(rows)
            self.model.objects.filter(pk__in=rows).update(number=number)

    def bulk_update(self, rows: list[int]) -> None:
        """Write by `bulk_update()`."""
        with self.ledger.write(rows):
            number, rows = self._take_existing(rows)
            instances = [self.model(pk=row, number=number) for row in rows]
            self.model.objects.bulk_update(instances, ["number"])

    def _take_existing(self, rows: list[int]) -> tuple[int, list[int]]:
        number = self.ledger.take(rows)
        missing = [row for row in rows if not self.record.exists(row)]
        self.ledger.undo(missing)
        return number, [row for row in rows if row not in missing]

    def delete_and_create(self, rows: list[int]) -> None:
        """Delete one by one, and create again."""
        for row in rows:
            with self.ledger.write([row]):
                self.ledger.take([row], deletes=True)
                self.model(pk=row).delete()
        self.save(rows)

    def delete_many_and_create(self, rows: list[int]) -> None:
        """Delete all at once, and create again."""
        with self.ledger.write(rows):
            self.ledger.take(rows, deletes=True)
            self.model.objects.filter(pk__in=rows).delete()
        self.save(rows)

    def replace(self, rows: list[int]) -> None:
        """Delete and create in one transaction."""
        with self.ledger.write(rows), transaction.atomic():
            self.ledger.take(rows, deletes=True)
            self.model.objects.filter(pk__in=rows).delete()
            self._save_all(rows)
