"""A run, from its start to its samples."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

from tqdm import tqdm

from cars.lab import servers

from . import measures, pages, processes, sizes
from .contestants import CONTESTANTS, NoCache, This
from .floors import FLOORS
from .measures import BULK_MEASURES, COUNTS, MEASURES, Pks, rotated
from .samples import Samples

FIRST_ROWS = 1000  # cars while sizes and pages are measured: about as many as the site has
ROWS = measures.ALL  # cars while the contestants take turns
AMONG = (10_000, 100_000, 1_000_000)  # cars while only hits are timed
THREADS = 64
COLD = 4  # cold keys that the same threads read, one after the other
MEMORY = "1024"  # megabytes of each Memcached, so that nothing is evicted
SERVERS = {"memcached": lambda: servers.memcached("-m", MEMORY), "redis-server": servers.redis}


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 30
    stampedes: int = 12
    bulks: int = 6
    passes: int = 6  # of wrk, over all sites and pages
    seconds: float = 2  # of each
    blocks: int = 20  # of hits, for each number of rows


QUICK = Effort(rounds=2, stampedes=1, bulks=1, passes=1, seconds=1, blocks=2)


class Run:
    """One run on one database, with the processes of its contestants."""

    def __init__(self, database: str, url: str, effort: Effort, samples: Samples) -> None:
        self.database, self.url, self.effort, self.samples = database, url, effort, samples
        self.rows = 0
        self.pks = Pks()
        self.contestants: dict[str, processes.Process] = {}
        self.floors: dict[str, processes.Process] = {}

    @contextmanager
    def running(self) -> Iterator["Run"]:
        """Create the table, start the contestants and the floors; end them with the block."""
        processes.manage(processes.ROOT, self.url, "migrate", "--verbosity", "0")
        with ExitStack() as stack:
            addresses = {}
            for title, contestant in CONTESTANTS.items():
                address = ""
                if contestant.server:
                    address = stack.enter_context(SERVERS[contestant.server]())
                process = processes.contestant(title, self.url, address)
                stack.callback(process.end)
                self.contestants[title], addresses[title] = process, address
            self.grow(FIRST_ROWS)
            self._measure_sizes(addresses)
            keys = self.contestants[This.title].do("keys", list(self.pks.hot))
            for title in FLOORS:
                process = processes.floor(title, addresses[This.title], keys)
                stack.callback(process.end)
                self.floors[title] = process
            yield self

    def grow(self, rows: int) -> None:
        """Fill the database up to `rows` cars, whose pks are 1 to `rows`."""
        if rows > self.rows:
            more = str(rows - self.rows)
            processes.manage(processes.ROOT, self.url, "make_cars", more, "--seed", str(rows))
            self.rows = rows

    def _add(self, measure: str, contestant: str, *values: float) -> None:
        self.samples.add(self.database, measure, contestant, values)

    def _bar(self, title: str, times: int) -> Iterator[int]:
        return tqdm(range(times), desc=f"{self.database}: {title}", leave=False)

    def _measure_sizes(self, addresses: dict[str, str]) -> None:
        for title, contestant in CONTESTANTS.items():
            if contestant.server:
                self.contestants[title].do("warm", range(1, FIRST_ROWS + 1))
                found = sizes.of(contestant.server, addresses[title], FIRST_ROWS)
                self._add(measures.VALUE, title, found.value)
                self._add(measures.ITEM, title, found.item)
                self._add(measures.MEMORY, title, found.memory)

    def rounds(self) -> None:
        """Time every measure once a round, in blocks, the contestants in turns."""
        self.grow(ROWS)
        every = self.contestants | self.floors
        for number in self._bar("rounds", self.effort.rounds):
            for process in self.contestants.values():
                process.do("warm", self.pks.hot)
            for measure in MEASURES:
                arguments = measure.draw(self.pks)
                for title in rotated(every if measure.for_floors else self.contestants, number):
                    self._add(measure.name, title, every[title].do(measure.method, *arguments))

    def stampedes(self) -> None:
        """Let many threads read a cold key at once."""
        for number in self._bar(f"{THREADS} threads", self.effort.stampedes):
            cold = self.pks.cold(COLD)
            for title in rotated(self.contestants, number):
                slowest, selects = self.contestants[title].do("stampede", cold, THREADS)
                self._add(measures.SLOWEST, title, *slowest)
                self._add(measures.SELECTS, title, *selects)

    def bulks(self) -> None:
        """Measure the writes of many rows, the contestants in turns; then all cars are cached."""
        for number in self._bar("many rows", self.effort.bulks):
            for measure in (*BULK_MEASURES, *COUNTS) if number == 0 else BULK_MEASURES:
                arguments = measure.draw(self.pks)
                for title in rotated(self.contestants, number):
                    value = self.contestants[title].do(measure.method, *arguments)
                    self._add(measure.name, title, value)

    def pages(self) -> None:
        """Measure pages per second, with the cache, without, and with its server away."""
        with pages.sites(self.url) as sites:
            for number in self._bar("pages", self.effort.passes):
                for page, measure in (("detail", measures.DETAIL), ("list", measures.LIST)):
                    for title in rotated(sites.urls, number):
                        rate = sites.pages_per_second(title, page, self.effort.seconds)
                        self._add(measure, title, rate)

    def hits_among(self, rows: int) -> None:
        """Time hits among `rows` cars, all of them cached."""
        self.grow(rows)
        self.contestants[This.title].do("warm_many", 1, rows)
        two = (NoCache.title, This.title)
        random = Random(rows)
        for number in self._bar(f"{rows:,} rows", self.effort.blocks):
            drawn = random.choices(range(1, rows + 1), k=200)
            for title in rotated(two, number):
                time = self.contestants[title].do("time", "one", drawn)
                self._add(measures.hit_among(rows), title, time)

    def parts(self) -> None:
        """Find out where the time of this recipe's reads and writes goes."""
        process = self.contestants[This.title]
        process.do("warm", self.pks.hot)
        parts = {
            measures.HIT: process.do("parts", "one", self.pks.some(200) * 20),
            measures.MISS: process.do("parts", "one", self.pks.cold(200)),
            measures.SAVE: process.do("parts_of_saves", list(self.pks.hot)),
            measures.CREATE: process.do("parts_of_creates", 200),
            measures.DELETE: process.do("parts_of_deletes", 200),
            measures.UPDATE: process.do("parts", "update", [(1, measures.UPDATED)] * 5),
        }
        for measure, shares in parts.items():
            for part, share in shares.items():
                self._add(measures.share_of(measure, part), This.title, share)

    def profile(self) -> str:
        """Return where the time of this recipe's hits and saves goes."""
        process = self.contestants[This.title]
        process.do("warm", self.pks.hot)
        one = process.do("profile", "one", self.pks.some(100) * 100)
        many = process.do("profile", "many", self.pks.any(25, 1000))
        saves = process.do("profile_saves", list(self.pks.hot))
        return f"\nA hit: {one}\n25 at once: {many}\nA save: {saves}"


def run(effort: Effort, rows: int, profile: bool = False) -> tuple[Samples, str]:
    """Measure everything; return the samples and, if `profile`, a profile of hits and saves.

    `rows`: hits are timed among at most this many cars. Raises RuntimeError if a server doesn't
    start, or a contestant fails.
    """
    os.environ.update(processes.ENVIRON)
    samples, text = Samples(), ""
    with servers.postgresql() as url, Run("PostgreSQL", url, effort, samples).running() as on:
        on.pages()
        on.hits_among(FIRST_ROWS)
        on.rounds()
        on.stampedes()
        on.parts()
        on.bulks()
        if profile:
            text = on.profile()
        for among in AMONG:
            if among <= rows:
                on.hits_among(among)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/cars.sqlite3"
        with Run("SQLite", url, effort, samples).running() as on:
            on.rounds()
            on.stampedes()
            on.bulks()
    return samples, text
