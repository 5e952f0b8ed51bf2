"""What a contestant does in its process: read, write, stampede, each timed."""

import cProfile
import pstats
from collections.abc import Callable, Iterable
from statistics import median
from threading import Barrier, Thread
from time import perf_counter
from typing import Any

from django.db import connection

PROFILED = 30  # functions, those that take the most time


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

    def stampede(self, pks: list[int], threads: int) -> tuple[list[float], list[int]]:
        """Let all threads read the same cold car at once, one car after the other.

        Returns for each car the time of the slowest thread, and the number of queries of all.
        """
        times: dict[int, list[float]] = {pk: [] for pk in pks}
        queries: dict[int, list[str]] = {pk: [] for pk in pks}
        barrier = Barrier(threads, timeout=60)

        def read() -> None:
            connection.ensure_connection()
            self.contestant.one(1)  # for its connection to the cache
            for pk in pks:

                def count(execute: Callable, sql: str, *rest: Any, pk: int = pk) -> Any:
                    queries[pk].append(sql)
                    return execute(sql, *rest)

                with connection.execute_wrapper(count):
                    barrier.wait()
                    times[pk].append(_time(self.contestant.one, pk))
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
        call = getattr(self.contestant, method)
        profiler = cProfile.Profile()
        alone = self.time(method, arguments)
        with profiler:
            for argument in arguments:
                call(argument)
        lines = [f"{alone:.1f} microseconds without the profiler; with it, in microseconds a call:"]
        lines += [f"{'calls':>8} {'own':>8} {'in all':>8}"]
        functions = pstats.Stats(profiler).strip_dirs().stats.items()
        scale = 1e6 / len(arguments)
        for (file, line, name), (_, calls, own, in_all, _) in sorted(
            functions, key=lambda function: function[1][2], reverse=True
        )[:PROFILED]:
            where = name if file == "~" else f"{name} ({file}:{line})"
            often = calls / len(arguments)
            lines.append(f"{often:8.1f} {own * scale:8.2f} {in_all * scale:8.2f}  {where}")
        return "\n".join(lines) + "\n"

    def profile_saves(self, pks: list[int]) -> str:
        """Return where the time goes when these cars are saved."""
        return self.profile("save", [self.contestant.one(pk) for pk in pks])


def _time(call: Callable[[Any], Any], argument: Any) -> float:
    started = perf_counter()
    call(argument)
    return (perf_counter() - started) * 1e6
