"""The tables of the documentation that a run writes. Each stands below a comment with its name."""

import re
from pathlib import Path

from . import measures, report
from .contestants import Cachalot, Cacheops, NoCache, This
from .samples import Samples
from .targets import DATABASE, missed

FOLDER = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("performance.md", "comparison.md")
COSTS = (
    measures.MISS, measures.SAVE, measures.CREATE, measures.DELETE,
    measures.UPDATE, measures.UPDATE_ALL, measures.BULK_UPDATE, measures.SLOWEST,
)  # fmt: skip
COMPARED = (
    measures.HIT, measures.SAME_25, measures.ANY_25, measures.MISS,
    measures.SAVE, measures.CREATE, measures.DELETE, measures.UPDATE,
)  # fmt: skip
TITLES = [NoCache.title, This.title]


def write(samples: Samples) -> None:
    """Write the tables of all PAGES again."""
    for name in PAGES:
        page = FOLDER / name
        page.write_text(with_tables(page.read_text(encoding="utf-8"), samples), encoding="utf-8")


def with_tables(page: str, samples: Samples) -> str:
    """Return the text of a page with the tables of `samples` in place of those that it has.

    Raises KeyError for a name that no table has.
    """
    tables = {
        "costs": report.rows(samples, DATABASE, COSTS, TITLES, report.duration),
        "missed": report.rows_of_targets(missed(samples)),
        "parts": report.rows_of_parts(samples, DATABASE),
        "pages": report.rows_of_pages(samples, DATABASE),
        "caches": report.rows(
            samples,
            DATABASE,
            COMPARED,
            [NoCache.title, Cacheops.title, Cachalot.title, This.title],
            report.duration,
        ),
    }

    def replace(match: re.Match[str]) -> str:
        return "\n".join([match[1], *tables[match[2]]])

    return re.sub(r"(<!-- make bench: (\w+) -->)(\n\|.*)*", replace, page)
