"""The runs and the grid that the repository keeps: `manage.py races --record` writes them."""

from functools import cache
from pathlib import Path

import msgspec
from django.conf import settings
from msgspec import Struct

from .runs import Run

FOLDER: Path = settings.BASE_DIR / "docs" / "learn" / "runs"
GRID = "grid"


class Cell(Struct, frozen=True, omit_defaults=True):
    """What a walk through all schedules of a scenario has found."""

    recipe: str
    case: str
    schedules: int
    wrong: tuple[str, ...] = ()  # "dirty" if a read was, and "stale"
    steps: tuple[str, ...] = ()  # the shortest schedule that goes wrong
    without: str = ""
    database: str = "sqlite"


def path_of(name: str) -> Path:
    """Return where the run `name` is kept."""
    return FOLDER / f"{name}.json"


def write(name: str, value: Run | list[Cell]) -> None:
    """Keep a run, or the grid under GRID."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path_of(name).write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


@cache
def run(name: str) -> Run:
    """Return the run `name`; raise FileNotFoundError if there is none."""
    return msgspec.json.decode(path_of(name).read_bytes(), type=Run)


@cache
def grid() -> dict[tuple[str, str, str], Cell]:
    """Return what the walks have found, by recipe, case and the rule that was switched off."""
    cells = msgspec.json.decode(path_of(GRID).read_bytes(), type=list[Cell])
    return {(cell.recipe, cell.case, cell.without): cell for cell in cells}
