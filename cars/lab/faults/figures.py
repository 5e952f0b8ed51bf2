"""A run in numbers, and the bounds that they have to keep."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median, quantiles

from .catalogue import Fault
from .history import History, Page, Stale
from .rest import Rest

READS = ("car", "list")
SAVES = ("edit", "admin", "add", "delete")

# The bounds, in seconds.
LATEST = 1.5  # after its write, that a read may be stale
SLOWER = 0.3  # that a page may take longer while the site finds out
KNOWN = 1.0  # after the beginning of a fault, when the site has found out
SLOWER_ONE = 0.025  # that one page a second may take longer when it has found out
SLOWER_OTHERS = 0.002  # that the others may take longer
SLOWER_MANY = 0.5  # that many saves in one transaction may take longer in all
BACK = 2.0  # after the end of a fault, until there are hits

EXAMPLES = 3  # of each kind of what is wrong, at most
ERROR = re.compile(r"[\w.]*(Error|Exception)\b")  # the last line of a traceback


Span = tuple[float, float]  # from when to when


@dataclass(frozen=True)
class Times:
    """When a run was calm, and when its fault began and ended (`time.monotonic()`).

    It is calm before the fault and after it, since other programs may use the machine: what takes
    longer in one of the two is not the fault's doing.
    """

    calm: list[Span]
    fault: Span
    end: float  # when nobody wrote any more


@dataclass(frozen=True)
class Pair:
    """A time without the fault and with it, in seconds; None where there was no such page."""

    calm: float | None
    fault: float | None

    @property
    def longer(self) -> float:
        """How much longer it took with the fault."""
        return (self.fault or 0) - (self.calm or 0)

    def __str__(self) -> str:
        return " → ".join("–" if s is None else f"{s:.2f}" for s in (self.calm, self.fault))


@dataclass(frozen=True)
class Figures:
    """What one run has shown; times are in seconds."""

    fault: Fault
    vendor: str
    statuses: dict[int, int]  # pages by status, 0 without an answer
    page: Pair  # the slowest page
    one: Pair  # the slowest page of each second, once the site has found out; the median
    others: Pair  # 90 % of the other pages took at most that long
    save: Pair  # the slowest save of one row
    many: Pair  # the slowest save of many rows in one transaction
    stale: list[Stale]
    dirty: int
    at_rest: dict[int, str]
    left: dict[str, int]
    back: float | None  # until every process had a hit again
    lost: list[str]
    log: list[str]  # the lines in the log of the site
    begun: float  # when the fault began

    @property
    def errors(self) -> int:
        """How many pages had a status of 500 or more."""
        return sum(count for status, count in self.statuses.items() if status >= 500)

    @property
    def latest(self) -> float:
        """The longest time from a write to the beginning of a read that missed it."""
        return max((stale.age for stale in self.stale), default=0)

    def broken(self) -> dict[str, str]:
        """Return the bounds that this run breaks, each with its figure in words."""
        bounds: dict[str, tuple[object, str]] = {
            "writes lost": (self.lost, f"{len(self.lost)} writes lost"),
            "dirty": (self.dirty, f"{self.dirty} dirty reads"),
            "stale": (self.latest > LATEST, f"a read stale {self.latest:.2f} s after its write"),
            "at rest": (self.at_rest, f"{len(self.at_rest)} rows stale at rest"),
            "no hits": (self.back is None, "no hits after the fault"),
            "late hits": ((self.back or 0) > BACK, f"hits only after {self.back or 0:.1f} s"),
        }
        if not self.fault.kills:
            bounds["left"] = self.left, f"{in_words(self.left)} left"
        if not self.fault.breaks_database:
            bounds["errors"] = self.errors, f"{self.errors} error pages"
        if not (self.fault.breaks_database or self.fault.kills):
            bounds |= self._slower()
        return {name: text for name, (is_broken, text) in bounds.items() if is_broken}

    def examples(self) -> list[str]:
        """Describe a few of the reads, rows, writes and errors that are wrong."""
        latest = sorted(self.stale, key=lambda stale: -stale.age)[:EXAMPLES]
        reads = [stale.in_words(self.begun) for stale in latest]
        errors = list({line: None for line in self.log if ERROR.match(line)})
        kinds = reads, list(self.at_rest.values()), self.lost, errors
        return [text for kind in kinds for text in kind[:EXAMPLES]]

    def _slower(self) -> dict[str, tuple[object, str]]:
        unanswered = self.statuses.get(0)
        page, one, others, many = (
            pair.longer for pair in (self.page, self.one, self.others, self.many)
        )
        return {
            "no answer": (unanswered, f"{unanswered} pages without an answer"),
            "page": (page > SLOWER, f"a page {page:.2f} s longer"),
            "one page": (one > SLOWER_ONE, f"one page each second {one:.3f} s longer"),
            "other pages": (others > SLOWER_OTHERS, f"the other pages {others:.4f} s longer"),
            "many saves": (many > SLOWER_MANY, f"many saves at once {many:.2f} s longer"),
        }


def in_words(left: dict[str, int]) -> str:
    """Return how many leases and holds there are, for example "2 leases, 1 holds"."""
    names = {"lease": "leases", "holds": "holds"}
    return ", ".join(f"{count} {names[kind]}" for kind, count in left.items()) or "0"


def figures(
    fault: Fault, vendor: str, history: History, times: Times, rest: Rest, log: list[str]
) -> Figures:
    """Return the figures of a run."""
    begun, ended = times.fault
    known = (begun + KNOWN, ended)
    statuses: dict[int, int] = {}
    for page in history.pages:
        statuses[page.status] = statuses.get(page.status, 0) + 1

    def pair(kinds: Iterable[str], of: Callable[[list[Page]], float], during: Span) -> Pair:
        def measure(*spans: Span) -> float | None:
            found = []
            for begin, end in spans:
                pages = [p for p in history.pages if p.kind in kinds and begin <= p.begun < end]
                found += [of(pages)] if pages else []
            return max(found, default=None)

        return Pair(measure(*times.calm), measure(during))

    whole = (begun, times.calm[-1][0])  # until it was calm again
    return Figures(
        fault=fault,
        vendor=vendor,
        statuses=statuses,
        page=pair(READS, _slowest, whole),
        one=pair(("car",), _slowest_each_second, known),
        others=pair(("car",), _others, known),
        save=pair(SAVES, _slowest, whole),
        many=pair(("many",), _slowest, whole),
        stale=history.stale(times.end),
        dirty=len(history.dirty()),
        at_rest=rest.stale,
        left=rest.left,
        back=_back(history, ended, times.end),
        lost=history.lost,
        log=log,
        begun=begun,
    )


def _slowest(pages: list[Page]) -> float:
    return max(page.seconds for page in pages)


def _by_second(pages: list[Page]) -> list[list[float]]:
    """Return the times of the pages that began in each second, the slowest last."""
    seconds: dict[int, list[float]] = {}
    for page in pages:
        seconds.setdefault(int(page.begun), []).append(page.seconds)
    return [sorted(times) for times in seconds.values()]


def _slowest_each_second(pages: list[Page]) -> float:
    return median(times[-1] for times in _by_second(pages))


def _others(pages: list[Page]) -> float:
    times = [time for times in _by_second(pages) for time in times[:-1]]
    return quantiles(times, n=10)[-1] if len(times) > 1 else 0.0


def _back(history: History, ended: float, end: float) -> float | None:
    """Return the time after the fault's end until every process that answers had a hit."""
    first: dict[str, float | None] = {}
    for read in sorted(history.reads, key=lambda read: read.begun):
        if ended <= read.begun < end:
            first.setdefault(read.process, None)
            if read.hit and first[read.process] is None:
                first[read.process] = read.begun - ended
    times = [time for time in first.values() if time is not None]
    return max(times) if times and len(times) == len(first) else None
