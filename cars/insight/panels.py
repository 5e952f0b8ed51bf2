"""The debug toolbar's panel "Objects": what the recipe did in this request, by object."""

import linecache
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from debug_toolbar.panels import Panel
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from cars.caching import events

from .lookups import Covered, Lookup, in_words

RECIPE = events.__name__.rpartition(".")[0]

# Modules whose frames are never the caller: the recipe, this panel, and generic call machinery.
INTERNALS = (RECIPE, __name__, "contextlib", "django.db", "django.dispatch")
FRAMEWORK = (*INTERNALS, "django", "debug_toolbar")
MIDDLEWARE = "django.core.handlers"  # frames further out only call the next middleware

# The text for each outcome.
TEXTS = {
    events.HIT: "hit",
    events.MISS: "miss",
    events.HELD: "miss, held by a writer",
    events.WAITED: "hit, after another reader’s fill",
    events.GIVEN_UP: "miss, another reader’s fill took too long",
    events.FILLED: "written, filled",
    events.EXPIRED: "written, expired",
    events.NO_ANSWER: "the cache does not answer",
    events.OWED: "owed: the cache does not answer",
    events.REFUSED: "refused, the entry kept changing",
}
AFTER_A_MISS = {
    events.FILLED: "miss, filled",
    events.EXPIRED: "miss, nothing to fill",
}


class ObjectsPanel(Panel):
    """Lists each read and write through the recipe: key, outcome, time and the calling line.

    Listeners are per context, so the panel never lists another request's objects. It ends with
    the response: holds that are released later, at the end of the request because their commit
    hook didn't run, are not listed.
    """

    template = "cars/panels/objects.html"
    nav_title = "Objects"
    nav_icon = "cars/objects.svg"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rows: list[dict[str, Any]] = []
        self._missed: dict[str, dict[str, Any]] = {}  # rows of misses that may be filled, by key
        self._covered = Covered()

    def process_request(self, request: HttpRequest) -> HttpResponse:
        with events.listen(self._record):
            return super().process_request(request)

    def _record(self, event: events.Event) -> None:
        self._covered.add(event.seconds)
        if event.outcome in events.STEPS:
            return
        milliseconds = event.seconds * 1000
        if event.outcome in AFTER_A_MISS and (row := self._missed.pop(event.key, None)):
            row["text"] = AFTER_A_MISS[event.outcome]
            row["milliseconds"] += milliseconds
            return
        row = {
            "key": event.key,
            "outcome": event.outcome,
            "text": TEXTS[event.outcome],
            "milliseconds": milliseconds,
            "line": caller(sys._getframe()),
        }
        self._rows.append(row)
        if event.outcome == events.MISS:
            self._missed[event.key] = row

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        for row in self._rows:
            path, number = row.pop("line")
            row["place"] = f"{relative(path)}:{number}"
            row["code"] = linecache.getline(path, number).strip()
        outcomes = [row["outcome"] for row in self._rows]
        read = [Lookup(outcome).result for outcome in outcomes if outcome in events.LOOKUPS]
        self.record_stats(
            {
                "rows": self._rows,
                "counts": Counter(read),
                "written": len(outcomes) - len(read),
                "milliseconds": self._covered.milliseconds,
            }
        )

    @property
    def totals(self) -> str:
        """The totals, for example "3 hits, 1 miss, 1 written"."""
        stats = self.get_stats()
        if not stats.get("rows"):
            return "none"
        counted = in_words(stats["counts"])
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


def caller(frame: FrameType | None) -> tuple[str, int]:
    """Return the path and number of the line that called the recipe, searching from `frame` out.

    This is the innermost line outside the recipe and Django. If Django itself made the call, as
    its admin does, it is the innermost line outside the recipe and the ORM.
    """
    django = None
    while frame and not is_in(frame, (MIDDLEWARE,)):
        if not is_in(frame, FRAMEWORK):
            return frame.f_code.co_filename, frame.f_lineno
        if django is None and not is_in(frame, INTERNALS):
            django = frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return django or ("?", 0)


def is_in(frame: FrameType, modules: tuple[str, ...]) -> bool:
    """Return whether `frame` runs code of one of `modules` or of their submodules."""
    name = frame.f_globals.get("__name__", "")
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def relative(path: str) -> str:
    """Return `path` relative to the project's folder or to the folder of installed packages."""
    folders = [Path(folder) for folder in (settings.BASE_DIR, *sys.path) if folder]
    within = [folder for folder in folders if Path(path).is_relative_to(folder)]
    # The innermost folder, because a virtual environment is often inside the project's folder.
    innermost = max(within, key=lambda each: len(each.parts), default="")
    return str(Path(path).relative_to(innermost)) if innermost else path
