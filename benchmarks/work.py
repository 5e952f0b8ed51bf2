"""What a contestant does in its process: read, write, stampede, each measured."""

import cProfile
import pstats
import re
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from threading import Barrier, Thread
from time import perf_counter
from typing import Any

from django.core.management.color import no_style
from django.db import connection

PROFILED = 30  # functions, those that take the most time

# Where time goes, by the file of the function, or by its name if it is one of C.
REST = "the rest: Python's own functions"
PARTS = {
    "waiting for Memcached: `sendall`, `recv`": r"'(sendall|recv)' of '_socket",
    "its client: `pymemcache`, `cars.caching.backends`": r"/(pymemcache|backends)/.*py$",
    "packing and unpacking: `msgspec`, `cars.caching.rows`": r"msgspec|/caching/rows/",
    "the rest of the recipe": r"/caching/",
    "Django, its driver, and waiting for PostgreSQL": r"/(django|psycopg\w*)/|psycopg",
    REST: "",
}


class Work:
    """The work of one contestant. All times are in microseconds."""

    def __init__(self, contestant: Any) -> None:
        self.contestant = contestant

    def warm(self, pks: Iterable[int]) -> None:
        """Read these cars one by one, so that the contestant caches them."""
        for pk in pks:
            self.contestant.one(pk)

    def warm_many(self, first: int, last: int, chunk: int = 500) -> None:
        """Read the cars from `first` to `last`, many at once."""
        for begin in range(first, last + 1, chunk):
            self.contestant.many(list(range(begin, min(begin + chunk, last + 1))))

    def time(self, method: str, arguments: list[Any]) -> float:
        """Call the method once for each of `arguments`; return the median time."""
        call = getattr(self.contestant, method)
        return median(_time(call, argument) for argument in arguments)

    def time_saves(self, pks: list[int]) -> float:
        """Read these cars, change and save each; return the median time of a save."""
        cars = [self.contestant.one(pk) for pk in pks]
        for car in cars:
            car.mileage = (car.mileage or 0) + 1
        return self.time("save", cars)

    def time_creates(self, number: int) -> float:
        """Make so many cars; return the median time of one. They are deleted again."""
        cars: list[Any] = []
        times = [_time(lambda n: cars.append(self.contestant.create(n)), n) for n in range(number)]
        for car in cars:
            self.contestant.delete(car)
        self._number_as_before()
        return median(times)

    def time_deletes(self, number: int) -> float:
        """Make so many cars, read each and delete each; return the median time of a delete."""
        made = [self.contestant.create(n) for n in range(number)]
        time = self.time("delete", [self.contestant.one(car.pk) for car in made])
        self._number_as_before()
        return time

    def _number_as_before(self) -> None:
        """Give the pks of deleted cars to the next ones: there must be no gaps between cars."""
        reset = connection.ops.sequence_reset_sql(no_style(), [self.contestant.cars.model])
        with connection.cursor() as cursor:
            for sql in reset:
                cursor.execute(sql)

    def time_bulk_update(self, number: int) -> float:
        """Return the time of a `bulk_update` of the first cars, so many."""
        return _time(self.contestant.bulk_update, self._changed(number))

    def selects_of_bulk_update(self, number: int) -> int:
        """Return how many SELECTs a `bulk_update` of the first cars makes."""
        cars, queries = self._changed(number), []

        def note(execute: Callable, sql: str, *rest: Any) -> Any:
            queries.append(sql)
            return execute(sql, *rest)

        with connection.execute_wrapper(note):
            self.contestant.bulk_update(cars)
        return sum(sql.startswith("SELECT") for sql in queries)

    def _changed(self, number: int) -> list[Any]:
        cars = list(self.contestant.cars.filter(pk__lte=number))
        for car in cars:
            car.mileage = (car.mileage or 0) + 1
        return cars

    def memory_of_update(self, few: int, many: int) -> float:
        """Return by how many bytes a row the peak of an `update()` of many is above that of few."""
        peaks = []
        for number in (few, many):
            tracemalloc.start()
            self.contestant.update((1, number))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        return round((peaks[1] - peaks[0]) / (many - few))

    def stampede(self, pks: list[int], threads: int) -> tuple[list[float], list[int]]:
        """Let all threads read the same cold car at once, one car after the other.

        Returns for each car the time of the slowest thread, and the number of queries of all. The
        time of every thread begins when all are ready: until it runs, a thread waits for the
        interpreter, as a request does.
        """
        began = 0.0

        def begin() -> None:
            nonlocal began
            began = perf_counter()

        times: dict[int, list[float]] = {pk: [] for pk in pks}
        queries: dict[int, list[str]] = {pk: [] for pk in pks}
        barrier = Barrier(threads, begin, timeout=60)

        def read() -> None:
            connection.ensure_connection()
            self.contestant.one(1)  # for its connection to the cache
            for pk in pks:

                def count(execute: Callable, sql: str, *rest: Any, pk: int = pk) -> Any:
                    queries[pk].append(sql)
                    return execute(sql, *rest)

                with connection.execute_wrapper(count):
                    barrier.wait()
                    self.contestant.one(pk)
                    times[pk].append((perf_counter() - began) * 1e6)
            connection.close()

        self.contestant.one(1)
        readers = [Thread(target=read) for _ in range(threads)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        if any(len(taken) != threads for taken in times.values()):
            raise RuntimeError("a reader of the stampede failed")
        return [max(times[pk]) for pk in pks], [len(queries[pk]) for pk in pks]

    def keys(self, pks: list[int]) -> dict[int, str]:
        """Return the keys of this recipe's rows in Memcached, by pk."""
        return self.contestant.keys(pks)

    def profile(self, method: str, arguments: list[Any]) -> str:
        """Return where the time of these calls goes. cProfile makes all of them slower."""
        alone = self.time(method, arguments)
        lines = [f"{alone:.1f} microseconds without the profiler; with it, in microseconds a call:"]
        lines += [f"{'calls':>8} {'own':>8} {'in all':>8}"]
        functions = self._functions(method, arguments)
        scale = 1e6 / len(arguments)
        for (file, line, name), (_, calls, own, in_all, _) in functions[:PROFILED]:
            where = name if file == "~" else f"{name} ({Path(file).name}:{line})"
            often = calls / len(arguments)
            lines.append(f"{often:8.1f} {own * scale:8.2f} {in_all * scale:8.2f}  {where}")
        return "\n".join(lines) + "\n"

    def profile_saves(self, pks: list[int]) -> str:
        """Return where the time goes when these cars are saved."""
        return self.profile("save", [self.contestant.one(pk) for pk in pks])

    def parts(self, method: str, arguments: list[Any]) -> dict[str, float]:
        """Return which percentage of the time of these calls goes into each of PARTS."""
        shares = dict.fromkeys(PARTS, 0.0)
        functions = self._functions(method, arguments)
        for (file, _, name), (_, _, own, _, _) in functions:
            where = name if file == "~" else Path(file).as_posix()
            part = next((part for part, of in PARTS.items() if re.search(of, where)), REST)
            shares[part] += own
        whole = sum(shares.values())
        return {part: 100 * share / whole for part, share in shares.items()}

    def parts_of_saves(self, pks: list[int]) -> dict[str, float]:
        """Return the same for saves of these cars."""
        return self.parts("save", [self.contestant.one(pk) for pk in pks])

    def parts_of_creates(self, number: int) -> dict[str, float]:
        """Return the same for the making of so many cars. They are deleted again."""
        cars = self.contestant.cars
        last = cars.order_by("pk").last().pk
        parts = self.parts("create", list(range(number)))
        for car in cars.filter(pk__gt=last):
            self.contestant.delete(car)
        self._number_as_before()
        return parts

    def parts_of_deletes(self, number: int) -> dict[str, float]:
        """Return the same for the deleting of so many cars, which are made before and read."""
        made = [self.contestant.create(n) for n in range(number)]
        parts = self.parts("delete", [self.contestant.one(car.pk) for car in made])
        self._number_as_before()
        return parts

    def _functions(self, method: str, arguments: list[Any]) -> list[tuple[Any, Any]]:
        """Call the method under cProfile; return its functions, the one with most time first."""
        call = getattr(self.contestant, method)
        profiler = cProfile.Profile()
        with profiler:
            for argument in arguments:
                call(argument)
        functions = pstats.Stats(profiler).stats.items()
        return sorted(functions, key=lambda function: function[1][2], reverse=True)


def _time(call: Callable[[Any], Any], argument: Any) -> float:
    started = perf_counter()
    call(argument)
    return (perf_counter() - started) * 1e6
