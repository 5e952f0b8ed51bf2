"""One fault, from the start of its servers to its figures."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from .catalogue import Fault
from .database import Database
from .figures import Figures, Times, figures
from .history import History
from .rest import AFTER, look_at_rest
from .stage import Stage, stage
from .visitors import crowd

HITS_BY = 20  # seconds after the end of a fault that a run waits for hits, at most


@dataclass(frozen=True)
class Pace:
    """How long the parts of a run are, in seconds."""

    warm: float = 1  # before anything is measured
    calm: float = 3  # before the fault, and again after it
    fault: float = 0  # 0: as long as the fault itself says
    after: float = 2  # from the end of the fault until it is calm again
    owed: float = AFTER  # that an entry may be wrong at rest if it is owed
    patient: bool = True  # wait until leases and holds have ended


SHORT = Pace(warm=0.5, calm=0.5, fault=0.1, after=0.5, owed=60, patient=False)  # on a busy machine


def run(
    fault: Fault,
    database: Database,
    pace: Pace = Pace(),
    tell: Callable[[str], object] = lambda part: None,
) -> Figures:
    """Start the servers and the site, let the fault happen, and return the figures.

    `tell` is called with the name of each part of the run when it begins. Raises RuntimeError if a
    server doesn't start or a visitor meets something unexpected.
    """
    tell("start")
    with stage(database, fault.servers, fault.by_proxy, fault.absent) as servers:
        return _run_on(servers, fault, pace, tell)


def _run_on(stage: Stage, fault: Fault, pace: Pace, tell: Callable[[str], object]) -> Figures:
    history = History(stage.database.versions(), time.monotonic())
    visitors, readers, watcher = crowd(stage.port, history, stage.database)

    def wait(seconds: float, part: str) -> tuple[float, float]:
        tell(part)
        begun = time.monotonic()
        while (left := begun + seconds - time.monotonic()) > 0:
            visitors.check()
            time.sleep(min(left, 0.1))
        return begun, time.monotonic()

    with visitors.at_work(readers, watcher):
        calm = []
        if not fault.absent:
            wait(pace.warm, "warm")
            calm.append(wait(pace.calm, "calm"))
        begun = time.monotonic()
        with fault.do(stage, history):
            wait(pace.fault or fault.seconds, "fault")
        ended = time.monotonic()
        wait(pace.after, "afterwards")
        while (
            history.back(*fault.without_hits(begun, ended)) is None
            and time.monotonic() < ended + HITS_BY
        ):
            wait(0.1, "until there are hits")
        calm.append(wait(pace.calm, "calm"))
        visitors.stop_writing()
        end = time.monotonic()
        wait(ended + AFTER - end, "rest")  # where it was not that long already
        rest = look_at_rest(stage, history, readers[0], pace.patient, pace.owed, fault.kills)
    visitors.check()
    vendor = "PostgreSQL" if stage.database.program else "SQLite"
    lines = stage.log.read_text(errors="replace").splitlines()
    lines = [line for line in lines if "Not Found" not in line]  # of rows that were deleted
    return figures(fault, vendor, history, Times(calm, (begun, ended), end), rest, lines)
