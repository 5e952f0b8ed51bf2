"""What the pruning asks of a world: its state, and what its steps read and write.

Steps touch the "cache" (the entry), the "row" (the committed one), its "lock", and actors, by their
names. What a step touches is a pair of sets: what it reads, and what it writes.
"""

from collections.abc import Iterable, Set
from typing import NamedTuple

from cars.caching.entries import State
from cars.lab.schedules.actors import Actor
from cars.lab.schedules.steps import WRITES, Step
from cars.lab.schedules.world import World

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
    actors = tuple(_state_of(actor, world.token) for actor in world.actors)
    return world.committed, world.lock, world.entry, frozenset(world.faults_left), actors


def _state_of(actor: Actor, token: object) -> tuple[object, ...] | None:
    if actor.dead:
        return ("dead", actor.committed)
    if not actor.pending:
        return None
    # A token that isn't the entry's now can't become it again: each write makes a new one.
    seen = tuple(
        (item[1], item[2] is None or item[2] is token) if item[0] == "gets" else item
        for item in actor.seen
    )
    return (actor.begun, actor.committed, str(actor.pending), seen)


def next_step(world: World, name: str) -> Touched:
    """Return what the step `name`, an actor's next one or a fault, touches."""
    if name == "lost":
        return Touched(writes={"cache"})
    if name == "later":
        return _later(world)
    if name.startswith("kill "):
        return Touched(writes={name[5:], "kill"})
    actor = world.by_name[name]
    step = _step(world, actor, actor.pending) if actor.pending else NOTHING
    return Touched({*step.reads, *_twin(world, actor)}, {*step.writes, name})


def _step(world: World, actor: Actor, step: Step) -> Touched:
    if step.kind in ("get", "gets"):
        return Touched(reads=_read_by_get(world))
    if step.swap:
        token = step.swap.seen.token
        if token is None:
            return Touched(reads={"cache"}) if world.entry else Touched(writes={"cache"})
        return Touched(writes={"cache"}) if token is world.token else NOTHING
    if step.kind == "add":
        return Touched(reads={"cache"}) if world.entry else Touched(writes={"cache"})
    if step.kind in ("set", "delete"):
        return Touched(writes={"cache"})
    if step.kind == "SELECT":
        # If it doesn't fill, its rows go to the caller alone, and are right whatever they are.
        return Touched(reads={"row"}) if step.fills else NOTHING
    if step.kind == "BEGIN" or (step.kind in WRITES and step.atomic):
        return Touched(reads={"row"}, writes={"lock"})
    if step.kind in WRITES:
        return Touched(reads={"lock"}, writes={"row"})
    if not world.owns_lock(actor):
        return NOTHING
    return Touched(writes={"lock", "row"} if step.kind == "COMMIT" else {"lock"})


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
            if world.words[actor.name] != "read":
                writes |= {"row", "lock"}
            touched[actor.name] = Touched(reads, writes)
    if "lost" in world.faults_left:
        touched["lost"] = Touched(writes={"cache"})
    if "later" in world.faults_left:
        touched["later"] = _later(world)
    if "killed" in world.faults_left:
        touched["kill"] = Touched(writes={actor.name for actor in world.writers if actor.pending})
    return touched
