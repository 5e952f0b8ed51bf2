"""The debug toolbar's panel "Objects": what the recipe did in this request, by object."""

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from debug_toolbar.panels import Panel
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from cars.caching import events

from .lookups import Lookups, in_words
from .steps import Steps, named

RECIPE = events.__name__.rpartition(".")[0]

# Modules whose frames are never the caller: the recipe, this panel, and generic call machinery.
INTERNALS = (RECIPE, __name__, "contextlib", "django.db", "django.dispatch")
FRAMEWORK = (*INTERNALS, "django", "debug_toolbar")
MIDDLEWARE = "django.core.handlers"  # frames further out only call the next middleware


class ObjectsPanel(Panel):
    """Lists each line of code that read or wrote through the recipe, with what it did.

    Listeners are per context, so the panel never lists another request's objects. It ends with
    the response: holds that are released later, at the end of the request because their commit
    hook didn't run, are not listed.
    """

    template = "cars/panels/objects.html"
    nav_title = "Objects"
    nav_icon = "cars/objects.svg"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._calls: dict[tuple[str, int], Steps] = {}
        self._lookups = Lookups()

    def process_request(self, request: HttpRequest) -> HttpResponse:
        with events.listen(self._record):
            return super().process_request(request)

    def _record(self, event: events.Event) -> None:
        self._lookups.record(event)
        self._calls.setdefault(caller(sys._getframe()), Steps()).record(event)

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        self.record_stats(
            {
                "calls": [described(*line, steps) for line, steps in self._calls.items()],
                "counts": self._lookups.counts,
                "written": len(self._lookups.steps.written),
                "milliseconds": self._lookups.steps.milliseconds,
            }
        )

    @property
    def totals(self) -> str:
        """The totals of objects, for example "3 hits, 1 miss, 1 written"."""
        stats = self.get_stats()
        if not stats.get("calls"):
            return "none"
        counted = in_words(stats["counts"])
        return f"{counted}, {stats['written']} written" if stats["written"] else counted

    @property
    def title(self) -> str:
        return f"Objects: {self.totals}"

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        if not stats.get("calls"):
            return self.totals
        return f"{self.totals} in {stats['milliseconds']:.2f} ms"


def described(path: str, number: int, steps: Steps) -> dict[str, Any]:
    """Return what the line `number` of the file `path` did, for the panel."""
    return {
        "place": f"{relative(path)}:{number}",
        "code": linecache.getline(path, number).strip(),
        "kind": steps.kind,
        "text": steps.summary if steps.written or not steps.results else in_words(steps.results),
        "keys": named(steps.keys),
        "milliseconds": steps.milliseconds,
        "steps": [f"{step.lane}: {step.ask} – {step.answer}" for step in steps],
    }


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
