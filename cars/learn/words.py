"""The words for a step of a run, for a lane, and for what a read was."""

from cars.caching.entries import EXPIRE, Holds, Lease, Row, Seen
from cars.lab.schedules.actors import Actor
from cars.lab.schedules.steps import Step
from cars.lab.schedules.verdicts import Verdict
from cars.lab.schedules.world import World

VISITOR = "visitor"  # who reads once more when all others have ended


def title_of(lane: str) -> str:
    """Return the title of the lane `lane`, for example "Writer 2" for "writer2"."""
    if lane == VISITOR:
        return "Next visitor"
    name = lane.rstrip("0123456789")
    return f"{name} {lane.removeprefix(name)}".strip().capitalize()


def call_of(step: Step) -> str:
    """Return what `step` calls, for example "add lease" or "set row 1"."""
    if step.swap:
        new = step.swap.value
        kinds: dict[type, str] = {Row: "row", Lease: "lease", Holds: "holds"}
        what = "expire" if new is EXPIRE else kinds[type(new)]
        return f"{'add' if step.swap.seen == Seen(None, None) else 'cas'} {what}"
    if step.kind in ("set", "add"):
        if isinstance(step.value, Row):
            return f"{step.kind} row"
        return f"{step.kind} {'None' if step.value is None else f'row {step.value.number}'}"
    return str(step)


def sentence_of(world: World, actor: Actor, title: str) -> str:
    """Return what the last read of `actor`, in the lane with this title, was shown."""
    committed, number = world.committed, actor.last_read
    who = title if title[-1].isdigit() else f"The {title.lower()}"
    if world.verdict is Verdict.RIGHT:
        return f"{who} is shown {number}, the committed row."
    if world.verdict is Verdict.DIRTY:
        return f"{who} is shown {number}, which is not committed."
    newer = "the row is deleted" if committed is None else f"{committed} is committed"
    text = f"{who} is shown {number}, although {newer}."
    if world.verdict is Verdict.EXCUSED:
        why = "the entry was lost while a write was open"
        if world.has_unseen_write():
            why = "the cache was not told of this write"
        elif world.is_out_of_reach(actor):
            why = "its process has not looked yet at what is owed"
        text += f" This is a listed exception: {why}."
    return text
