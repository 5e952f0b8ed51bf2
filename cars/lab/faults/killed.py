"""A program that is killed at each step of a save.

`python -m cars.lab.faults.killed [--atomic] [--stride N] VERSION ROW...` forks a process for each
step, or for each Nth. That process saves the next of the rows, and is ended by SIGKILL at that
step: before or after a message to or from a server, a statement or a COMMIT. The last process isn't
killed.
"""

import os
import signal
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import count, cycle
from typing import Any

import django
from django.db import connection, transaction

MOST_STEPS = 500  # there are fewer: more means that the program doesn't see its end


class Steps:
    """Counts the steps of this process, and kills it at step `last`."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.done = 0

    def step(self) -> None:
        """Count one step, or end here."""
        self.done += 1
        if self.done == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, do: Callable[..., Any]) -> Callable[..., Any]:
        """Return `do` with a step before and after it."""

        def stepping(*args: Any, **kwargs: Any) -> Any:
            self.step()
            result = do(*args, **kwargs)
            self.step()
            return result

        return stepping

    def watch(self) -> None:
        """Watch what this process says to servers and its database."""
        sockets: Any = socket.socket
        for name in ("connect", "sendall", "recv"):
            setattr(sockets, name, self.around(getattr(sockets, name)))
        connection.ensure_connection()
        connection.execute_wrappers.append(self._execute)
        private: Any = connection
        private._commit = self.around(private._commit)

    def _execute(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        return self.around(execute)(sql, params, many, context)


def save(row: int, version: int, atomic: bool) -> None:
    """Save the row with this version."""
    from cars.models import Car

    from .database import model_of

    car = Car.objects.get(pk=row)
    car.model = model_of(version)
    if atomic:
        with transaction.atomic():
            car.save()
    else:
        car.save()


def survives(step: int, row: int, version: int, atomic: bool) -> bool:
    """Save in a process that is killed at `step`; return whether the save has fewer steps.

    Raises RuntimeError if the save fails in another way.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            Steps(step).watch()
            save(row, version, atomic)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status):
        raise RuntimeError("the save has failed")
    return True


def main(arguments: list[str]) -> None:
    """Kill a save of the next row at each step."""
    parser = ArgumentParser()
    parser.add_argument("--atomic", action="store_true")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("version", type=int)
    parser.add_argument("rows", type=int, nargs="+")
    options = parser.parse_args(arguments)
    rows = cycle(options.rows)
    for step in count(1, options.stride):
        if step > MOST_STEPS:
            raise RuntimeError(f"a save of more than {MOST_STEPS} steps")
        if survives(step, next(rows), options.version + step, options.atomic):
            return


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1:])
