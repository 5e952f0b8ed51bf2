"""What is measured of the contestants in turns, and with which cars."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

HOT = 200  # cars that are cached before each round
UPDATED = 1000  # cars, the hot ones among them, that one update() writes
ALL = 10_000  # cars that a large update() writes
BATCH = 100  # cars in one statement of a bulk_update()

HIT = "a hit"
SAME_25 = "25 at once, the same again"
ANY_25 = "25 at once, any"
SAME_100 = "100 at once, the same again"
ANY_100 = "100 at once, any"
MISS = "a miss"
SAVE = "a save"
CREATE = "a create"
DELETE = "a delete"
UPDATE = "`update()` of 1,000"
UPDATE_ALL = "`update()` of 10,000"
UPDATE_MEMORY = "`update()`: bytes of memory for each row more"
BULK_UPDATE = "`bulk_update()` of 1,000"
BULK_SELECTS = "`bulk_update()` of 1,000 in 10 batches: SELECTs"
SLOWEST = "64 threads on a cold key: the slowest"
SELECTS = "64 threads on a cold key: SELECTs"
VALUE = "bytes of a value"
ITEM = "bytes of an item, key and header included"
MEMORY = "bytes of memory for it"
DETAIL = "detail pages per second"
LIST = "list pages per second"


def rotated(titles: Iterable[str], number: int) -> list[str]:
    """Return the titles with another one first for each `number`."""
    titles = list(titles)
    number %= len(titles)
    return titles[number:] + titles[:number]


def hit_among(rows: int) -> str:
    """Return the name of the measure of hits among `rows` cached rows."""
    return f"a hit among {rows:,} rows"


# Measures of which it is found out where the time goes.
IN_PARTS = (HIT, MISS, SAVE, CREATE, DELETE, UPDATE)


def share_of(measure: str, part: str) -> str:
    """Return the name of the measure of how much of the time of `measure` goes into `part`."""
    return f"{measure}, in percent: {part}"


class Pks:
    """Draws pks. All contestants of a round get the same ones."""

    def __init__(self, seed: int = 2009) -> None:
        self.random = Random(seed)
        self.hot = range(1, HOT + 1)
        self.fresh = count(UPDATED + 1)

    def some(self, number: int) -> list[int]:
        """Return different cars that are cached."""
        return self.random.sample(self.hot, number)

    def same(self, size: int, number: int) -> list[list[int]]:
        """Return one draw of `size` cars, `number` times."""
        return [self.some(size)] * number

    def any(self, size: int, number: int) -> list[list[int]]:
        """Return `number` draws of `size` cars."""
        return [self.some(size) for _ in range(number)]

    def cold(self, number: int) -> list[int]:
        """Return cars that no contestant has read yet."""
        return [next(self.fresh) for _ in range(number)]


@dataclass(frozen=True)
class Measure:
    """What is timed: a method of `work.Work`, with new arguments for each round."""

    name: str
    draw: Callable[[Pks], tuple[Any, ...]]
    method: str = "time"
    for_floors: bool = False


MEASURES = (
    Measure(HIT, lambda pks: ("one", pks.some(100)), for_floors=True),
    Measure(SAME_25, lambda pks: ("many", pks.same(25, 20)), for_floors=True),
    Measure(ANY_25, lambda pks: ("many", pks.any(25, 20)), for_floors=True),
    Measure(SAME_100, lambda pks: ("many", pks.same(100, 10)), for_floors=True),
    Measure(ANY_100, lambda pks: ("many", pks.any(100, 10)), for_floors=True),
    Measure(MISS, lambda pks: ("one", pks.cold(20))),
    Measure(SAVE, lambda pks: (pks.some(20),), "time_saves"),
    Measure(CREATE, lambda pks: (10,), "time_creates"),
    Measure(DELETE, lambda pks: (10,), "time_deletes"),
    Measure(UPDATE, lambda pks: ("update", [(1, UPDATED)])),
)

# After the others: they make every car a cached one.
BULK_MEASURES = (
    Measure(UPDATE_ALL, lambda pks: ("update", [(1, ALL)])),
    Measure(BULK_UPDATE, lambda pks: (UPDATED,), "time_bulk_update"),
)
COUNTS = (  # measured once: they are the same each time
    Measure(BULK_SELECTS, lambda pks: (UPDATED,), "selects_of_bulk_update"),
    Measure(UPDATE_MEMORY, lambda pks: (UPDATED, ALL), "memory_of_update"),
)
