"""The samples as files: as JSON, as tables and as a chart, written together."""

import json
from pathlib import Path
from typing import Any

from . import measures
from .chart import chart
from .contestants import CONTESTANTS, NoCache, This
from .floors import FLOORS
from .pages import AWAY, THREADS, WORKERS
from .samples import Samples
from .targets import Verdict, verdicts
from .work import PARTS

RESULTS = Path(__file__).parent / "results"
FILES = ("samples.json", "table.md", "chart.svg")

ROWS = (
    *(measure.name for measure in measures.MEASURES),
    *(measure.name for measure in (*measures.BULK_MEASURES, *measures.COUNTS)),
    measures.SLOWEST,
    measures.SELECTS,
)
COUNTED = (measures.SELECTS, measures.BULK_SELECTS, measures.UPDATE_MEMORY)  # not times
SIZES = (measures.VALUE, measures.ITEM, measures.MEMORY)
PAGES = (measures.DETAIL, measures.LIST)


def write(folder: Path, samples: Samples, about: dict[str, Any]) -> None:
    """Write all FILES into `folder`; existing ones are overwritten."""
    texts = raw(samples, about), table(samples, about), chart(samples)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(FILES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")


def raw(samples: Samples, about: dict[str, Any]) -> str:
    """Return all samples as JSON, one list per line."""
    lines = [
        f"  {json.dumps([database, measure, contestant])[:-1]}, {json.dumps(values)}]"
        for database, measures_ in samples.by_database.items()
        for measure, contestants in measures_.items()
        for contestant, values in contestants.items()
    ]
    head = json.dumps(about, indent=1)[:-2]
    return f'{head},\n "samples": [\n' + ",\n".join(lines) + "\n ]\n}\n"


def read(folder: Path) -> tuple[Samples, dict[str, Any]]:
    """Return the samples of the file in `folder`, and what it says of their run."""
    about = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
    samples = Samples()
    for database, measure, contestant, values in about.pop("samples"):
        samples.add(database, measure, contestant, values)
    return samples, about


def table(samples: Samples, about: dict[str, Any]) -> str:
    """Return everything as Markdown."""
    parts = ["# Results", "", "Made by `make bench`. The next run overwrites them.", ""]
    parts += ["![Times of the contestants](chart.svg)", "", "## Targets, on PostgreSQL", ""]
    parts += rows_of_targets(verdicts(samples))
    for database in samples.by_database:
        parts += ["", f"## On {database}", "", *_on(samples, database)]
    return "\n".join([*parts, "", "## How it was run", "", *_about(about)]) + "\n"


def _on(samples: Samples, database: str) -> list[str]:
    contestants, floors = list(CONTESTANTS), list(FLOORS)
    lines = ["Medians. In brackets: how many times the value of this recipe.", ""]
    lines += rows(samples, database, ROWS, contestants, duration)
    lines += ["", "The floors: the same bytes, got from Memcached and discarded.", ""]
    timed = [measure.name for measure in measures.MEASURES if measure.for_floors]
    lines += rows(samples, database, timed, [This.title, *floors], duration)
    lines += ["", "The size of a stored Car, in bytes.", ""]
    stored = [title for title, contestant in CONTESTANTS.items() if contestant.server]
    lines += rows(samples, database, SIZES, stored, number)
    if any(name in samples.by_database[database] for name in PAGES):
        served = f"by {WORKERS} gunicorn workers with {THREADS} threads"
        lines += ["", f"Pages of the site, served {served}.", ""]
        lines += rows_of_pages(samples, database)
    if lines_of_parts := rows_of_parts(samples, database):
        lines += ["", "Where the time of this recipe goes, in percent, by cProfile.", ""]
        lines += lines_of_parts
    among = [name for name in samples.by_database[database] if " among " in name]
    if among:
        lines += ["", "Hits, by the number of rows, all of them cached.", ""]
        lines += rows(samples, database, among, [NoCache.title, This.title], duration)
    return lines


def rows_of_targets(verdicts: list[Verdict]) -> list[str]:
    """Return the table of targets, as lines."""
    lines = ["| | target | measured | reached |", "|---|---|---|---|"]
    for verdict in verdicts:
        reached = "yes" if verdict.reached else "**no**" if verdict.is_measured else ""
        cells = [verdict.target.text, verdict.wanted, verdict.measured, reached]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def rows_of_pages(samples: Samples, database: str) -> list[str]:
    """Return the table of pages per second, as lines."""
    return rows(samples, database, PAGES, [NoCache.title, This.title, AWAY], number)


def rows_of_parts(samples: Samples, database: str) -> list[str]:
    """Return the table of where the time goes, as lines; none if it was not measured."""
    names = measures.IN_PARTS
    lines = []
    for part in PARTS:
        of = [measures.share_of(name, part) for name in names]
        shares = [samples.median(database, name, This.title) for name in of]
        if None not in shares:
            lines.append(f"| {part} | {' | '.join(f'{share:.0f}' for share in shares)} |")
    return (
        [f"| | {' | '.join(names)} |", "|---" + "|---:" * len(names) + "|", *lines] if lines else []
    )


def rows(
    samples: Samples, database: str, names: Any, contestants: list[str], show: Any
) -> list[str]:
    """Return a table of those of the measures `names` that were measured, as lines.

    `show` makes a value a text.
    """
    lines = [f"| | {' | '.join(contestants)} |", "|---" + "|---:" * len(contestants) + "|"]
    for name in names:
        if name not in samples.by_database[database]:
            continue
        unit = number if name in COUNTED else show
        cells = [_cell(samples, database, name, contestant, unit) for contestant in contestants]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(samples: Samples, database: str, measure: str, contestant: str, show: Any) -> str:
    median = samples.median(database, measure, contestant)
    if median is None:
        return ""
    if contestant == This.title:
        return f"**{show(median)}**"
    ratio = samples.ratio(database, measure, contestant, This.title)
    if ratio is None:
        return str(show(median))
    return f"{show(median)} ({ratio:.2g})" if ratio < 100 else f"{show(median)} ({ratio:.0f})"


def duration(microseconds: float) -> str:
    """Return a time in microseconds as text, in µs or ms."""
    if microseconds < 1000:
        return f"{microseconds:.0f} µs"
    return f"{microseconds / 1000:.{1 if microseconds < 100_000 else 0}f} ms"


def number(value: float) -> str:
    """Return a number without a unit as text."""
    return f"{value:,.0f}"


def _about(about: dict[str, Any]) -> list[str]:
    machine, versions = about["machine"], about["versions"]
    return [
        f"`{about['command']}` on {about['date']}, in {about['minutes']} minutes. Python "
        f"{versions['Python']}, Django {versions['Django']}, without debug.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in (machine | versions).items()),
    ]
