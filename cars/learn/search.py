"""Schedules that end in a stale or dirty read. See `cars.learn` for where this may run."""

import time
from collections import deque
from collections.abc import Sequence

from cars.lab.walks.touches import state
from cars.lab.walks.walk import walk_all

from .stage import Stage


class TooLong(Exception):
    """The search was given up before it was complete."""


def shortest(
    stage: Stage, start: Sequence[str] = (), seconds: float | None = None, states: int | None = None
) -> tuple[str, ...] | None:
    """Return the shortest schedule that begins with `start` and goes wrong; None if none does.

    Raises TooLong after `seconds`, or when it has looked at more than `states`, and NotPossible for
    a `start` that can't be played.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    seen: set[object] = set()
    queue = deque([tuple(start)])
    while queue:
        if (deadline and time.monotonic() > deadline) or (states and len(seen) > states):
            raise TooLong
        path = queue.popleft()
        stage.replay(path)
        if stage.world.problems:
            return path
        reached = state(stage.world)
        if reached not in seen:
            seen.add(reached)
            queue += [(*path, choice.id) for choice in stage.choices()]
    return None


def some(stage: Stage) -> tuple[str, ...] | None:
    """Return the first schedule that a walk finds to go wrong, not the shortest; None if none does.

    It must not have a BEGIN, which a walk takes by itself and `Stage.take` doesn't.
    """
    world = stage.world
    found = walk_all(world, enough=lambda findings: findings.wrong).wrong
    if not found:
        return None
    number, _ = next(iter(found.values()))
    steps = []
    world.start()
    while world.able and not world.problems:
        number, taken = divmod(number, len(world.able))
        step = list(stage.choices())[taken].id
        steps.append(step)
        stage.take(step)
    return tuple(steps)
