"""The processes of the contestants, which work in turns: whoever isn't called waits."""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from .contestants import CONTESTANTS
from .floors import FLOORS

ENVIRON = {
    "DJANGO_SETTINGS_MODULE": "carsite.settings",
    "DJANGO_DEBUG": "off",  # it keeps every query
    "DJANGO_SECRET_KEY": "nothing is signed here",
    "DJANGO_ALLOWED_HOSTS": "localhost,127.0.0.1",
}

context = multiprocessing.get_context("spawn")


class Process:
    """A process that does what `work.Work` can, for one contestant or floor."""

    def __init__(self, prepare: Callable[..., Any], *task: Any) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(other, prepare, task), daemon=True, name=str(task[0])
        )
        self.process.start()
        other.close()

    def do(self, method: str, *arguments: Any) -> Any:
        """Have it do something, and return what comes of it.

        Raises RuntimeError, with its traceback, if it fails.
        """
        try:
            self.pipe.send((method, arguments))
            result, error = self.pipe.recv()
        except (EOFError, BrokenPipeError):
            raise RuntimeError(f"the process of {self.process.name!r} has ended") from None
        if error:
            raise RuntimeError(f"{self.process.name!r} has failed:\n{error}")
        return result

    def end(self) -> None:
        """Stop it."""
        self.process.kill()
        self.process.join()


def contestant(title: str, database_url: str, server: str) -> Process:
    """Start a contestant, with its server at host:port."""
    return Process(_contestant, title, database_url, server)


def floor(title: str, server: str, keys: dict[int, str]) -> Process:
    """Start a floor, which gets `keys` (by pk) from the server at host:port."""
    return Process(_floor, title, server, keys)


# What runs in the process


def _serve(pipe: Connection, prepare: Callable[..., Any], task: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
    worker = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            worker = worker or prepare(*task)
            answer = getattr(worker, method)(*arguments), None
        except Exception:
            answer = None, traceback.format_exc()
        pipe.send(answer)


def _contestant(title: str, database_url: str, server: str) -> Any:
    os.environ.update(ENVIRON)
    import django
    from django.conf import settings

    from carsite.settings import database

    chosen = CONTESTANTS[title]
    settings.configure(
        DATABASES={"default": database(database_url)},
        INSTALLED_APPS=[*chosen.apps, "benchmarks"],
        BENCHMARKS_MANAGER=chosen.manager,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        **chosen.settings(server),
    )
    django.setup()
    from .models import Car
    from .work import Work

    return Work(chosen(Car))


def _floor(title: str, server: str, keys: dict[int, str]) -> Any:
    from .work import Work

    return Work(FLOORS[title](server, keys))
