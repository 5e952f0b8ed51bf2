"""What a template needs to draw a run: the steps in lanes, and the source code beside them."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

from django.conf import settings

from .cases import CASES
from .runs import Code, Entry, Frame, Run, in_words


@dataclass(frozen=True)
class Source:
    """The source code of a function: `lines` are pairs of a line's number, from 0, and its text."""

    name: str
    path: str
    lines: list[tuple[int, str]]

    def find(self, text: str) -> int | None:
        """Return the number of the line `text`, None if there is no such line."""
        return next((number for number, line in self.lines if line.strip() == text), None)


@dataclass(frozen=True)
class Shown:
    """A step as it is drawn; `frame` has what was called and returned."""

    number: int
    frame: Frame
    title: str  # of the lane
    side: str  # "reader", "writer" or "cache": where its text is drawn
    entry: str  # what stands under the key afterwards, in words
    row: str  # the committed row, in words
    entry_changed: bool
    row_changed: bool
    source: Source | None
    line: int | None  # of the source

    @property
    def wrong(self) -> bool:
        """Is it a read that is stale or dirty?"""
        return self.frame.verdict not in ("", "right")


@dataclass(frozen=True)
class Picture:
    """A run as it is drawn."""

    run: Run
    steps: list[Shown]
    sources: list[Source]
    start: str  # what stood under the key before the first step, in words
    readers: str  # the headings of the lanes
    writers: str

    @property
    def wrong(self) -> Shown | None:
        """The first step that is a stale or dirty read."""
        return next((step for step in self.steps if step.wrong), None)


@cache
def source_of(name: str) -> Source:
    """Return the source of the function or class with the dotted `name`, one of this project's.

    Raises ValueError if there is none.
    """
    thing = inspect.unwrap(_find(name))
    lines = dedent(inspect.getsource(thing)).rstrip().splitlines()
    path = Path(inspect.getsourcefile(thing) or "").relative_to(settings.BASE_DIR)
    short = name.removeprefix(f"{thing.__module__}.")
    return Source(short, path.as_posix(), list(enumerate(lines)))


def _find(name: str) -> Any:
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        try:
            thing: Any = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            thing = getattr(thing, part, None)
        if parts[0] == "cars" and thing is not None:
            return thing
    raise ValueError(f"There is no {name!r} in this project.")


def picture_of(run: Run) -> Picture:
    """Return how `run` is drawn."""
    titles = {lane.id: lane.title for lane in run.lanes}
    writers = {lane.id for lane in run.lanes if lane.writes}
    start = _before(run)
    steps = list(_steps(run, titles, writers, start))
    sources = {step.source.name: step.source for step in steps if step.source}
    readers = [title for lane, title in titles.items() if lane not in writers | {"visitor"}]
    return Picture(
        run,
        steps,
        list(sources.values()),
        in_words(start),
        "Readers" if len(readers) > 1 else "Reader",
        "Writers" if len(writers) > 1 else "Writer",
    )


def _before(run: Run) -> Entry:
    """Return what stood under the key at first."""
    case = CASES[run.case]
    return Entry("row", 0) if "cached" in case.words.split() else Entry("nothing")


def _steps(run: Run, titles: dict[str, str], writers: set[str], entry: Entry) -> Iterator[Shown]:
    row: int | None = 0
    for number, frame in enumerate(run.frames, 1):
        side = "cache" if not frame.lane else "writer" if frame.lane in writers else "reader"
        source, line = _code(frame.code)
        yield Shown(
            number,
            frame,
            titles.get(frame.lane, ""),
            side,
            in_words(frame.entry),
            "no row" if frame.row is None else f"row {frame.row}",
            frame.entry != entry,
            frame.row != row,
            source,
            line,
        )
        entry, row = frame.entry, frame.row


def _code(code: Code | None) -> tuple[Source | None, int | None]:
    if code is None:
        return None, None
    try:
        source = source_of(code.function)
    except ValueError:  # the function was renamed after the run was recorded
        return None, None
    return source, source.find(code.line)
