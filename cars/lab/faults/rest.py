"""What is left in the cache after the last write."""

import time
from dataclasses import dataclass, field

from .database import model_of
from .history import History
from .stage import PREFIX, Stage
from .visitors import Reader

AFTER = 2.0  # seconds after the end of a fault that nothing may be stale any more
PATIENCE = 15.0  # seconds after the end of a fault that no lease or hold may stand any more


@dataclass
class Rest:
    """What was found: rows that are stale, described in words, and leases and holds."""

    stale: dict[int, str] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)  # how many, by kind


def look_at_rest(
    stage: Stage,
    history: History,
    reader: Reader,
    patient: bool,
    owed_for: float = AFTER,
    pages_only: bool = False,
) -> Rest:
    """Compare all rows, as pages show them and as they stand in the cache, with the database.

    An entry may be wrong for `owed_for` seconds if it is owed, since it counts as held until then:
    the last write couldn't tell the cache. With `pages_only` the cache isn't compared: what a
    killed writer couldn't tell it stands there until the deadline of its record.
    The leases and holds are counted now, or if `patient` when all that can end have ended. The rows
    must not change meanwhile.
    """
    rest = Rest()
    rows = list(history.commits)
    versions = stage.database.versions()
    for row in rows:
        version = versions.get(row, history.deleted.get(row))
        for _ in range(2 * len(stage.workers()) - 1):
            read = reader.read(row)
            if read and read.version != version:
                rest.stale[row] = f"page of row {row}: version {read.version}, not {version}"
    deadline = time.monotonic() + owed_for
    compared = [] if pages_only else rows
    while True:
        owed = stage.database.owed()  # first, since it can be done between the two
        stale = {row: f"{PREFIX}{row}" in owed for row in _stale(stage, compared, versions)}
        if not stale or not all(stale.values()) or time.monotonic() >= deadline:
            break
        time.sleep(0.1)
    for row, is_owed in stale.items():
        text = f"entry of row {row}: not version {versions.get(row)}"
        rest.stale.setdefault(row, f"{text}, and {'still' if is_owed else 'not'} owed")
    deadline = time.monotonic() + (PATIENCE - AFTER if patient else 0)
    while (left := _left(stage, rows)) and time.monotonic() < deadline:
        time.sleep(0.2)
    rest.left = left
    return rest


def _stale(stage: Stage, rows: list[int], versions: dict[int, int]) -> list[int]:
    """Return those of `rows` that have an entry with another version."""
    return [
        row
        for row, entries in stage.entries(rows).items()
        for kind, data in entries
        if kind == "row" and model_of(versions.get(row, -1)).encode() not in data
    ]


def _left(stage: Stage, rows: list[int]) -> dict[str, int]:
    left: dict[str, int] = {}
    for entries in stage.entries(rows).values():
        for kind, _ in entries:
            if kind in ("lease", "holds"):
                left[kind] = left.get(kind, 0) + 1
    return left
