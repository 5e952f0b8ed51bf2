"""A run in numbers, and the bounds that they have to keep."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, median

from .catalogue import Fault
from .history import History, Page, Stale
from .rest import Rest

READS = ("car", "list")
SAVES = ("edit", "admin", "add", "delete")
PAGES = (*READS, *SAVES, "many", "undone")

# The bounds, in seconds.
LATEST = 1.5  # after its write, that a read may be stale
SLOWER = 0.3  # that a page may take longer while the site finds out
SLOWER_ONE = 0.025  # that one page a second may take longer when it has found out
WAITS = 0.06  # that all pages of a process wait in a second for one server without an answer
SLOWER_OTHERS = 0.002  # that the others may take longer on average
SLOWER_MANY = 0.5  # that many saves in one transaction may take longer in all
BACK = 2.0  # after the end of a fault, until there are hits

EXAMPLES = 3  # of each kind of what is wrong, at most


Span = tuple[float, float]  # from when to when


@dataclass(frozen=True)
class Times:
    """When a run was calm, and when its fault began and ended (`time.monotonic()`).

    It is calm before the fault and after it, since other programs may use the machine: what takes
    longer in one of the two is not the fault's doing.
    """

    calm: list[Span]
    fault: Span
    end: float  # when the last write had ended


@dataclass(frozen=True)
class Pair:
    """A time in each calm part of a run, and with the fault; in seconds, None for no such page."""

    calm: list[float]
    fault: float | None

    @property
    def longer(self) -> float:
        """How much longer it took with the fault than in the slower calm part."""
        return (self.fault or 0) - max(self.calm, default=0)

    def is_over(self, bound: float) -> bool:
        """Was it longer by more than `bound`, and by more than the calm parts differ?

        They differ where other programs use the machine.
        """
        differ = max(self.calm, default=0) - min(self.calm, default=0)
        return self.longer > bound + differ

    def __str__(self) -> str:
        calm = max(self.calm, default=None)
        return " → ".join("–" if s is None else f"{s:.3f}" for s in (calm, self.fault))


@dataclass(frozen=True)
class Figures:
    """What one run has shown; times are in seconds."""

    fault: Fault
    vendor: str
    statuses: dict[int, int]  # pages by status, 0 without an answer
    page: Pair  # the slowest page
    one: Pair  # the slowest page of each second, once the site has found out; the median
    others: Pair  # the average of the other pages
    waits: Pair  # what a process waits in each second for servers without an answer; the median
    save: Pair  # the slowest save of one row
    many: Pair  # the slowest save of many rows in one transaction
    stale: list[Stale]
    dirty: int
    at_rest: dict[int, str]
    left: dict[str, int]
    back: float | None  # until every process had a hit again
    lost: list[str]
    log: list[str]  # the lines in the log of the site, but those of pages not found
    begun: float  # when the fault began
    lock: float  # the longest time that the fault itself kept the database locked

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
        # The last line of a traceback; the site writes a traceback as one line.
        errors = list({line.rpartition("\\n")[2]: None for line in self.log if "\\n" in line})
        kinds = reads, list(self.at_rest.values()), self.lost, errors
        return [text for kind in kinds for text in kind[:EXAMPLES]]

    def _slower(self) -> dict[str, tuple[object, str]]:
        unanswered = self.statuses.get(0)
        pairs = {
            "page": (self.page, SLOWER, "a page"),
            "one page": (self.one, SLOWER_ONE, "one page each second"),
            "other pages": (self.others, SLOWER_OTHERS, "the other pages"),
            "waits": (self.waits, WAITS * self.fault.servers, "the waits of each second"),
            "many saves": (self.many, SLOWER_MANY + self.lock, "many saves at once"),
        }
        slower: dict[str, tuple[object, str]] = {
            name: (pair.is_over(bound), f"{what} {pair.longer:.3f} s longer")
            for name, (pair, bound, what) in pairs.items()
        }
        return {"no answer": (unanswered, f"{unanswered} pages without an answer"), **slower}


def in_words(left: dict[str, int]) -> str:
    """Return how many leases and holds there are, for example "2 leases, 1 holds"."""
    names = {"lease": "leases", "holds": "holds"}
    return ", ".join(f"{count} {names[kind]}" for kind, count in left.items()) or "0"


def figures(
    fault: Fault, vendor: str, history: History, times: Times, rest: Rest, log: list[str]
) -> Figures:
    """Return the figures of a run."""
    begun, ended = times.fault
    known = (begun + fault.known, ended)
    statuses: dict[int, int] = {}
    for page in history.pages:
        statuses[page.status] = statuses.get(page.status, 0) + 1

    def pair(kinds: Iterable[str], of: Callable[[list[Page]], float], during: Span) -> Pair:
        def measure(begin: float, end: float) -> float | None:
            pages = [p for p in history.pages if p.kind in kinds and begin <= p.begun < end]
            return of(pages) if pages else None

        calm = [measure(*span) for span in times.calm]
        return Pair([time for time in calm if time is not None], measure(*during))

    whole = (begun, times.calm[-1][0])  # until it was calm again
    return Figures(
        fault=fault,
        vendor=vendor,
        statuses=statuses,
        page=pair(READS, _slowest, whole),
        one=pair(("car",), _slowest_each_second, known),
        others=pair(("car",), lambda pages: fmean(_others(pages) or [0]), known),
        waits=pair(PAGES, _waits, known),
        save=pair(SAVES, _slowest, whole),
        many=pair(("many",), _slowest, whole),
        stale=history.stale(times.end),
        dirty=len(history.dirty()),
        at_rest=rest.stale,
        left=rest.left,
        back=history.back(*fault.without_hits(begun, ended)),
        lost=history.lost,
        log=log,
        begun=begun,
        lock=max(history.locks, default=0),
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


def _others(pages: list[Page]) -> list[float]:
    return [time for times in _by_second(pages) for time in times[:-1]]


def _waits(pages: list[Page]) -> float:
    """Return the median of what a process waited in each second; of the one that waited longest."""
    begun = [page.begun for page in pages]
    first, last = min(begun), max(begun)
    whole = max(1, round(last - first))
    waited: dict[str, list[float]] = {}
    for page in pages:
        seconds = waited.setdefault(page.process, [0.0] * whole)
        if (second := int(page.begun - first)) < whole:
            seconds[second] += page.waited
    return max(median(seconds) for seconds in waited.values())
