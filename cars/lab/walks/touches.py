"""What the pruning asks of a world: its state, and what its steps read and write.

Steps touch the "cache" (the entry), the "row" (the committed one), its "lock", what is "owed" (the
committed records), the "link of" each actor to the cache, and actors, by their names. What a step
touches is a pair of sets: what it reads, and what it writes.
"""

from collections.abc import Iterable, Set
from typing import NamedTuple

from cars.caching.entries import State
from cars.lab.schedules.actors import Actor
from cars.lab.schedules.steps import WRITES, Step
from cars.lab.schedules.world import FAILS, World

CALLS = {"get", "gets", "cas", "add", "set", "delete"}  # of the cache
NONE: frozenset[str] = frozenset()


class Touched(NamedTuple):
    """What a step, or all that an actor can still do, reads and writes."""

    reads: Set[str] = NONE
    writes: Set[str] = NONE


NOTHING = Touched()


def conflict(one: Touched, other: Touched) -> bool:
    """Does either write what the other one touches? If not, their order doesn't matter."""
    return not (
        one.writes.isdisjoint(other.reads)
        and one.writes.isdisjoint(other.writes)
        and one.reads.isdisjoint(other.writes)
    )


def state(world: World) -> tuple[object, ...]:
    """Return everything that the steps to come can depend on."""
    actors = tuple(_state_of(actor, world.stamp) for actor in world.actors)
    faults = (frozenset(world.faults_left), world.silent)
    records = tuple(world.records.values())
    return world.committed, world.lock, world.entry, faults, records, actors


def _state_of(actor: Actor, token: object) -> tuple[object, ...]:
    if actor.dead:
        return ("dead", actor.committed, actor.lost)
    if not actor.pending:
        return ("ended", actor.lost)
    # A token that isn't the entry's now can't become it again: each write makes a new one. One that
    # was seen over another connection can't be swapped.
    link = actor.link
    seen = tuple(
        (item[1], item[2] is None or (item[2] is token and link.has_seen(token)))
        if item[0] == "gets"
        else item
        for item in actor.seen
    )
    knows = (
        link.broken,
        min(link.unanswered, 2),
        actor.unheld,
        actor.lost,
        frozenset(actor.unaware),
    )
    return (actor.begun, actor.committed, str(actor.pending), seen, knows)


def next_step(world: World, name: str) -> Touched:
    """Return what the step `name`, an actor's next one or a fault, touches."""
    if name == "lost":
        return Touched(writes={"cache"})
    if name == "later":
        return _later(world)
    if name.startswith("kill "):
        return Touched(writes={name[5:], "kill"})
    if name == "restart":
        return _restart(world)
    how, _, name = name.rpartition(" ")
    actor = world.by_name[name]
    step = _step(world, actor, actor.pending) if actor.pending else NOTHING
    if how == FAILS:
        step = NOTHING
    begins = {"no-answer"} if how and not world.silent else NONE
    return Touched(
        {*step.reads, *_twin(world, actor), *_link(actor)}, {*step.writes, name, *begins}
    )


def _step(world: World, actor: Actor, step: Step) -> Touched:
    if step.owed:
        return _on_records(world, step)
    if actor.link.broken and step.kind in CALLS:
        return NOTHING
    if step.kind in ("get", "gets"):
        return Touched(reads=_read_by_get(world))
    if step.swap:
        stamp = step.swap.seen.stamp
        if stamp is None:
            return Touched(reads={"cache"}) if world.entry else Touched(writes={"cache"})
        return Touched(writes={"cache"}) if stamp is world.stamp else NOTHING
    if step.kind == "add":
        return Touched(reads={"cache"}) if world.entry else Touched(writes={"cache"})
    if step.kind in ("set", "delete"):
        return Touched(writes={"cache"})
    if step.kind == "SELECT":
        # If it doesn't fill, its rows go to the caller alone, and are right whatever they are.
        return Touched(reads={"row"}) if step.fills else NOTHING
    # A write that becomes visible decides what those who looked before it can't know.
    records = {"owed"} if world.owes else NONE
    if step.kind == "BEGIN" or (step.kind in WRITES and step.atomic):
        return Touched(reads={"row"}, writes={"lock"})
    if step.kind in WRITES:
        return Touched(reads={"lock"}, writes={"row", *records})
    if step.kind != "COMMIT":
        return Touched(writes={"lock"}) if world.owns_lock(actor) else NOTHING
    return Touched(writes={"lock", "row", *records} if world.owns_lock(actor) else records)


def _on_records(world: World, step: Step) -> Touched:
    """What a statement on the records of what is owed touches."""
    if step.kind == "SELECT":  # which are due depends on who was killed
        killed = {writer.name for writer in world.writers} if "killed" in world.case.faults else ()
        return Touched(reads={"owed", *killed})
    # In a transaction no other actor sees it before the COMMIT.
    return NOTHING if step.atomic else Touched(reads={"lock"}, writes={"owed"})


def _restart(world: World) -> Touched:
    return Touched(writes={"cache", *(f"link of {actor.name}" for actor in world.actors)})


def _link(actor: Actor) -> Iterable[str]:
    step = actor.pending
    return [f"link of {actor.name}"] if step and step.kind in CALLS else []


def _later(world: World) -> Touched:
    """The entry can end when no writer is alive, if it is holds."""
    return Touched(reads={actor.name for actor in world.writers}, writes={"cache"})


def _read_by_get(world: World) -> Set[str]:
    if not world.entry or world.entry.state is not State.ROW:
        return {"cache"}
    if world.entry.number == world.committed:
        return {"cache", "row"}  # a hit is compared with the committed row
    # A stale hit may be excused, which depends on how far each actor is.
    return {"cache", "row", *world.by_name}


def _twin(world: World, actor: Actor) -> Iterable[str]:
    twin = world.twin(actor)
    return [twin.name] if twin else []


def still_touched(world: World) -> dict[str, Touched]:
    """Return, by name, what each actor and each fault can touch from now on."""
    touched = {}
    committed = [actor.name for actor in world.writers if actor.committed]
    for actor in world.actors:
        if actor.pending and not actor.dead:
            reads = {"row", *_twin(world, actor), *(committed if world.case.faults else ())}
            writes = {"cache", actor.name}
            if world.owes:
                reads |= {"owed", f"link of {actor.name}"}
                writes |= {"owed"}
            if world.words[actor.name] != "read":
                writes |= {"row", "lock"}
            touched[actor.name] = Touched(reads, writes)
    if "lost" in world.faults_left:
        touched["lost"] = Touched(writes={"cache"})
    if "later" in world.faults_left:
        touched["later"] = _later(world)
    if "killed" in world.faults_left:
        touched["kill"] = Touched(writes={actor.name for actor in world.writers if actor.pending})
    if "restart" in world.faults_left:
        touched["restart"] = _restart(world)
    if "no-answer" in world.faults_left or world.silent:
        # In place of an actor's next step, its call can get no answer.
        failing = {actor.name for actor in world.actors if world.can_fail(actor)}
        touched["no-answer"] = Touched(writes={"no-answer", *failing})
    return touched
