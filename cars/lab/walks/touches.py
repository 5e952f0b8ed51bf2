"""What the pruning asks of a world: its state, and what its steps read and write.

They can touch the "cache" (the entry), the "row" (what is committed), its "lock", and an actor,
by its name. What a step touches is given as two sets: what it reads, and what it writes.
"""

from cars.lab.schedules.steps import WRITES

NOTHING = (frozenset(), frozenset())


def meet(one, other):
    """Does either of two write what the other one touches? Else their order makes no odds."""
    (reads, writes), (its_reads, its_writes) = one, other
    return bool(writes & (its_reads | its_writes) or its_writes & reads)


def state(world):
    """Return all that what comes next can depend on."""
    actors = tuple(_state_of(actor, world.token) for actor in world.actors)
    return world.committed, world.lock, world.entry, frozenset(world.left), actors


def _state_of(actor, token):
    if actor.dead:
        return ("dead", actor.committed)
    if not actor.pending:
        return None
    # A token that isn't the entry's can never be again: each write makes a new one.
    seen = tuple(
        (item[1], item[2] is None or item[2] is token) if item[0] == "gets" else item
        for item in actor.seen
    )
    return (actor.begun, actor.committed, str(actor.pending), seen)


def next_step(world, name):
    """Return what the next step of `name` touches."""
    if name == "lost":
        return frozenset(), frozenset({"cache"})
    if name.startswith("kill "):
        return frozenset(), frozenset({name[5:], "kill"})
    actor = world.by_name[name]
    reads, writes = _step(world, actor, actor.pending)
    return frozenset({*reads, *_twin(world, actor)}), frozenset({*writes, name})


def _step(world, actor, step):
    if step.kind in ("get", "gets"):
        if not world.entry or world.entry[0] != "row":
            return {"cache"}, {}
        if world.entry[1] == world.committed:
            return {"cache", "row"}, {}  # a hit is compared with the committed row
        return {"cache", "row", *world.by_name}, {}  # and may be excused by who is at what
    if step.kind == "cas":
        token = step.swap.seen.token
        if token is None:
            return ({"cache"}, {}) if world.entry else ({}, {"cache"})
        return ({}, {"cache"}) if token is world.token else ({}, {})
    if step.kind in ("set", "delete"):
        return {}, {"cache"}
    if step.kind == "SELECT":
        # What doesn't fill goes to the caller alone, and is right whatever it is.
        return ({"row"} if step.fills else {}), {}
    if step.kind == "BEGIN" or (step.kind in WRITES and step.atomic):
        return {"row"}, {"lock"}
    if step.kind in WRITES:
        return {"lock"}, {"row"}
    if not world.owns_lock(actor):
        return {}, {}
    return {}, ({"lock", "row"} if step.kind == "COMMIT" else {"lock"})


def _twin(world, actor):
    twin = world.twin(actor)
    return [twin.name] if twin else []


def ever(world):
    """Return, by name, what those who may still act can touch now or later."""
    touched = {}
    committed = [actor.name for actor in world.writers if actor.committed]
    for actor in world.actors:
        if actor.pending and not actor.dead:
            reads = {"row", *_twin(world, actor), *(committed if world.case.faults else ())}
            writes = {"cache", actor.name}
            if world.words[actor.name] != "read":
                writes |= {"row", "lock"}
            touched[actor.name] = (reads, writes)
    if "lost" in world.left:
        touched["lost"] = (set(), {"cache"})
    if "killed" in world.left:
        touched["kill"] = (set(), {actor.name for actor in world.writers if actor.pending})
    return touched
