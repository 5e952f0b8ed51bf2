"""The site under other web servers, without a fault: is a read ever wrong?"""

import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cars.lab import servers

from .database import Database
from .history import History
from .rest import AFTER, look_at_rest
from .stage import stage
from .visitors import crowd

PACKAGES = ["uwsgi==2.0.31", "gevent==26.9.0"]
PAUSE = 0.01  # seconds between two saves
PATIENCE = 600  # seconds that a run lasts, at most

# By what the documentation calls it: the command, with the folder that PACKAGES are in.
SERVING: dict[str, Callable[[Path], list[str]]] = {
    "uWSGI, 2 processes without threads": lambda folder: [
        *(str(folder / "bin" / "uwsgi"), "--http-socket", servers.SOCKET),
        *("--module", "carsite.wsgi", "--master", "--processes", "2", "--need-app"),
        *("--pythonpath", sysconfig.get_path("purelib"), "--die-on-term", "--disable-logging"),
    ],
    "gunicorn --preload, 2 processes with 4 threads": lambda folder: servers.gunicorn(
        "--preload", "--workers", "2", "--threads", "4"
    ),
    "gunicorn with 2 gevent workers": lambda folder: servers.gunicorn(
        "--worker-class", "gevent", "--workers", "2"
    ),
}


@dataclass(frozen=True)
class Served:
    """What one run has counted."""

    server: str
    vendor: str
    reads: int  # of rows
    hits: float  # the share of pages of one row that were hits
    writes: int
    errors: int  # requests with a status of 500 or more, or without an answer
    stale: int
    dirty: int
    at_rest: int
    lost: int

    @property
    def wrong(self) -> int:
        """How many reads and writes were wrong."""
        return self.errors + self.stale + self.dirty + self.at_rest + self.lost


def install(folder: Path) -> None:
    """Install PACKAGES into a folder; raise RuntimeError if that fails (uWSGI needs a compiler)."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--target", str(folder), *PACKAGES]).returncode:
        raise RuntimeError(f"pip could not install {' and '.join(PACKAGES)}")


def serve(
    server: str,
    folder: Path,
    database: Database,
    reads: int = 10_000,
    writes: int = 500,
    tell: Callable[[int, int], object] = lambda reads, writes: None,
) -> Served:
    """Serve the site by `server`, one of SERVING, until there are so many reads and writes.

    `tell` is called with the numbers so far. Raises RuntimeError if the site doesn't answer, or
    there are less within PATIENCE.
    """
    command = SERVING[server](folder)
    with stage(database, command=command, path=str(folder)) as on:
        history = History(database.versions(), time.monotonic())
        visitors, readers, watcher = crowd(on.port, history, database)
        visitors.editor.pause = PAUSE
        deadline = time.monotonic() + PATIENCE
        with visitors.at_work(readers, watcher):
            while len(history.reads) < reads or len(history.answered) < writes:
                visitors.check()
                if time.monotonic() > deadline:
                    raise RuntimeError(f"only {len(history.reads)} reads in {PATIENCE} s")
                tell(len(history.reads), len(history.answered))
                time.sleep(0.1)
            visitors.stop_writing()
            end = time.monotonic()
            time.sleep(AFTER)
            rest = look_at_rest(on, history, readers[0], patient=False)
        visitors.check()
    statuses = [page.status for page in history.pages]
    pages = sum(page.kind == "car" and page.status == 200 for page in history.pages)
    return Served(
        server=server,
        vendor="PostgreSQL" if database.program else "SQLite",
        reads=len(history.reads),
        hits=sum(read.hit for read in history.reads) / max(1, pages),
        writes=len(history.answered),
        errors=sum(status >= 500 or not status for status in statuses),
        stale=len(history.stale(end)),
        dirty=len(history.dirty()),
        at_rest=len(rest.stale),
        lost=len(history.lost),
    )
