"""What the processes of a storm do: create the rows, read, write, and look at rest."""

import random
import time
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import NamedTuple

from django.core.cache import caches
from django.db import connection, transaction
from django.db.models import Model

from cars.caching import events
from cars.caching.entries import ABSENT, EXPIRE, Holds, Swap, SwapCache
from cars.caching.models import Owed

from .ledger import Ledger
from .models import RECIPES, Hot, HotToday
from .record import EXCUSED, RIGHT, STALE, Known, Record

CHANCE_OF_SNAPSHOT = 0.01  # that a read is in a transaction whose snapshot is old
AGE_OF_SNAPSHOT = 0.05  # seconds
CHANCE_OF_EVICTION = 0.1  # after each read
CHANCE_OF_LOSS = 0.03  # that an eviction also removes holds
SKEW = 3  # writers prefer the same rows, so that they often write the same one
REST = 1.5  # pauses, in times of the last write: so the rows are held a steady part of the time
EXAMPLES = 3  # wrong reads that each process describes
# The counts that an event adds to, in every process and in those that write.
COUNTED = {
    events.HIT: "hits",
    events.WAITED: "hits",
    events.NO_ANSWER: "unanswered",
    events.FILLED: "fills",
}
COUNTED_WRITING = {events.COMMITTED: "committed", events.FILLED: "refilled"}


class Task(NamedTuple):
    """What a process of the storm is given."""

    record: Record
    recipe: str
    process: int
    seed: int
    stop: Event
    wrong_reads: SimpleQueue[str]  # the described wrong reads


class Undone(Exception):
    """Raised to roll a transaction back."""


def make(task: Task) -> None:
    """Create the table and its rows."""
    model = RECIPES[task.recipe]
    with connection.schema_editor() as editor:
        editor.create_model(model)
        editor.create_model(Owed)
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
    """Write rows in many ways, with pauses, until told to stop."""
    worker = Worker(task)
    ways = [worker.save, worker.save, worker.save_in_atomic, worker.save_in_atomic]
    ways += [worker.roll_back, worker.roll_back_to_savepoint, worker.update, worker.bulk_update]
    ways += [worker.delete_and_create, worker.delete_many_and_create, worker.replace]
    with events.listen(worker.hear), events.listen(worker.hear_writing):
        while not task.stop.is_set():
            started = time.perf_counter()
            worker.chance.choice(ways)(worker.some_rows(most=3, skew=SKEW))
            task.record.count(task.process, "writes")
            time.sleep(REST * (time.perf_counter() - started))


def look_at_rest(task: Task) -> None:
    """Compare each cached row with the database: a difference counts as a stale read."""
    worker = Worker(task)
    rows = dict(worker.model.objects.values_list("pk", "number"))
    for row in task.record.rows:
        before = task.record.known(row)
        cached = caches["default"].get(worker.key(row))
        if cached is not None and cached.number != rows.get(row):
            number = cached.number
            verdict = task.record.verdict(row, number, before)
            worker.judge(row, number, EXCUSED if verdict == EXCUSED else STALE, "at rest")


def _number(row: Model) -> int:
    assert isinstance(row, Hot)  # the managers' own type says Model
    return row.number


class Worker:
    """What one process reads and writes, and how it judges its reads."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.record = task.record
        self.model = RECIPES[task.recipe]
        self.chance = random.Random(f"{task.seed} {task.process}")
        self.ledger = Ledger(self.record, self.model, self.chance)
        self.examples = EXAMPLES
        cache = caches["default"]
        assert isinstance(cache, SwapCache)
        self.cache = cache
        if task.recipe == "2009":
            self._hear_2009()

    def count(self, name: str, by: int = 1) -> None:
        self.record.count(self.task.process, name, by)

    def key(self, row: int) -> str:
        return self.model(pk=row).key()

    def some_rows(self, most: int, skew: float = 1) -> list[int]:
        """Return one row or, equally often, 2 to `most`; a higher `skew` prefers lower rows."""
        many = self.chance.choice([1, self.chance.randint(2, most)])
        picks = [self.chance.random() ** skew for _ in range(many)]
        return sorted({self.record.rows[int(pick * len(self.record.rows))] for pick in picks})

    def hear(self, event: events.Event) -> None:
        """Count what happened to a row: a listener of the recipe's events."""
        if event.outcome in COUNTED:
            self.count(COUNTED[event.outcome])

    def hear_writing(self, event: events.Event) -> None:
        """Count, of a process that writes, the rows that it committed and that it filled."""
        if event.outcome in COUNTED_WRITING:
            self.count(COUNTED_WRITING[event.outcome])

    def _hear_2009(self) -> None:
        # That recipe tells no events, but these two methods are all that it calls.
        get, put = self.cache.get, self.cache.set

        def get_counted(key: str) -> object:
            found = get(key)
            self.count("hits", found is not None)
            self.count("unanswered", found is None and self.ledger.reach.is_away())
            return found

        def put_counted(key: str, value: object) -> None:
            put(key, value)
            self.count("fills")

        vars(self.cache).update(get=get_counted, set=put_counted)

    # Reads

    def read_in_snapshot(self, rows: list[int]) -> None:
        """Read these rows in a transaction that sees the database as it was when it began."""
        before = self._known(rows)
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT 1")  # the first query takes the snapshot
            time.sleep(AGE_OF_SNAPSHOT)
            self.evict(rows)  # otherwise it would find rows that others have put meanwhile
            self.read(rows, before)

    def _known(self, rows: list[int]) -> dict[int, Known]:
        return {row: self.record.known(row) for row in rows}

    def read(self, rows: list[int], before: dict[int, Known] | None = None) -> None:
        """Read these rows, and judge the result by what was known `before`."""
        before = before or self._known(rows)
        found = self._read(rows)
        self.count("reads", len(rows))
        for row in rows:
            number = _number(found[row]) if row in found else None
            self.judge(row, number, self.record.verdict(row, number, before[row]), "read")

    def _read(self, rows: list[int]) -> dict[int, Model]:
        if len(rows) > 1 and issubclass(self.model, HotToday):
            return dict(self.model.objects.cache_many(rows))
        found: dict[int, Model] = {}
        for row in rows:
            try:
                found[row] = self.model.objects.cache(row)
            except self.model.DoesNotExist:
                pass
        return found

    def judge(self, row: int, number: int | None, verdict: str, what: str) -> None:
        """Count a verdict, and describe the first few wrong reads."""
        if verdict == RIGHT:
            return
        self.count(verdict)
        if verdict != EXCUSED and self.examples:
            self.examples -= 1
            self.task.wrong_reads.put(
                f"{verdict}, {what} by process {self.task.process}: row {row} as write {number}"
                f" left it; now {self.record.known(row)}"
            )

    def sometimes_evict(self) -> None:
        """Sometimes evict rows, or remove their entries whatever stands there."""
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
        """Remove rows and leases from the cache, as a full server would."""
        # By compare and swap: a hold that is put meanwhile stays, so nothing has to be excused.
        seen = self.cache.gets_many([self.key(row) for row in rows])
        swaps = {
            key: Swap(at, EXPIRE, 0)
            for key, at in seen.items()
            if at is not ABSENT and not isinstance(at.value, Holds)
        }
        self.count("evicted", len(self.cache.cas_many(swaps)))

    # Writes

    def save(self, rows: list[int]) -> None:
        """Save in autocommit, which creates a row that doesn't exist."""
        for row in rows:
            with self.ledger.write([row]):
                self.model(pk=row).save()

    def save_in_atomic(self, rows: list[int]) -> None:
        """Save in one transaction, which also reads other rows."""
        with self.ledger.write(rows), transaction.atomic():
            self._save_all(rows)
            self.read([row for row in self.some_rows(3) if row not in rows])

    def roll_back(self, rows: list[int]) -> None:
        """Save, and roll back."""
        with self.ledger.write(rows):
            self._undone(lambda: self._save_all(rows))

    def roll_back_to_savepoint(self, rows: list[int]) -> None:
        """Save one row; save the others in a savepoint that is rolled back."""
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
        """Delete one by one in autocommit, and create again."""
        for row in rows:
            with self.ledger.write([row]):
                self.ledger.take([row], deletes=True)
                self.model(pk=row).delete()
        self.save(rows)

    def delete_many_and_create(self, rows: list[int]) -> None:
        """Delete by `QuerySet.delete()`, and create again."""
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
