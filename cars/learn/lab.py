"""Asks the process that plays the runs of the lab, and starts it when it is needed.

There is one for all processes of a site on this machine. It listens at a Unix socket in a folder
that only this account can open. A lock on a file there is the turn to ask it, or to start it. It
ends when no process of the site is connected to it any more.
"""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO

import msgspec
from django.conf import settings

from .process import Answer, Question

WAIT = 3  # seconds that a visitor waits for the answers to others
PAUSE = 0.02  # seconds between two looks whether it is one's turn
LIMIT = 5  # seconds that an answer may take
START = 20  # seconds that the first answer of a process may take


class Unavailable(Exception):
    """There is no answer; the message says why, and what to do."""


def folder_of_site() -> Path:
    """Return the folder of the socket: one for each account, copy of the project and database.

    Raises OSError if it can't be made, or belongs to another account.
    """
    site = (settings.BASE_DIR, sys.executable, os.environ.get("DATABASE_URL"))
    digest = blake2b(repr(site).encode(), digest_size=6).hexdigest()
    folder = Path(tempfile.gettempdir(), f"carsite-lab-{os.getuid()}-{digest}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} can be opened by another account")
    return folder


class Lab:
    """The process, which answers one question after the other; used by all threads.

    `folder` is where its socket is, that of the site by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._connection: socket.socket | None = None
        self._owner = 0  # the id of the process that made the connection
        self._process: subprocess.Popen[bytes] | None = None  # if this one has started it

    def ask(self, question: Question) -> Answer:
        """Return the answer to `question`.

        Raises Unavailable if others' questions take too long, or if the process has ended or
        doesn't answer; the next question then starts another one.
        """
        servers = tuple(settings.MEMCACHED_SERVERS)
        question = msgspec.structs.replace(question, servers=servers)
        try:
            folder = self._folder or folder_of_site()
            with self._turn(folder) as lock:
                try:
                    return self._ask(question, folder, lock)
                except EOFError:  # it has ended since the last question
                    return self._ask(question, folder, lock)
        except EOFError:
            raise Unavailable("The lab has ended while it played this run. Try again.") from None
        except OSError as error:
            raise Unavailable(f"The lab can’t be started: {error}.") from error

    def end(self) -> None:
        """Close the connection, and with the last one of the site the process."""
        if self._connection:
            self._connection.close()
        self._connection = None

    @contextmanager
    def _turn(self, folder: Path) -> Iterator[IO[str]]:
        """Yield the file whose lock is the turn to ask; it holds the id of the process."""
        deadline = time.monotonic() + WAIT
        with (folder / "lock").open("a+") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Unavailable(
                            "The lab is busy with the runs of others. Try again in a moment."
                        ) from None
                time.sleep(PAUSE)
            yield lock

    def _ask(self, question: Question, folder: Path, lock: IO[str]) -> Answer:
        limit, path = LIMIT, folder / "socket"
        if self._owner != os.getpid():  # a forked child leaves its parent's alone
            self.end()
        try:
            connection = self._connection = self._connection or _connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            limit = START
            if self._process:
                self._process.poll()  # so that it is no zombie
            self._process = _start(path, lock)
            connection = self._connection = _connect(path)
        self._owner = os.getpid()
        deadline = time.monotonic() + limit
        line = b""
        try:
            connection.sendall(msgspec.json.encode(question) + b"\n")
            while not line.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([connection], [], [], left)[0]:
                    _kill(lock)
                    self.end()
                    raise Unavailable("The lab took too long to play this run. Try again.")
                part = connection.recv(65536)
                if not part:
                    raise EOFError
                line += part
        except (EOFError, ConnectionError):
            self.end()
            raise EOFError from None
        return msgspec.json.decode(line, type=Answer)


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _start(path: Path, lock: IO[str]) -> subprocess.Popen[bytes]:
    """Start a process that listens at `path`, and write its id into `lock`."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "cars.learn.process", str(listener.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "carsite.settings"},
            start_new_session=True,  # a Ctrl-C in the terminal is for the site
        )
    lock.truncate(0)
    lock.write(str(process.pid))
    lock.flush()
    return process


def _kill(lock: IO[str]) -> None:
    """End the process. Its id is still its own, since a connection to it is open."""
    lock.seek(0)
    os.kill(int(lock.read()), signal.SIGKILL)


lab = Lab()
