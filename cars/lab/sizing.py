"""How much a site of a given size needs, by calculation: python -m cars.lab.sizing

Prints the tables of docs/operations.md. What is measured is in constants, each with its source.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp

ROWS = 1_000_000  # of the model, for the hit rates
TIMEOUT = 3600  # seconds that a row stays: the default of CacheManager


@dataclass(frozen=True)
class Wire:
    """What an operation on one row sends over the network to Memcached and back."""

    round_trips: int
    sent: int  # bytes
    received: int  # bytes


# Of the first car of this site, whose value has 59 bytes, in autocommit; test_sizing measures them.
HIT = Wire(round_trips=1, sent=21, received=95)
MISS = Wire(round_trips=3, sent=187, received=76)
SAVE = Wire(round_trips=3, sent=207, received=184)

# From the medians of benchmarks/results/table.md, on PostgreSQL, with all servers on loopback.
SECONDS_OF_A_HIT = 37e-6
SECONDS_OF_A_SAVE = 1.0e-3


# Hit rates by Zipf's law: the row of rank r is read r ** -s as often as the first


def popularity(s: float, rows: int = ROWS) -> list[tuple[int, float]]:
    """Return (how many rows, share of the reads of each of them), from the most popular on.

    The first 1,000 ranks stand alone. The rest are groups of ranks that differ by 1 %.
    """
    groups, first = [], 1
    while first <= rows:
        last = min(max(first, int(first * 1.01) if first > 1000 else first), rows)
        groups.append((last - first + 1, ((first + last) / 2) ** -s))
        first = last + 1
    total = sum(count * weight for count, weight in groups)
    return [(count, weight / total) for count, weight in groups]


def hit_rate_with_timeout(
    s: float, reads: float, timeout: float = TIMEOUT, rows: int = ROWS
) -> float:
    """Return the hit rate if memory is plenty, at so many reads a second of all rows together.

    Each fill is one miss, and then all reads until the timeout are hits: a row with n reads in that
    time has n hits for each miss.
    """
    rate = 0.0
    for count, share in popularity(s, rows):
        expected = reads * share * timeout
        rate += count * share * expected / (1 + expected)
    return rate


def hit_rate_with_memory(s: float, fitting: float, rows: int = ROWS) -> float:
    """Return the hit rate if only the share `fitting` of the rows fits, and none times out.

    By Che's approximation: under LRU a row is there if it was read within a time that is the same
    for all rows, namely that in which as many different rows are read as fit.
    """
    groups = popularity(s, rows)
    low, high = 0.0, 1.0
    while _different(groups, high) < fitting * rows:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if _different(groups, middle) < fitting * rows:
            low = middle
        else:
            high = middle
    return sum(count * share * (1 - exp(-share * high)) for count, share in groups)


def _different(groups: list[tuple[int, float]], reads: float) -> float:
    """Return how many different rows so many reads are expected to read."""
    return sum(count * (1 - exp(-share * reads)) for count, share in groups)


def hit_rate_of_a_written_row(writes: float, seconds: float = SECONDS_OF_A_SAVE) -> float:
    """Return the share of the reads of one row that are hits, at so many writes of it a second.

    The row is held during `seconds` of each write; writes come independently of each other.
    """
    return exp(-writes * seconds)


# The tables


@dataclass(frozen=True)
class Load:
    """A site: what each request does, on average."""

    requests: float  # a second
    rows: float = 5  # read by `cache`, one by one
    hit_rate: float = 0.95
    saves: float = 0.02

    def per_second(self, of: Callable[[Wire], int]) -> float:
        """Return the sum of a number of Wire over all reads and saves of a second."""
        read = self.hit_rate * of(HIT) + (1 - self.hit_rate) * of(MISS)
        return self.requests * (self.rows * read + self.saves * of(SAVE))

    @property
    def selects(self) -> float:
        """SELECTs a second of the misses, and of the fills after saves."""
        return self.requests * (self.rows * (1 - self.hit_rate) + self.saves)

    @property
    def saved(self) -> float:
        """SELECTs a second that the hits save."""
        return self.requests * self.rows * self.hit_rate

    @property
    def cores(self) -> float:
        """How many cores of the web hosts are busy with hits."""
        return self.requests * self.rows * self.hit_rate * SECONDS_OF_A_HIT


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown, with numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def number(value: float) -> str:
    """Return `value` with two significant digits at least: 0.25, 4.8, 12,000."""
    return f"{value:.2g}" if value < 10 else f"{float(f'{value:.3g}'):,.0f}"


def wires() -> str:
    """Return the table of what single operations send."""
    rows = [
        [name, str(wire.round_trips), str(wire.sent), str(wire.received)]
        for name, wire in {"a hit": HIT, "a miss": MISS, "a save": SAVE}.items()
    ]
    return table(["", "round trips", "bytes sent", "bytes received"], rows)


def loads() -> str:
    """Return the table of what sites of three sizes send."""
    columns: dict[str, Callable[[Load], float]] = {
        "round trips a second": lambda load: load.per_second(lambda wire: wire.round_trips),
        "MB a second from Memcached": lambda load: load.per_second(lambda w: w.received) / 1e6,
        "MB a second to Memcached": lambda load: load.per_second(lambda wire: wire.sent) / 1e6,
        "SELECTs a second": lambda load: load.selects,
        "SELECTs a second that hits save": lambda load: load.saved,
        "cores that hits keep busy": lambda load: load.cores,
    }
    sizes = [10, 1_000, 100_000]
    rows = [
        [name, *(number(column(Load(requests))) for requests in sizes)]
        for name, column in columns.items()
    ]
    return table(["requests a second", *(f"{size:,}" for size in sizes)], rows)


def timeouts() -> str:
    """Return the table of hit rates with plenty of memory."""
    return _rates("reads a second", [10, 1_000, 100_000], "{:,}", hit_rate_with_timeout)


def memories() -> str:
    """Return the table of hit rates with too little memory."""
    return _rates("rows that fit", [0.01, 0.05, 0.1, 0.25, 0.5], "{:.0%}", hit_rate_with_memory)


def _rates(name: str, values: list[float], form: str, rate: Callable[[float, float], float]) -> str:
    exponents = [0.8, 1.0, 1.2]
    rows = [[form.format(value), *(f"{rate(s, value):.0%}" for s in exponents)] for value in values]
    return table([name, *(f"s = {s}" for s in exponents)], rows)


def written_rows() -> str:
    """Return the table of one row that is written often."""
    rows = [
        [f"{writes:g}", f"{hit_rate_of_a_written_row(writes):.1%}"]
        for writes in (0.1, 1, 10, 100, 400)
    ]
    return table(["writes of it a second", "hits"], rows)


TABLES = [wires, loads, timeouts, memories, written_rows]


def tables() -> Iterator[str]:
    """Yield each table of docs/operations.md."""
    for make in TABLES:
        yield make()


if __name__ == "__main__":
    print("\n\n".join(tables()))
