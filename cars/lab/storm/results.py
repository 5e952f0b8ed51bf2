"""The figures of the last recorded storms, which the start page shows."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from .run import Figures

PATH = Path(__file__).with_name("results.json")
SHOWN = ("reads", "writes", "stale", "dirty", "excused")


def recorded() -> dict[str, dict[str, Any]]:
    """Return, by recipe, the day, the seconds and the counts of its recorded storm."""
    found: dict[str, dict[str, Any]] = json.loads(PATH.read_text())
    return found


def record(recipe: str, seconds: float, figures: Figures) -> None:
    """Write the figures of a storm of `recipe` in place of the last one's."""
    counts = {name: figures.counts[name] for name in SHOWN}
    one = {"date": date.today().isoformat(), "seconds": seconds, **counts}
    results = recorded() if PATH.exists() else {}
    PATH.write_text(json.dumps(dict(sorted((results | {recipe: one}).items())), indent=2) + "\n")
