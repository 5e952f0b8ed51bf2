"""The debug toolbar's panel "Objects": what the recipe did in this request, object by object."""

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from debug_toolbar.panels import Panel
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from cars.caching import events

from .lookups import Covered, in_words

RECIPE = events.__name__.rpartition(".")[0]

# Whose frames say nothing about who asked: the recipe, this panel, and what calls for others.
BETWEEN = (RECIPE, __name__, "contextlib", "django.db", "django.dispatch")
FRAMEWORK = (*BETWEEN, "django", "debug_toolbar")
MIDDLEWARE = "django.core.handlers"  # outside of the view are only its calls of the next one

# What an outcome is called, beside the key.
WORDS = {
    events.HIT: "hit",
    events.MISS: "miss",
    events.HELD: "held by a writer",
    events.WAITED: "waited for another’s fill",
    events.GIVEN_UP: "waited for another’s fill in vain",
    events.FILLED: "written and filled",
    events.EXPIRED: "written and expired",
    events.REFUSED: "refused by others’ changes",
}
AFTER_A_MISS = {
    events.FILLED: "miss, filled",
    events.EXPIRED: "miss, nothing to fill",
}


class ObjectsPanel(Panel):
    """What was read and written through the recipe: key, outcome, time and the line that asked.

    By context, so nothing of another request is among it. It ends with the response: what is
    released at the end of the request, since its commit hook did not run, comes after.
    """

    template = "cars/panels/objects.html"
    nav_title = "Objects"
    nav_icon = "cars/objects.svg"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rows: list[dict[str, Any]] = []
        self._missed: dict[str, dict[str, Any]] = {}  # rows by key: of what may yet be filled
        self._covered = Covered()

    def process_request(self, request: HttpRequest) -> HttpResponse:
        with events.listen(self._record):
            return super().process_request(request)

    def _record(self, event: events.Event) -> None:
        self._covered.add(event.seconds)
        milliseconds = event.seconds * 1000
        if event.outcome in AFTER_A_MISS and (row := self._missed.pop(event.key, None)):
            row["words"] = AFTER_A_MISS[event.outcome]
            row["milliseconds"] += milliseconds
            return
        row = {
            "key": event.key,
            "outcome": event.outcome,
            "words": WORDS[event.outcome],
            "milliseconds": milliseconds,
            "line": asked_by(sys._getframe()),
        }
        self._rows.append(row)
        if event.outcome == events.MISS:
            self._missed[event.key] = row

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        for row in self._rows:
            path, number = row.pop("line")
            row["place"] = f"{shown(path)}:{number}"
            row["code"] = linecache.getline(path, number).strip()
        outcomes = [row["outcome"] for row in self._rows]
        hits = sum(outcome in (events.HIT, events.WAITED) for outcome in outcomes)
        reads = sum(outcome in events.LOOKUPS for outcome in outcomes)
        self.record_stats(
            {
                "rows": self._rows,
                "hits": hits,
                "misses": reads - hits,
                "written": len(outcomes) - reads,
                "milliseconds": self._covered.milliseconds,
            }
        )

    @property
    def totals(self) -> str:
        """What it came to, as in "3 hits, 1 miss, 1 written"."""
        stats = self.get_stats()
        if not stats.get("rows"):
            return "none asked for"
        counted = in_words(stats["hits"], stats["misses"])
        return f"{counted}, {stats['written']} written" if stats["written"] else counted

    @property
    def title(self) -> str:
        return f"Objects: {self.totals}"

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        if not stats.get("rows"):
            return self.totals
        return f"{self.totals} in {stats['milliseconds']:.2f} ms"


def asked_by(frame: FrameType | None) -> tuple[str, int]:
    """Return path and number of the line of code that asked, looking outwards from `frame`.

    That is the innermost line outside of the recipe and Django; where Django itself asks, as its
    admin does, the innermost outside of the recipe and the ORM.
    """
    django = None
    while frame and not is_in(frame, (MIDDLEWARE,)):
        if not is_in(frame, FRAMEWORK):
            return frame.f_code.co_filename, frame.f_lineno
        if django is None and not is_in(frame, BETWEEN):
            django = frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return django or ("?", 0)


def is_in(frame: FrameType, modules: tuple[str, ...]) -> bool:
    """Is `frame` the code of one of `modules`, or of a module below?"""
    name = frame.f_globals.get("__name__", "")
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def shown(path: str) -> str:
    """Return `path` from the project's folder on, or from the one of the packages."""
    folders = [Path(folder) for folder in (settings.BASE_DIR, *sys.path) if folder]
    within = [folder for folder in folders if Path(path).is_relative_to(folder)]
    # The innermost: a project's virtual environment is often inside its folder.
    innermost = max(within, key=lambda each: len(each.parts), default="")
    return str(Path(path).relative_to(innermost)) if innermost else path
