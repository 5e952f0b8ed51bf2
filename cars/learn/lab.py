"""Asks the process that plays the runs of the lab, and starts it when it is needed."""

import os
import select
import subprocess
import sys
import threading
import time

import msgspec
from django.conf import settings

from .process import Answer, Question

WAIT = 3  # seconds that a visitor waits for the answers to others
LIMIT = 5  # seconds that an answer may take
START = 20  # seconds that the first answer of a process may take


class Unavailable(Exception):
    """There is no answer; the message says why, and what to do."""


class Lab:
    """One process, which answers one question after the other; used by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the id of the process that started it

    def ask(self, question: Question) -> Answer:
        """Return the answer to `question`.

        Raises Unavailable if others' questions take too long, or if the process has ended or
        doesn't answer; the next question then starts another one.
        """
        if not self._lock.acquire(timeout=WAIT):
            raise Unavailable("The lab is busy with the runs of others. Try again in a moment.")
        try:
            try:
                return self._ask(question)
            except EOFError:  # it has ended since the last question
                return self._ask(question)
        except EOFError:
            raise Unavailable("The lab has ended while it played this run. Try again.") from None
        finally:
            self._lock.release()

    def end(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, question: Question) -> Answer:
        before, process = self._process, self._running()
        limit = LIMIT if process is before else START
        assert process.stdin and process.stdout
        try:
            process.stdin.write(msgspec.json.encode(question) + b"\n")
        except OSError:
            self._end()
            raise EOFError from None
        deadline = time.monotonic() + limit
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                self._end()
                raise Unavailable("The lab took too long to play this run. Try again.")
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                self._end()
                raise EOFError
            line += part
        return msgspec.json.decode(line, type=Answer)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # a forked child leaves its parent's alone
            self._process = None
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cars.learn.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                cwd=settings.BASE_DIR,
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "carsite.settings",
                    "MEMCACHED_SERVERS": ",".join(settings.MEMCACHED_SERVERS),
                },
                start_new_session=True,  # a Ctrl-C in the terminal is for the site
            )
            self._owner = os.getpid()
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process and self._owner == os.getpid():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()


lab = Lab()
