"""Walks over the schedules of a case: all of them, many at random, or one again.

A schedule is a number: at each step its remainder by the number of possible choices says which one
is taken, and the quotient is the rest of the schedule.

`walk_all` leaves out schedules in four ways. Each keeps every hit and every state at rest (the
first three: Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996).

States: if a state was reached before, what can happen after it has been seen. A state is the
committed row, which transaction has it locked, what stands in the cache, which faults are left, and
what each actor has got from its steps. The actors' clock and tokens are determined, so all that
they do next follows from the state; so does what a transaction has written and not committed. The
state leaves out what an actor can't know any more: everything at its end; what a function of
`protocol` that returns nothing has seen; what it saw before it slept, since it will look again.

Sleep sets: if two steps touch different things, their order doesn't matter, so only one order is
taken.

Single steps: if a step touches nothing that any other actor can still touch, it is the only one
taken from its state. A SELECT that fills nothing is such a step: the row goes to its reader alone,
and is right by itself.

Twins: of two actors with the same program the first one begins first; they differ in name only.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from random import Random

from cars.lab.schedules.world import World

from . import touches
from .rules import switched_off
from .touches import Touched, conflict

Choice = tuple[int, int]  # which of the possible choices was taken, and how many there were


@dataclass
class Findings:
    """What a walk has found: how much was walked, and one schedule for each kind of problem."""

    case: str
    schedules: int = 0
    states: int = 0
    steps: int = 0
    # By kind of problem: the schedule's number and its steps.
    wrong: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    rule: str | None = field(default_factory=switched_off)  # the walk was without this rule

    def __str__(self) -> str:
        name = f"{self.case}, without {self.rule!r}" if self.rule else self.case
        walked = f"{self.schedules:,} schedules, {self.steps:,} steps"
        walked += f", {self.states:,} states" if self.states else ""
        return f"{name}: {walked}: {', '.join(self.wrong) or 'never stale'}"

    def explain(self) -> str:
        """Return the steps to each problem, and the command that runs them again."""
        command = f"manage.py interleavings --case '{self.case}'"
        if self.rule:
            command += f" --without '{self.rule}'"
        lines = []
        for kind, (number, steps) in self.wrong.items():
            lines += [f"{kind}: {command} --replay {number}"]
            lines += [f"    {step}" for step in steps]
        return "\n".join(lines)

    def note(self, world: World, path: Sequence[Choice]) -> None:
        """Note a run, whole or as far as it was new."""
        self.schedules += 1
        for kind in world.problems:
            if kind not in self.wrong:
                self.wrong[kind] = (number_of(path), list(world.steps))


Progress = Callable[[], object]  # called after each schedule
Enough = Callable[[Findings], object]  # a walk ends when it returns something true


def number_of(path: Sequence[Choice]) -> int:
    """Return the number of a schedule."""
    number = 0
    for taken, able in reversed(path):
        number = number * able + taken
    return number


def run(world: World, number: int) -> tuple[Choice, ...]:
    """Run the schedule `number`, and return its path."""
    path = []
    world.start()
    while able := world.able:
        number, taken = divmod(number, len(able))
        path.append((taken, len(able)))
        world.take(able[taken])
    return tuple(path)


def replay(world: World, number: int) -> Findings:
    """Run the schedule `number` and return what was found."""
    path = run(world, number)
    findings = Findings(world.case.name, steps=len(path))
    findings.note(world, path)
    return findings


def walk_some(
    world: World,
    schedules: int,
    seed: int = 0,
    progress: Progress | None = None,
    enough: Enough | None = None,
) -> Findings:
    """Run `schedules` different schedules, chosen at random; `enough(findings)` ends it early.

    There are fewer in a small case, where the random numbers lead to the same schedules again.
    """
    findings = Findings(world.case.name)
    random = Random(seed)
    ran: set[tuple[Choice, ...]] = set()
    for _ in range(2 * schedules):
        if len(ran) == schedules or (enough and enough(findings)):
            break
        path = run(world, random.getrandbits(128))
        if path not in ran:
            ran.add(path)
            findings.steps += len(path)
            findings.note(world, path)
            if progress:
                progress()
    return findings


@dataclass
class _Node:
    """A state on the path: which steps are still to be tried from it, and which need not be."""

    able: list[str]
    todo: list[str]
    asleep: set[str]
    touched: dict[str, Touched]
    taken: str = ""

    def next(self) -> str:
        """Return the step to take from here now."""
        if self.taken:
            self.asleep.add(self.taken)
        self.taken = self.todo.pop()
        return self.taken

    def asleep_after(self) -> set[str]:
        """Return the steps not to be tried after the one taken: their order doesn't matter."""
        taken = self.touched[self.taken]
        return {name for name in self.asleep if not conflict(self.touched[name], taken)}

    def choice(self) -> Choice:
        return self.able.index(self.taken), len(self.able)


Visited = dict[Hashable, frozenset[str]]  # by state: the steps that were asleep at each visit


def walk_all(
    world: World,
    progress: Progress | None = None,
    enough: Enough | None = None,
    prune: bool = True,
) -> Findings:
    """Run a schedule for every outcome; `enough(findings)` ends it early.

    Without `prune`, run every schedule there is.
    """
    findings = Findings(world.case.name)
    visited: Visited | None = {} if prune else None
    path: list[_Node] = []
    asleep: set[str] = set()
    world.start()
    while True:
        if node := _visit(world, visited, asleep):
            path.append(node)
        else:
            findings.note(world, [node.choice() for node in path])
            if progress:
                progress()
            while path and not path[-1].todo:
                path.pop()
            if not path or (enough and enough(findings)):
                break
            world.start()
            for earlier in path[:-1]:
                world.take(earlier.taken)
                findings.steps += 1
        world.take(path[-1].next())
        findings.steps += 1
        asleep = path[-1].asleep_after()
    findings.states = len(visited or ())
    return findings


def _visit(world: World, visited: Visited | None, asleep: set[str]) -> _Node | None:
    """Return the node of this state; None if nothing new can be found from it."""
    able = world.able
    if visited is None:
        return (
            _Node(able, able[::-1], set(), dict.fromkeys(able, touches.NOTHING)) if able else None
        )
    state = touches.state(world)
    if state in visited:
        todo = [name for name in able if name in visited[state] and name not in asleep]
        visited[state] = visited[state] & asleep
    else:
        todo = [name for name in _alone(world, able) if name not in asleep]
        visited[state] = frozenset(asleep)
    if not todo:
        return None
    return _Node(
        able,
        todo[::-1],
        asleep & set(able),
        {name: touches.next_step(world, name) for name in able},
    )


def _alone(world: World, able: list[str]) -> list[str]:
    """Return one step that touches nothing that others can still touch; if there is none, all."""
    later = touches.still_touched(world)
    for name in able:
        touched = touches.next_step(world, name)
        if not any(conflict(touched, other) for by, other in later.items() if by != name):
            return [name]
    return able
