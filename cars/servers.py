"""Servers started for a while on this machine: by the demo, the tests and the benchmarks."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException

from django.conf import settings


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def has_memcached() -> bool:
    """Is there a `memcached` program on the PATH?"""
    return shutil.which("memcached") is not None


@contextmanager
def memcached(*options: str, port: int = 0) -> Iterator[str]:
    """Run a Memcached of 64 MB on the loopback interface; yield its host:port, stop it at the end.

    Raises RuntimeError if it doesn't answer within 10 seconds.
    """
    port = port or free_port()
    command = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64", *options]
    if os.geteuid() == 0:
        command += ["-u", "root"]  # it refuses to run as root unless told to
    # In a session of its own: a Ctrl-C in the terminal is for us, and we stop it when we end.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        _wait_until_it_answers(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(process: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no answer from: {' '.join(process.args)}") from None
            time.sleep(0.01)


@contextmanager
def site(listener: socket.socket, **environ: str) -> Iterator[subprocess.Popen]:
    """Serve this site on `listener`, with `environ` in its environment; yield gunicorn's process.

    It is there when the block begins, and gone within 3 seconds of its end, whatever its
    connections are at. Raises RuntimeError if it doesn't answer /healthz within a minute.
    """
    host, port = listener.getsockname()[:2]
    command = [sys.executable, "-m", "gunicorn", "carsite.wsgi", "--log-level", "warning"]
    command += ["--pythonpath", str(settings.BASE_DIR), "--bind", f"fd://{listener.fileno()}"]
    # One worker, since the debug toolbar keeps its panels in the memory of one process.
    command += ["--worker-class", "gthread", "--workers", "1", "--threads", "16"]
    command += ["--graceful-timeout", "1", "--no-control-socket"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environ},
        pass_fds=[listener.fileno()],
        start_new_session=True,  # as above
    )
    listener.close()  # only gunicorn has it now: when it ends the port is free
    try:
        _wait_until_healthy(process, host, port)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_healthy(process: subprocess.Popen, host: str, port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            # On 0.0.0.0 this machine answers; a Host that debug allows by itself.
            with closing(HTTPConnection(host, port, timeout=5)) as connection:
                connection.request("GET", "/healthz", headers={"Host": "localhost"})
                status = connection.getresponse().status
            if status >= 500:
                raise RuntimeError(f"the site answers {status} at /healthz")
            return
        except (OSError, HTTPException):
            if process.poll() is not None:
                raise RuntimeError(f"gunicorn ended with status {process.returncode}") from None
            if time.monotonic() > deadline:
                raise RuntimeError("no answer from the site at /healthz") from None
            time.sleep(0.05)
