"""Servers that the demo, the tests and the benchmarks start on this machine for a limited time.

`python -m cars.lab.servers COMMAND` runs COMMAND, for example `manage.py test`, on an empty
PostgreSQL.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, Any

import psutil
from django.conf import settings


class Program:
    """A server that can be ended and started again, and frozen for a while.

    `address` is where its clients find it: host:port, or the DATABASE_URL of a PostgreSQL.
    """

    def __init__(
        self,
        command: list[str],
        port: int,
        address: str,
        end_by: int = signal.SIGKILL,
        **popen: Any,
    ) -> None:
        self.command = command
        self.port = port
        self.address = address
        self._end_by = end_by
        self._popen = popen
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, with `options` added to its command line this time.

        Raises RuntimeError if it doesn't answer within 10 seconds.
        """
        # In a separate session, so that a Ctrl-C in the terminal interrupts this process only,
        # which then ends the server.
        command = [*self.command, *options]
        self._process = subprocess.Popen(command, start_new_session=True, **self._popen)
        _wait_until_it_answers(self._process, command, self.port)

    def end(self) -> None:
        """End it at once, also if it is frozen; do nothing if it doesn't run."""
        if self._process is not None:
            self._process.send_signal(self._end_by)
            self.thaw()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it and its child processes by SIGSTOP: it still accepts, but doesn't answer."""
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
                process.suspend()

    def thaw(self) -> None:
        """Let it go on after `freeze()`."""
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _tree(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    @contextmanager
    def running(self) -> Iterator["Program"]:
        """Start it for the block, and end it with the block."""
        try:
            self.start()
            yield self
        finally:
            self.end()


def free_port() -> int:
    """Return a TCP port of the loopback interface that is not in use at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def has_memcached() -> bool:
    """Is there a `memcached` program on the PATH?"""
    return shutil.which("memcached") is not None


def memcached_program(*options: str, port: int = 0) -> Program:
    """Return a Memcached of 64 MB on the loopback interface, which does not run yet.

    `options` are added to its command line; with port 0 a free port is chosen.
    """
    port = port or free_port()
    command = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64", *options]
    if os.geteuid() == 0:
        command += ["-u", "root"]  # it refuses to run as root unless told to
    return Program(command, port, f"127.0.0.1:{port}")


@contextmanager
def memcached(*options: str, port: int = 0) -> Iterator[str]:
    """Run the Memcached of `memcached_program`; yield its host:port.

    It is ended at the end of the block. Raises RuntimeError if it doesn't answer within 10 seconds.
    """
    with memcached_program(*options, port=port).running() as program:
        yield program.address


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis on the loopback interface that writes no files; yield its host:port.

    It is stopped at the end of the block. Raises RuntimeError if it doesn't answer within 10
    seconds.
    """
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    address = f"127.0.0.1:{port}"
    with Program(command, port, address, stdout=subprocess.DEVNULL).running():
        yield address


def postgresql_programs() -> Path | None:
    """Return the folder of PostgreSQL's server programs; Debian keeps it off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


def has_postgresql() -> bool:
    """Are PostgreSQL's server programs on this machine?"""
    return postgresql_programs() is not None


@contextmanager
def postgresql() -> Iterator[str]:
    """Run an empty PostgreSQL on the loopback interface; yield its DATABASE_URL.

    It is stopped at the end of the block, and its files are deleted. Raises RuntimeError if its
    programs are not on this machine or it doesn't answer within 10 seconds.
    """
    with postgresql_program() as program:
        yield program.address


@contextmanager
def postgresql_program() -> Iterator[Program]:
    """Run the PostgreSQL of `postgresql()`; yield its Program."""
    programs = postgresql_programs()
    if not programs:
        raise RuntimeError("no PostgreSQL server on this machine (Debian: apt install postgresql)")
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"
        initdb = [str(programs / "initdb"), "-D", data, "-U", "carsite", "-A", "trust"]
        initdb += ["-E", "UTF8"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user)
        command = [str(programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port)]
        # The data is deleted with the server, so nothing needs to reach the disk.
        command += ["-k", folder, "-c", "fsync=off", "-c", "max_connections=300"]
        url = f"postgres://carsite@127.0.0.1:{port}/postgres"
        # SIGKILL would leave its shared memory behind; SIGQUIT ends it at once too.
        popen = {"stderr": subprocess.DEVNULL, "cwd": folder, "user": user}
        with Program(command, port, url, end_by=signal.SIGQUIT, **popen).running() as program:
            yield program


def _wait_until_it_answers(process: subprocess.Popen[bytes], command: list[str], port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no answer from: {' '.join(command)}") from None
            time.sleep(0.01)


# Where the command of a web server has the socket that it shall serve, as fd://N.
SOCKET = "{socket}"


def gunicorn(*options: str, application: str = "carsite.wsgi") -> list[str]:
    """Return the command that serves `application` by gunicorn, with `options` added to it.

    By default there is one worker with 16 threads, since the debug toolbar keeps its panels in the
    memory of one process. Of options that are given twice the last one counts.
    """
    command = [sys.executable, "-m", "gunicorn", application, "--log-level", "warning"]
    command += ["--pythonpath", str(settings.BASE_DIR), "--bind", SOCKET]
    command += ["--worker-class", "gthread", "--workers", "1", "--threads", "16"]
    return [*command, "--graceful-timeout", "1", "--no-control-socket", *options]


@contextmanager
def site(
    listener: socket.socket,
    application: str = "carsite.wsgi",
    command: list[str] | None = None,
    log: IO[bytes] | None = None,
    **environ: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """Serve this site on `listener`, with `environ` in its environment; yield the server's process.

    It is served by `command`, in which SOCKET is replaced, or without one by gunicorn. The log goes
    to `log`, by default to stderr. The site answers when the block begins. At the end of the block
    it ends within 3 seconds, even if it has open connections. Raises RuntimeError if it doesn't
    answer /healthz within a minute.
    """
    host, port = listener.getsockname()[:2]
    command = command or gunicorn(application=application)
    process = subprocess.Popen(
        [part.replace(SOCKET, f"fd://{listener.fileno()}") for part in command],
        env={**os.environ, **environ},
        pass_fds=[listener.fileno()],
        start_new_session=True,  # for the reason in Program.start
        stderr=log,
    )
    listener.close()  # now only the server has it open: when it ends the port is free
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


def _wait_until_healthy(process: subprocess.Popen[bytes], host: str, port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            # A connection to 0.0.0.0 leads to this machine. Debug allows the Host localhost.
            with closing(HTTPConnection(host, port, timeout=5)) as connection:
                connection.request("GET", "/healthz", headers={"Host": "localhost"})
                status = connection.getresponse().status
            if status >= 500:
                raise RuntimeError(f"the site answers {status} at /healthz")
            return
        except (OSError, HTTPException):
            if process.poll() is not None:
                raise RuntimeError(
                    f"the web server ended with status {process.returncode}"
                ) from None
            if time.monotonic() > deadline:
                raise RuntimeError("no answer from the site at /healthz") from None
            time.sleep(0.05)


def main(command: list[str]) -> int:
    """Run `command` with the DATABASE_URL of an empty PostgreSQL; return its exit status."""
    with postgresql() as url:
        return subprocess.call(command, env={**os.environ, "DATABASE_URL": url})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
