"""The figures of many runs, as text and in the documentation."""

import os
import platform
import subprocess
from datetime import UTC, datetime

import django
from django.conf import settings

from .figures import Figures, in_words
from .serving import Served
from .visitors import MANY

PAGE = settings.BASE_DIR / "docs" / "faults.md"
BEGIN = "<!-- written by manage.py {command} --record -->\n"
END = "<!-- until here -->\n"

HEAD = (
    "fault", "pages", "errors", "no answer", "slowest page, s", "one page a second, s",
    "other pages, s", "waits each second, s", "slowest save, s", f"{MANY} saves at once, s",
    "stale reads", "dirty reads", "stale at rest", "left", "hits back, s", "writes lost",
    "lines in the log", "bounds broken",
)  # fmt: skip


def row(figures: Figures) -> list[str]:
    """Return the cells of a run in the table, as in HEAD."""
    stale = f"{len(figures.stale):,}"
    return [
        figures.fault.text,
        f"{sum(figures.statuses.values()):,}",
        f"{figures.errors}",
        f"{figures.statuses.get(0, 0)}",
        str(figures.page),
        str(figures.one),
        str(figures.others),
        str(figures.waits),
        str(figures.save),
        str(figures.many),
        f"{stale}, up to {figures.latest:.2f} s" if figures.stale else stale,
        f"{figures.dirty}",
        f"{len(figures.at_rest)}",
        in_words(figures.left),
        "never" if figures.back is None else f"{figures.back:.2f}",
        f"{len(figures.lost)}",
        f"{len(figures.log)}",
        ", ".join(figures.broken()) or "none",
    ]


def table(runs: list[Figures]) -> str:
    """Return a Markdown table of these runs."""
    lines = [HEAD, ["---", *["---:"] * (len(HEAD) - 2), "---"], *map(row, runs)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def serving_table(runs: list[Served]) -> str:
    """Return a Markdown table of what other web servers have done."""
    head = "web server", "database", "reads", "hits", "writes", "errors", "stale", "dirty"
    lines = [[*head, "stale at rest", "writes lost"], ["---", "---", *["---:"] * 8]]
    for run in runs:
        wrong = run.errors, run.stale, run.dirty, run.at_rest, run.lost
        counts = f"{run.reads:,}", f"{run.hits:.0%}", f"{run.writes:,}", *map(str, wrong)
        lines.append([run.server, run.vendor, *counts])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def record_serving(runs: list[Served]) -> None:
    """Write the table of other web servers into the documentation."""
    _record("web_servers", f"{serving_table(runs)}\n")


def record(runs: dict[str, list[Figures]]) -> None:
    """Write the tables, by database, into the documentation, with what they were measured on."""
    tables = (f"### {vendor}\n\n{table(of)}\n" for vendor, of in runs.items())
    _record("faults", "".join(tables))


def _record(command: str, tables: str) -> None:
    begin = BEGIN.format(command=command)
    before, _, rest = PAGE.read_text().partition(begin)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{begin}\n{measured_on()}\n\n{tables}{END}{after}")


def measured_on() -> str:
    """Return a sentence on when and on what the tables were measured."""
    command = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True)
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} at revision {git.stdout.strip() or 'unknown'}, "
        f"with Python {platform.python_version()} and Django {django.get_version()}, on "
        f"{os.cpu_count()} cores ({platform.system()}, {platform.machine()}) with a load average "
        f"of {os.getloadavg()[2]:.1f}."
    )
