"""This checkout compared with another revision of it: `make bench BASE=REVISION`."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from statistics import median

from tqdm import tqdm

from cars.lab import servers

from . import measures, processes
from .measures import MEASURES, Pks, rotated
from .report import duration
from .samples import Samples

DATABASE = "PostgreSQL"
THIS, BASE = "this checkout", "base"
COMPARED = (
    measures.HIT, measures.ANY_25, measures.ANY_100, measures.MISS,
    measures.SAVE, measures.CREATE, measures.DELETE, measures.UPDATE,
)  # fmt: skip
ROWS = 10_000
RESAMPLES = 4000
SPREAD = 0.99  # of the resampled medians: with eight measures, one run in thirteen is wrong once


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    starts: int = 16  # each with new processes: one process can be a few percent off
    rounds: int = 12  # in each start


QUICK = Effort(starts=3, rounds=4)  # shows that it runs; too few starts for a spread


@dataclass(frozen=True)
class Comparison:
    """One measure: how long it takes, in microseconds, and how many times the base's time."""

    measure: str
    this: float
    base: float
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """The conclusion: does 1.0 lie within the spread of the ratio?"""
        if self.low <= 1 <= self.high:
            return "1.0 is within the spread"
        return "FASTER" if self.high < 1 else "SLOWER"

    def __str__(self) -> str:
        return (
            f"{self.measure:24} {duration(self.this):>9} {duration(self.base):>9} "
            f"{self.ratio:6.3f}  {self.low:.3f} to {self.high:.3f}  {self.verdict}"
        )


def compare(revision: str, effort: Effort) -> list[Comparison]:
    """Time this checkout, as it is on disk, and `revision` in turns; return each measure.

    Both run on this Python and its packages; each has a PostgreSQL and a Memcached. Raises
    RuntimeError if there is no such revision, or if a server or a checkout fails.
    """
    samples = Samples()
    with ExitStack() as stack:
        folders = {THIS: processes.ROOT, BASE: stack.enter_context(checked_out(revision))}
        urls = {title: stack.enter_context(servers.postgresql()) for title in folders}
        for title, folder in folders.items():
            processes.manage(folder, urls[title], "migrate", "--verbosity", "0")
            processes.manage(folder, urls[title], "make_cars", str(ROWS))
        with tqdm(desc="Comparing", total=effort.starts * effort.rounds, unit=" rounds") as bar:
            for start in range(effort.starts):
                pks = Pks(seed=start)
                with started(folders, urls) as pair:
                    list(time_round(pair, pks, 0))  # connects and compiles; not recorded
                    for number in range(effort.rounds):
                        for measure, title, time in time_round(pair, pks, number):
                            samples.add(DATABASE, measure, title, [time])
                        bar.update()
    return [_comparison(measure, samples, effort) for measure in COMPARED]


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Yield a temporary folder with the files of `revision`.

    Raises RuntimeError if Git doesn't know it.
    """
    commit = _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "files.tar")
        _git("archive", "--output", str(archive), commit.strip())
        files = Path(folder, "files")
        files.mkdir()
        subprocess.run(["tar", "-xf", archive, "-C", files], check=True)
        yield files


def _git(*command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=processes.ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def started(
    folders: dict[str, Path], urls: dict[str, str]
) -> Iterator[dict[str, processes.Process]]:
    """Start a process for each checkout, and its Memcached; end them with the block."""
    with ExitStack() as stack:
        pair = {}
        for title, folder in folders.items():
            server = stack.enter_context(servers.memcached())
            pair[title] = processes.checkout(title, folder, urls[title], server)
            stack.callback(pair[title].end)
        yield pair


def time_round(
    pair: dict[str, processes.Process], pks: Pks, number: int
) -> Iterator[tuple[str, str, float]]:
    """Time all measures once, the checkouts in turns; yield measure, checkout and microseconds."""
    for process in pair.values():
        process.do("warm", pks.hot)
    for measure in MEASURES:
        if measure.name in COMPARED:
            arguments = measure.draw(pks)
            for title in rotated(pair, number):
                yield measure.name, title, pair[title].do(measure.method, *arguments)


def _comparison(measure: str, samples: Samples, effort: Effort) -> Comparison:
    these, bases = (samples.of(DATABASE, measure, title) for title in (THIS, BASE))
    ratios = [this / base for this, base in zip(these, bases, strict=True)]
    low, high = spread(
        [ratios[first : first + effort.rounds] for first in range(0, len(ratios), effort.rounds)]
    )
    return Comparison(measure, median(these), median(bases), median(ratios), low, high)


def spread(starts: list[list[float]]) -> tuple[float, float]:
    """Return the bootstrap interval of the median of all ratios.

    `starts`: the ratios by start. Whole starts are drawn, because the rounds of one start share
    its processes.
    """
    random = Random(2009)
    medians = sorted(
        median(chain.from_iterable(random.choices(starts, k=len(starts)))) for _ in range(RESAMPLES)
    )
    outside = round(RESAMPLES * (1 - SPREAD) / 2)
    return medians[outside], medians[-1 - outside]


def table(revision: str, comparisons: list[Comparison], effort: Effort) -> str:
    """Return the comparisons as text."""
    this = _git("describe", "--always", "--dirty").strip()
    base = _git("log", "-1", "--format=%h %s", "--end-of-options", revision).strip()
    head = f"{'':24} {'this':>9} {'base':>9}  ratio  {SPREAD:.0%} spread"
    title = f"This checkout ({this}) compared with {base}"
    lines = ["", title, "", head, *map(str, comparisons)]
    if effort == QUICK:
        lines += ["", "A quick run has too few starts for a conclusion. Run it without --quick."]
    return "\n".join(lines)
