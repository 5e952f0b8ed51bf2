"""The servers and the site of a run, and a direct way to the entries."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from cars.lab import servers

from .database import KEY_PREFIX, Database, environ_of, run_module
from .proxy import Proxy

PREFIX = f"{KEY_PREFIX}:1:Car."  # of the keys of the rows, as the site makes them
KINDS = {256: "row", 512: "lease", 1024: "holds"}  # by Memcached's flags


@dataclass
class Stage:
    """What a fault works on: the database, the Memcacheds, their proxies, and the site."""

    database: Database
    memcached: list[servers.Program]
    proxies: list[Proxy]
    site: "subprocess.Popen[bytes]"
    port: int
    log: Path  # of the site

    @property
    def proxy(self) -> Proxy:
        """The only proxy."""
        (proxy,) = self.proxies
        return proxy

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        workers: list[psutil.Process] = psutil.Process(self.site.pid).children()
        return workers

    @property
    def environ(self) -> dict[str, str]:
        """The environment of another process that uses the same database and cache."""
        addresses = [server.address for server in self.proxies or self.memcached]
        return environ_of(self.database, addresses)

    def run(self, module: str, *arguments: str) -> None:
        """Run a module in a process that uses the same database and cache."""
        run_module(module, *arguments, environ=self.environ)

    def entries(self, rows: list[int]) -> dict[int, list[tuple[str, bytes]]]:
        """Return what the Memcacheds have for these rows: by pk, each entry's kind and bytes."""
        found: dict[int, list[tuple[str, bytes]]] = {}
        for server in self.memcached:
            for row, entry in _entries(server.port, rows).items():
                found.setdefault(row, []).append(entry)
        return found


def _entries(port: int, rows: list[int]) -> dict[int, tuple[str, bytes]]:
    found = {}
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    except OSError:
        return {}
    with connection, connection.makefile("rwb") as stream:
        for row in rows:
            stream.write(f"mg {PREFIX}{row} f v\r\n".encode())
            stream.flush()
            word, *values = stream.readline().split()
            if word == b"VA":
                data = stream.read(int(values[0]) + 2)[:-2]
                found[row] = KINDS.get(int(values[1][1:]), "other"), data
    return found


@contextmanager
def stage(
    database: Database,
    count: int = 1,
    by_proxy: bool = False,
    absent: bool = False,
    command: list[str] | None = None,
    path: str = "",
) -> Iterator[Stage]:
    """Start `count` Memcacheds, each behind a proxy if `by_proxy`, and the site.

    If `absent`, the Memcacheds are not started. The site is served by `command` (see
    `servers.site`), which finds more packages in the folder `path`. Without a command, gunicorn has
    2 processes with 4 threads each on PostgreSQL, and one with 16 on SQLite.
    """
    with ExitStack() as stack:
        memcached = [servers.memcached_program() for _ in range(count)]
        for server in memcached:
            stack.callback(server.end)
            if not absent:
                server.start()
        proxies = [Proxy(server.port) for server in memcached] if by_proxy else []
        for proxy in proxies:
            stack.enter_context(proxy.running())
        log = Path(stack.enter_context(TemporaryDirectory())) / "log"
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = listener.getsockname()[1]
        addresses = [server.address for server in proxies or memcached]
        two = ["--workers", "2", "--threads", "4"] if database.program else []
        site = stack.enter_context(
            servers.site(
                listener,
                command=command or servers.gunicorn(*two),
                log=stack.enter_context(log.open("wb")),
                **environ_of(database, addresses, path),
            )
        )
        yield Stage(database, memcached, proxies, site, port, log)
