"""Walks over the schedules of a case: all of them, many at random, or one again.

A schedule is a number: at each step its remainder by the number of those who may go on says who
does, and the quotient is the rest of the schedule.

`walk_all` leaves out schedules in four ways, each of which keeps every hit and every end (the
first three: Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996):

States: what can happen after a state that was there before has been seen then. A state is the
committed row, who has it locked, what stands in the cache, which faults are left, and what each
thread has got from its steps. The threads' clock and tokens being determined, what they do next
follows from that, and so does what a transaction has written and not committed. Left out of it is
what no thread can know any more: all of one at its end; what a function of `protocol` that returns
nothing has seen; what was seen before it slept, to look again.

Sleep sets: of two steps that don't touch the same thing, only one order is taken.

Single steps: one that touches nothing that anybody else can still touch is taken alone. A SELECT
that fills nothing is such a one: what it finds goes to the reader, and is right by itself.

Twins: of two actors with the same program the first one begins first; they differ in name only.
"""

from dataclasses import dataclass, field
from random import Random

from . import touches
from .touches import meet


@dataclass
class Findings:
    """What a walk has found: how much was walked, and one schedule for each kind of problem."""

    case: str
    schedules: int = 0
    states: int = 0
    steps: int = 0
    wrong: dict = field(default_factory=dict)  # by kind: the schedule's number and its steps

    def __str__(self):
        walked = f"{self.schedules:,} schedules, {self.steps:,} steps"
        walked += f", {self.states:,} states" if self.states else ""
        return f"{self.case}: {walked}: {', '.join(self.wrong) or 'never stale'}"

    def explain(self):
        """Return the steps to each problem, and how to see them again."""
        lines = []
        for kind, (number, steps) in self.wrong.items():
            lines += [f"{kind}: manage.py interleavings --case '{self.case}' --replay {number}"]
            lines += [f"    {step}" for step in steps]
        return "\n".join(lines)

    def note(self, world, path):
        """Note a run, whole or as far as it was new."""
        self.schedules += 1
        for kind in world.problems:
            if kind not in self.wrong:
                self.wrong[kind] = (number_of(path), list(world.steps))


def number_of(path):
    """Return the number of a schedule: `path` says which of how many was taken at each step."""
    number = 0
    for taken, able in reversed(path):
        number = number * able + taken
    return number


def run(world, number):
    """Run the schedule `number`, and return its path."""
    path = []
    world.start()
    while able := world.able:
        number, taken = divmod(number, len(able))
        path.append((taken, len(able)))
        world.take(able[taken])
    return tuple(path)


def replay(world, number):
    """Run the schedule `number` and return what was found."""
    path = run(world, number)
    findings = Findings(world.case.name, steps=len(path))
    findings.note(world, path)
    return findings


def walk_some(world, schedules, seed=0, progress=None, enough=None):
    """Run so many different schedules, chosen at random; `enough(findings)` can end it before."""
    findings = Findings(world.case.name)
    random, ran = Random(seed), set()
    for _ in range(2 * schedules):  # the same ones come again, in a small case
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
    """A state on the way: what is to be tried from it, and what needn't be any more."""

    able: list
    todo: list
    asleep: set
    touched: dict
    taken: str = ""

    def next(self):
        """Return who goes on from here now."""
        if self.taken:
            self.asleep.add(self.taken)
        self.taken = self.todo.pop()
        return self.taken

    def asleep_after(self):
        """Return who needn't be tried after that step: it makes no odds who of them was first."""
        mine = self.touched[self.taken]
        return {name for name in self.asleep if not meet(self.touched[name], mine)}

    def step(self):
        return self.able.index(self.taken), len(self.able)


def walk_all(world, progress=None, enough=None, prune=True):
    """Run a schedule for every outcome; `enough(findings)` can end it before.

    Without `prune`, run all there are.
    """
    findings = Findings(world.case.name)
    seen = {} if prune else None
    way = []
    world.start()
    asleep = set()
    while True:
        if node := _visit(world, seen, asleep):
            way.append(node)
        else:
            findings.note(world, [node.step() for node in way])
            if progress:
                progress()
            while way and not way[-1].todo:
                way.pop()
            if not way or (enough and enough(findings)):
                break
            world.start()
            for earlier in way[:-1]:
                world.take(earlier.taken)
                findings.steps += 1
        world.take(way[-1].next())
        findings.steps += 1
        asleep = way[-1].asleep_after()
    findings.states = len(seen or ())
    return findings


def _visit(world, seen, asleep):
    """Return where to go on from this state, if there is anything new to be found from it."""
    able = world.able
    if seen is None:
        return able and _Node(able, able[::-1], set(), dict.fromkeys(able, touches.NOTHING))
    state = touches.state(world)
    if state in seen:
        todo = [name for name in able if name in seen[state] and name not in asleep]
        seen[state] = seen[state] & asleep
    else:
        todo = [name for name in _alone(world, able) if name not in asleep]
        seen[state] = frozenset(asleep)
    if not todo:
        return None
    return _Node(
        able,
        todo[::-1],
        asleep & set(able),
        {name: touches.next_step(world, name) for name in able},
    )


def _alone(world, able):
    """Return one who touches nothing that anybody else can still touch, or all."""
    others = touches.ever(world)
    for name in able:
        mine = touches.next_step(world, name)
        if not any(meet(mine, its) for other, its in others.items() if other != name):
            return [name]
    return able
