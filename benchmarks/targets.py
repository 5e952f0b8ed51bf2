"""The targets, as ratios within one run, on PostgreSQL."""

from dataclasses import dataclass

from . import measures
from .contestants import Cachalot, Cacheops, NoCache, Recipe2009, This
from .floors import HashingClient, RawSocket
from .pages import AWAY
from .samples import Samples

DATABASE = "PostgreSQL"


@dataclass(frozen=True)
class Target:
    """A limit for the ratio of two contestants, or for a number if `to` is None."""

    text: str
    measure: str
    contestant: str
    to: str | None = None
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A target and the measured ratio, None if it was not measured."""

    target: Target
    ratio: float | None

    @property
    def is_measured(self) -> bool:
        """Has the run measured it?"""
        return self.ratio is not None

    @property
    def reached(self) -> bool:
        """Is the target reached?"""
        if self.ratio is None:
            return False
        target = self.target
        if target.at_most is not None:
            return self.ratio <= target.at_most
        return self.ratio >= target.at_least

    @property
    def wanted(self) -> str:
        """The target in words."""
        if self.target.at_most is not None:
            return f"at most {self.target.at_most:g}"
        return f"at least {self.target.at_least:g}"

    @property
    def measured(self) -> str:
        """The ratio in words."""
        if self.ratio is None:
            return "not measured"
        return f"{self.ratio:.2f}" if self.ratio < 100 else f"{self.ratio:.0f}"

    def __str__(self) -> str:
        answer = "yes" if self.reached else "NO"
        return f"{answer:>3}  {self.measured:>6}, {self.wanted}: {self.target.text}"


NONE, THIS = NoCache.title, This.title
TARGETS = (
    Target(
        "a hit, to `HashClient.get` of the same bytes",
        measures.HIT, THIS, HashingClient.title, at_most=1,
    ),
    Target(
        "a hit, to a bare socket with the same bytes",
        measures.HIT, THIS, RawSocket.title, at_most=1.6,
    ),
    Target("a hit: cacheops, to this", measures.HIT, Cacheops.title, THIS, at_least=7),
    Target("a hit: cachalot, to this", measures.HIT, Cachalot.title, THIS, at_least=7),
    Target(
        "25 at once, to `HashClient.get_many` of the same bytes",
        measures.ANY_25, THIS, HashingClient.title, at_most=0.75,
    ),
    Target("25 at once: the ORM, to this", measures.ANY_25, NONE, THIS, at_least=2.7),
    Target("100 at once: the ORM, to this", measures.ANY_100, NONE, THIS, at_least=2.2),
    Target("a miss, to `get()`", measures.MISS, THIS, NONE, at_most=1.05),
    Target("a save, to a plain one", measures.SAVE, THIS, NONE, at_most=2.2),
    Target("a save, to a plain one: better still", measures.SAVE, THIS, NONE, at_most=2),
    Target("a create, to a plain one", measures.CREATE, THIS, NONE, at_most=2.2),
    Target("a delete, to a plain one", measures.DELETE, THIS, NONE, at_most=2.5),
    Target(
        "`update()` of 1,000 rows, to Django's",
        measures.UPDATE, THIS, NONE, at_most=2.5,
    ),
    Target(
        # A pk, its key, and their places in lists and dicts: what is not kept is what stands there.
        "`update()` of 10,000 rows: bytes of memory for each row more than 1,000",
        measures.UPDATE_MEMORY, THIS, at_most=250,
    ),
    Target(
        "`bulk_update()` of 1,000 rows, to Django's",
        measures.BULK_UPDATE, THIS, NONE, at_most=2.5,
    ),
    Target(
        # One for 500 rows, after the COMMIT, and none for each batch.
        "`bulk_update()` of 1,000 rows in 10 batches: SELECTs",
        measures.BULK_SELECTS, THIS, at_most=2,
    ),
    Target("64 threads on a cold key: the most SELECTs", measures.SELECTS, THIS, at_most=1),
    Target(
        "64 threads on a cold key: the slowest, to the slowest of 64 `get()`",
        measures.SLOWEST, THIS, NONE, at_most=1,
    ),
    Target(
        "detail pages, server away: as many as without a cache",
        measures.DETAIL, AWAY, NONE, at_least=1,
    ),
    Target(
        "list pages, server away: as many as without a cache",
        measures.LIST, AWAY, NONE, at_least=1,
    ),
    Target(
        "memory of a stored Car, to the 2009 recipe's",
        measures.MEMORY, THIS, Recipe2009.title, at_most=0.33,
    ),
)  # fmt: skip


def verdicts(samples: Samples) -> list[Verdict]:
    """Return a verdict for each target."""
    return [Verdict(target, _measured(samples, target)) for target in TARGETS]


def missed(samples: Samples) -> list[Verdict]:
    """Return the verdicts on the targets that were measured and are not reached."""
    return [each for each in verdicts(samples) if each.is_measured and not each.reached]


def _measured(samples: Samples, target: Target) -> float | None:
    if target.to is None:
        return max(samples.of(DATABASE, target.measure, target.contestant), default=None)
    return samples.ratio(DATABASE, target.measure, target.contestant, target.to)
