"""The faults: what happens in each, what it needs, and what may happen under it."""

from dataclasses import dataclass

from . import breaking
from .breaking import Do
from .history import KNOWN
from .proxy import Mode


@dataclass(frozen=True)
class Fault:
    """A fault, what it needs, and what may happen under it."""

    name: str
    text: str  # what happens, as the table says it
    do: Do
    seconds: float = 4  # how long it lasts
    known: float = KNOWN  # seconds after which the site has found out, and is warm
    servers: int = 1
    by_proxy: bool = False
    absent: bool = False  # the servers don't run at the start, but only after the fault
    vendor: str = ""  # the only database that it is possible on
    breaks_database: bool = False  # pages may be errors or late: the database itself is away
    kills: bool = False  # requests may end without an answer, and holds stay to their deadline

    def without_hits(self, begun: float, ended: float) -> tuple[float, float]:
        """Return from when to when rows have no hits, if the fault is from `begun` to `ended`."""
        # Rows that are held to their deadline have no hits afterwards, either.
        return (ended if self.kills else begun + self.known), ended


def _proxied(name: str, text: str, mode: Mode, seconds: float = 4) -> Fault:
    return Fault(name, text, breaking.by_proxy(mode), seconds=seconds, by_proxy=True)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("nothing", "nothing", breaking.nothing),
        Fault("restarted", "killed and restarted once a second", breaking.restarted),
        Fault(
            "open write",
            "restarted while a write is open; it commits 0.4 s later",
            breaking.restarted_under_open_writes,
            seconds=6,
        ),
        Fault("away", "away: its port refuses connections", breaking.ended(0)),
        Fault(
            "not started",
            "not there when the site starts",
            breaking.not_yet_started,
            seconds=5,
            known=2 * KNOWN,  # its threads and connections begin meanwhile
            absent=True,
        ),
        Fault("stopped", "stopped (SIGSTOP)", breaking.frozen(0), seconds=6),
        _proxied("silent", "accepts, but never answers", Mode("silent")),
        _proxied("late", "every fifth answer 0.45 s late", Mode("late", 0.2, 0.45)),
        _proxied("lost", "every fifth answer lost, the command done", Mode("lost", 0.2)),
        _proxied("garbage", "answers with random bytes", Mode("garbage")),
        _proxied("error", "answers `ERROR`", Mode("error")),
        _proxied("out of memory", "answers that it is out of memory", Mode("out of memory")),
        _proxied("reset", "resets the connection", Mode("reset")),
        _proxied("drip", "answers one byte each 0.1 s", Mode("drip", seconds=0.1)),
        _proxied("endless", "answers without an end", Mode("endless")),
        _proxied("cut", "half an answer, then the connection is closed", Mode("cut")),
        Fault("no cas", "runs without compare and swap (`-C`)", breaking.started_with("-C")),
        Fault("full", "full (`-m 1 -I 512k`), evicts all the time", breaking.full),
        Fault("flushed", "`flush_all` every 50 ms", breaking.flushed),
        Fault("1 of 2 away", "one of two servers away", breaking.ended(0), servers=2),
        Fault("2 of 3 away", "two of three servers away", breaking.ended(0, 1), servers=3),
        Fault("2 of 3 stopped", "two of three servers stopped", breaking.frozen(0, 1), servers=3),
        Fault(
            "one cut off",
            "one process of the site cut off from the server, the other not",
            breaking.cut_for_one,
            by_proxy=True,
            vendor="PostgreSQL",
        ),
        Fault("worker killed", "a process of the site killed", breaking.worker_killed, kills=True),
        Fault(
            "writer killed", "a writer killed at each step", breaking.writer_killed(), 1, kills=True
        ),
        Fault(
            "atomic writer killed",
            "a writer killed at each step of a save in `atomic()`",
            breaking.writer_killed("--atomic"),
            1,
            kills=True,
        ),
        Fault(
            "writer killed, server stopped",
            "a writer killed at each step, with the server stopped",
            breaking.writer_killed_with_the_server_frozen,
            1,
            kills=True,
        ),
        Fault(
            "database restarted",
            "PostgreSQL restarted",
            breaking.database_restarted,
            vendor="PostgreSQL",
            breaks_database=True,
        ),
        Fault(
            "database stopped",
            "PostgreSQL stopped and continued",
            breaking.database_frozen,
            vendor="PostgreSQL",
            breaks_database=True,
        ),
        Fault(
            "database locked",
            "SQLite locked",
            breaking.database_locked,
            seconds=5,
            vendor="SQLite",
            breaks_database=True,
        ),
    )
}
