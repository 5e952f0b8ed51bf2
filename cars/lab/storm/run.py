"""A storm from its start to its figures."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import NamedTuple, NoReturn

import django
from django.conf import settings
from tqdm import tqdm

from cars.lab import servers

from .record import COUNTS, Record

ROWS = 20
EXTENSION = 60  # seconds that a storm goes on, at most, until there are enough fills
# The arguments of `workers.Task`, which can't be imported before Django is set up.
TaskArguments = tuple[Record, str, int, int, Event, SimpleQueue[str]]

ENVIRON = {
    "DJANGO_SETTINGS_MODULE": "carsite.settings",
    "DJANGO_DEBUG": "off",  # it keeps every query
    "DJANGO_SECRET_KEY": "nothing is signed here",
    "DJANGO_ALLOWED_HOSTS": "localhost",
}


class Place(NamedTuple):
    """Where a storm runs: the URL of a database, a Memcached, and what restarts that."""

    database: str
    memcached: str
    restart: Callable[[], None]


@contextmanager
def own_servers() -> Iterator[Place]:
    """Start a PostgreSQL and a Memcached for a storm; raise RuntimeError if one doesn't start."""
    port = servers.free_port()
    with servers.postgresql() as url, ExitStack() as memcached:
        memcached.enter_context(servers.memcached(port=port))

        def restart() -> None:
            memcached.close()
            memcached.enter_context(servers.memcached(port=port))

        yield Place(url, f"127.0.0.1:{port}", restart)


@dataclass(frozen=True)
class Figures:
    """What a storm has counted, and a few wrong reads described in words."""

    counts: dict[str, int]
    stale_at_rest: int
    examples: list[str]

    @property
    def hit_ratio(self) -> float:
        """The share of hits among the reads that the cache answered, from 0 to 1.

        For a second after its restart the server isn't asked, and how many reads there are in that
        second depends on the machine. The reads of the cache while it is still empty count.
        """
        return self.counts["hits"] / max(1, self.counts["reads"] - self.counts["unanswered"])

    @property
    def refill_ratio(self) -> float:
        """The share of the rows that writers committed and then filled, from 0 to 1.

        A row that was deleted, or that another writer holds too, isn't filled.
        """
        return self.counts["refilled"] / max(1, self.counts["committed"])

    @property
    def is_right(self) -> bool:
        """Was no read stale or dirty, and no entry stale at rest?"""
        return not (self.counts["stale"] or self.counts["dirty"] or self.stale_at_rest)

    def __str__(self) -> str:
        counts = self.counts
        # The recipe of 2009 doesn't tell what was committed.
        refills = counts["committed"] and (
            f"Refills        {self.refill_ratio:.1%} of the {counts['committed']:,} rows that were "
            "written and committed\n"
        )
        return (
            f"Reads          {counts['reads']:,}, of which the cache didn't answer "
            f"{counts['unanswered']:,}\n"
            f"Hits           {self.hit_ratio:.1%} of the reads that the cache answered\n"
            f"Fills          {counts['fills']:,}\n"
            f"Writes         {counts['writes']:,}\n"
            f"{refills or ''}"
            f"Evicted        {counts['evicted']:,} rows and leases, {counts['lost']:,} entries "
            "of any kind (holds too), and all of them by the restart\n"
            f"Stale          {counts['stale']:,}\n"
            f"Dirty          {counts['dirty']:,}\n"
            f"Stale at rest  {self.stale_at_rest:,}\n"
            f"Excused        {counts['excused']:,} stale reads: the entry was lost or the cache "
            "out of reach during the write that they missed"
        )


def missing_servers() -> list[str]:
    """Return the names of the servers that a storm needs and this machine doesn't have."""
    has = {"PostgreSQL": servers.has_postgresql(), "Memcached": servers.has_memcached()}
    return [name for name, there in has.items() if not there]


def storm(
    seconds: float,
    recipe: str = "today",
    seed: int = 0,
    readers: int = 3,
    writers: int = 3,
    fills: int = 0,
    quiet: bool = False,
    at: Callable[[], AbstractContextManager[Place]] = own_servers,
) -> Figures:
    """Run a storm on servers for `seconds`, or longer until there are `fills` fills.

    `recipe` is "today" or "2009"; `readers` and `writers` are numbers of processes; `quiet` shows
    no progress. Memcached is restarted after half the time. `at` opens the servers.

    Raises RuntimeError if a server doesn't start, or a process of the storm ends in an error.
    """
    context = multiprocessing.get_context("spawn")
    roles = ["read"] * readers + ["write"] * writers
    inspector = len(roles)  # the number under which rows are created, lost and looked at
    record = Record(context, ROWS, processes=len(roles) + 1)
    stop = context.Event()
    wrong_reads: SimpleQueue[str] = context.SimpleQueue()
    with at() as place:
        environ = {"DATABASE_URL": place.database, "MEMCACHED_SERVERS": place.memcached} | ENVIRON

        def start(role: str, process: int) -> BaseProcess:
            task = record, recipe, process, seed, stop, wrong_reads
            child = context.Process(target=_child, args=(role, environ, task), daemon=True)
            child.start()
            return child

        running = []
        form = "{l_bar}{bar}| {n:.0f} of {total:.0f} s{postfix}"
        # With None it is shown in a terminal only.
        bar: tqdm[NoReturn] = tqdm(total=seconds, bar_format=form, disable=True if quiet else None)
        try:
            with bar:
                _join([start("make", inspector)])
                running = [start(role, process) for process, role in enumerate(roles)]
                _wait_for_reads(record, running)
                _watch(record, running, bar, seconds / 2)
                # Every entry is lost between here and the first answer of the new server.
                with record.losing(inspector, *record.rows):
                    place.restart()
                _watch(record, running, bar, seconds / 2, fills)
                stop.set()
                _join(running)
                while_running = record.total("stale")
                _join([start("look_at_rest", inspector)])
        finally:
            for child in running:
                child.kill()
    counts = {name: record.total(name) for name in COUNTS}
    stale_at_rest = counts["stale"] - while_running
    counts["stale"] = while_running
    examples = []
    while not wrong_reads.empty():
        examples.append(wrong_reads.get())
    return Figures(counts, stale_at_rest, examples)


def _child(role: str, environ: dict[str, str], task: TaskArguments) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    os.environ.update(environ)
    settings.INSTALLED_APPS.append("cars.lab.storm")
    settings.CACHES["default"]["OPTIONS"]["pickle"] = True  # as the recipe of 2009 needs it
    django.setup()
    from . import workers

    getattr(workers, role)(workers.Task(*task))


def _wait_for_reads(record: Record, running: list[BaseProcess]) -> None:
    deadline = time.monotonic() + 60
    while not (record.total("reads") and record.total("writes")):
        _check(running)
        if time.monotonic() > deadline:
            raise RuntimeError("the storm has not begun within a minute")
        time.sleep(0.05)


def _watch(
    record: Record,
    running: list[BaseProcess],
    bar: "tqdm[NoReturn]",
    seconds: float,
    fills: int = 0,
) -> None:
    """Show the progress for `seconds`, then until there are `fills` fills, EXTENSION at most."""
    started, shown = time.monotonic(), 0.0
    while (passed := time.monotonic() - started) < seconds or (
        record.total("fills") < fills and passed < seconds + EXTENSION
    ):
        _check(running)
        names = ("reads", "fills", "writes", "stale", "dirty")
        bar.set_postfix({name: f"{record.total(name):,}" for name in names}, refresh=False)
        bar.update(min(passed, seconds) - shown)
        shown = min(passed, seconds)
        time.sleep(0.1)
    bar.update(seconds - shown)


def _check(running: list[BaseProcess]) -> None:
    for child in running:
        if child.exitcode:
            raise RuntimeError(f"a process of the storm ended with status {child.exitcode}")


def _join(running: list[BaseProcess]) -> None:
    for child in running:
        child.join()
    _check(running)
