"""The processes of the contestants. They work in turns: one works, the others wait."""

import multiprocessing
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .contestants import CONTESTANTS, This
from .floors import FLOORS

ROOT = Path(__file__).resolve().parent.parent
ENVIRON = {
    "DJANGO_SETTINGS_MODULE": "carsite.settings",
    "DJANGO_DEBUG": "off",  # debug stores every query
    "DJANGO_SECRET_KEY": "nothing is signed here",
    "DJANGO_ALLOWED_HOSTS": "localhost,127.0.0.1",
    "DJANGO_HTTPS": "off",
}

context = multiprocessing.get_context("spawn")


class Process:
    """A process that runs the methods of `work.Work` for one contestant or floor."""

    def __init__(self, prepare: Callable[..., Any], *task: Any) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(other, prepare, task), daemon=True, name=str(task[0])
        )
        self.process.start()
        other.close()

    def do(self, method: str, *arguments: Any) -> Any:
        """Run a method of its `work.Work`, and return the result.

        Raises RuntimeError, with its traceback, if the method raises.
        """
        try:
            self.pipe.send((method, arguments))
            result, error = self.pipe.recv()
        except (EOFError, BrokenPipeError):
            raise RuntimeError(f"the process of {self.process.name!r} ended") from None
        if error:
            raise RuntimeError(f"{self.process.name!r} failed:\n{error}")
        return result

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()


def contestant(title: str, database_url: str, server: str) -> Process:
    """Start a contestant, whose server is at host:port."""
    return Process(_contestant, title, database_url, server)


def floor(title: str, server: str, keys: dict[int, str]) -> Process:
    """Start a floor, which gets `keys`, by pk, from the server at host:port."""
    return Process(_floor, title, server, keys)


def checkout(title: str, folder: Path, database_url: str, server: str) -> Process:
    """Start the recipe of the checkout in `folder`, whose Memcached is at host:port."""
    return Process(_checkout, title, folder, database_url, server)


def manage(folder: Path, database_url: str, *command: str, **environ: str) -> None:
    """Run a command of the manage.py in `folder`; raises RuntimeError if it fails."""
    done = subprocess.run(
        # The checks would refuse the cache: without debug it must not be in local memory.
        [sys.executable, folder / "manage.py", *command, "--skip-checks"],
        env={**os.environ, **ENVIRON, "DATABASE_URL": database_url, **environ},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"manage.py {command[0]} ended with status {done.returncode}")


# What runs in the process


def _serve(pipe: Connection, prepare: Callable[..., Any], task: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one
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

    from carsite.environment import database

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


def _checkout(title: str, folder: Path, database_url: str, server: str) -> Any:
    os.environ.update(ENVIRON, DATABASE_URL=database_url, MEMCACHED_SERVERS=server)
    # The site is imported from the folder. `benchmarks` is imported already, from this checkout:
    # both are timed by the same code, through the public methods alone.
    sys.path.insert(0, str(folder))
    import django

    django.setup()
    from cars import models

    if not Path(models.__file__).is_relative_to(folder):
        raise RuntimeError(f"{models.__file__} is not in {folder}: not the checkout to be timed")
    from .work import Work

    return Work(This(models.Car))


def _floor(title: str, server: str, keys: dict[int, str]) -> Any:
    from .work import Work

    return Work(FLOORS[title](server, keys))
