"""A storm from its start to its figures."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

import django
from django.conf import settings
from tqdm import tqdm

from cars.lab import servers

from .record import COUNTS, Record

ROWS = 20
LAST = 60  # seconds past the time, at most, until there were enough fills
ENVIRON = {
    "DJANGO_SETTINGS_MODULE": "carsite.settings",
    "DJANGO_DEBUG": "off",  # it keeps every query
    "DJANGO_SECRET_KEY": "nothing is signed here",
    "DJANGO_ALLOWED_HOSTS": "localhost",
}


@dataclass(frozen=True)
class Figures:
    """What a storm has counted, and examples of wrong reads in words."""

    counts: dict[str, int]
    stale_at_rest: int
    examples: list[str]

    @property
    def hit_ratio(self) -> float:
        """Hits among the reads, 0 to 1."""
        return self.counts["hits"] / max(1, self.counts["reads"])

    @property
    def all_is_well(self) -> bool:
        """Was nothing stale or dirty?"""
        return not (self.counts["stale"] or self.counts["dirty"] or self.stale_at_rest)

    def __str__(self) -> str:
        counts = self.counts
        return (
            f"Reads          {counts['reads']:,}\n"
            f"Hits           {self.hit_ratio:.1%}\n"
            f"Fills          {counts['fills']:,}\n"
            f"Writes         {counts['writes']:,}\n"
            f"Evicted        {counts['evicted']:,} rows and leases; {counts['lost']:,} times "
            "whatever stood there, holds too; and all by the restart\n"
            f"Stale          {counts['stale']:,}\n"
            f"Dirty          {counts['dirty']:,}\n"
            f"Stale at rest  {self.stale_at_rest:,}\n"
            f"Excused        {counts['excused']:,} stale reads: the entry was lost, or the cache "
            "out of reach, during the write they missed"
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
) -> Figures:
    """Run a storm on servers of its own for `seconds`, and on until there were `fills` fills.

    `recipe` is "today" or "2009"; `quiet` shows no progress. Memcached is restarted half-way.
    Raises RuntimeError if a server doesn't start, or a process of the storm ends in an error.
    """
    context = multiprocessing.get_context("spawn")
    roles = ["read"] * readers + ["write"] * writers
    inspector = len(roles)  # the last process: makes the rows, restarts, and looks at rest
    record = Record(context, ROWS, processes=len(roles) + 1)
    stop, told = context.Event(), context.SimpleQueue()
    port = servers.free_port()
    with servers.postgresql() as url:
        environ = ENVIRON | {"DATABASE_URL": url, "MEMCACHED_SERVERS": f"127.0.0.1:{port}"}

        def start(role: str, process: int) -> BaseProcess:
            task = record, recipe, process, seed, stop, told
            child = context.Process(target=_child, args=(role, environ, task), daemon=True)
            child.start()
            return child

        running = []
        form = "{l_bar}{bar}| {n:.0f} of {total:.0f} s{postfix}"
        # None: shown in a terminal only.
        bar = tqdm(total=seconds, bar_format=form, disable=True if quiet else None)
        try:
            with bar:
                with servers.memcached(port=port):
                    _join([start("make", inspector)])
                    running = [start(role, process) for process, role in enumerate(roles)]
                    _wait_for_reads(record, running)
                    _watch(record, running, bar, seconds / 2)
                    # All that is cached is lost, from here until it answers again.
                    losing = record.losing(inspector, *record.rows)
                    losing.__enter__()
                with servers.memcached(port=port):
                    losing.__exit__(None, None, None)
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
    while not told.empty():
        examples.append(told.get())
    return Figures(counts, stale_at_rest, examples)


def _child(role: str, environ: dict[str, str], task: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
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
    record: Record, running: list[BaseProcess], bar: tqdm, seconds: float, fills: int = 0
) -> None:
    """Show how it goes for so long, and until there were so many fills, but not for ever."""
    started, shown = time.monotonic(), 0.0
    while (passed := time.monotonic() - started) < seconds or (
        record.total("fills") < fills and passed < seconds + LAST
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
