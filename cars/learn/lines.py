"""Which line of code makes a call: it is shown beside the step."""

import linecache
from types import FrameType

from .runs import Code

# Modules whose lines are shown beside a step, unless a module of the first group is further in.
RECIPES = (
    "cars.recipes.",
    "cars.caching.protocol",
    "cars.caching.transactions",
    "cars.caching.queryset",
    "cars.caching.owed",
    "cars.lab.walks.rules",
    "cars.lab.walks.outage_rules",
)
PROGRAMS = ("cars.lab.schedules.programs",)


def code_of(frame: FrameType | None) -> Code | None:
    """Return the line that makes the call: in a recipe if there is one, else in the program."""
    program = None
    while frame:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(RECIPES):
            return _line(module, frame)
        if program is None and module.startswith(PROGRAMS):
            program = _line(module, frame)
        frame = frame.f_back
    return program


def _line(module: str, frame: FrameType) -> Code:
    """Return the current line of `frame`, and the function that it belongs to."""
    name, _, _ = frame.f_code.co_qualname.partition(".<locals>")
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return Code(f"{module}.{name}", line.strip())
