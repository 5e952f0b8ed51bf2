"""A run as data: who did what, what it returned, and what stood in the cache afterwards.

A run is made by `stage`, kept as JSON by `recorded` and shown by the pages.
"""

from msgspec import Struct


class Lane(Struct, frozen=True):
    """A reader or a writer: `id` stands for it in schedules and URLs, for example "writer2"."""

    id: str
    title: str
    writes: bool


class Entry(Struct, frozen=True, omit_defaults=True):
    """What stands under the key: nothing, a row, None, a lease or holds."""

    state: str
    number: int | None = None  # of a row
    owners: tuple[str, ...] = ()  # titles of the lanes that have a lease or a hold there


class Code(Struct, frozen=True):
    """A line of source code, and the dotted name of the function that it is in."""

    function: str
    line: str


class Frame(Struct, frozen=True, omit_defaults=True):
    """One step, and how things stand after it."""

    lane: str  # the id of the lane; "" for what happens to the cache
    call: str  # what was called
    entry: Entry
    row: int | None  # the number in the committed row; None if there is no row
    target: str = ""  # "cache" or "database"
    result: str = ""  # what it returned
    writing: str = ""  # the title of the lane that has written and not yet committed
    verdict: str = ""  # of a read of the cache: right, stale, dirty or excused
    sentence: str = ""  # what the verdict means
    code: Code | None = None


class Choice(Struct, frozen=True):
    """A step that can be taken next: `id` stands for it in schedules and URLs."""

    id: str
    who: str
    call: str


class Run(Struct, frozen=True, omit_defaults=True):
    """A run, as far as its schedule goes."""

    recipe: str
    case: str
    lanes: tuple[Lane, ...]
    steps: tuple[str, ...]  # the schedule: ids of choices
    frames: tuple[Frame, ...]
    choices: tuple[Choice, ...] = ()  # none when the run has ended
    without: str = ""  # the rule that was switched off
    database: str = ""  # "sqlite" or "postgresql"

    @property
    def wrong(self) -> Frame | None:
        """The first frame with a read that is stale or dirty, excused or not."""
        return next((frame for frame in self.frames if frame.verdict not in ("", "right")), None)


def in_words(entry: Entry) -> str:
    """Return what stands under a key in words, for example "holds of writer 1"."""
    if entry.state == "row":
        return f"row {entry.number}"
    owners = " and ".join(owner.lower() for owner in entry.owners)
    return f"{entry.state} of {owners}" if owners else entry.state
