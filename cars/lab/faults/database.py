"""The database of a run, and a direct way to its rows."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from tempfile import TemporaryDirectory

import psycopg
from django.conf import settings

from cars.lab import servers

VENDORS = ["SQLite", "PostgreSQL"]
ROWS = 60
MAKE = "Faulty"  # of all cars of a run; their model is their version
KEY_PREFIX = "faults"
SELECT = "SELECT id, model FROM cars_car"
UNAVAILABLE = (psycopg.Error, sqlite3.OperationalError)


def model_of(version: int) -> str:
    """Return the text that a car of this version has as its model."""
    return f"v{version:07d}"


def version_in(model: str) -> int:
    """Return the version of a car with this model."""
    return int(model.removeprefix("v"))


class Database:
    """A database of the site, empty of everything but its rows.

    `program` is its server, None for SQLite.
    """

    def __init__(self, url: str, program: servers.Program | None = None) -> None:
        self.url = url
        self.program = program
        self.path = url.removeprefix("sqlite:///")

    def versions(self) -> dict[int, int]:
        """Return the version of each row, by pk; raise one of UNAVAILABLE if it doesn't answer."""
        with self.connection() as connection:
            return versions(connection)

    def owed(self) -> set[str]:
        """Return the names of the entries that count as held, since something is owed on them."""
        with self.connection() as connection:
            found = connection.execute("SELECT names FROM caching_owed").fetchall()
        return {name for (names,) in found for name in names.split()}

    @contextmanager
    def connection(self) -> Iterator["sqlite3.Connection | psycopg.Connection"]:
        """Open a connection in autocommit for the block."""
        if self.program is None:
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as lite:
                yield lite
        else:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as postgres:
                yield postgres


def versions(connection: "sqlite3.Connection | psycopg.Connection") -> dict[int, int]:
    """Return the version of each row, by pk."""
    return {pk: version_in(model) for pk, model in connection.execute(SELECT).fetchall()}


@contextmanager
def databases(vendor: str) -> Iterator[Database]:
    """Make a database for runs: `vendor` is one of VENDORS."""
    with ExitStack() as stack:
        if vendor == "PostgreSQL":
            program = stack.enter_context(servers.postgresql_program())
            database = Database(program.address, program)
        else:
            folder = stack.enter_context(TemporaryDirectory())
            database = Database(f"sqlite:///{folder}/cars.sqlite3")
        run_module("cars.lab.faults.prepare", str(ROWS), environ=environ_of(database, []))
        yield database


def environ_of(database: Database, addresses: list[str], path: str = "") -> dict[str, str]:
    """Return the environment of the site's processes, with the cache at `addresses`.

    They find more packages in the folder `path`.
    """
    folders = [str(settings.BASE_DIR), *([path] if path else [])]
    return {
        "DJANGO_SETTINGS_MODULE": "cars.lab.faults.settings",
        "DJANGO_DEBUG": "off",
        "DJANGO_HTTPS": "off",
        "DJANGO_LOG_LEVEL": "WARNING",
        "DJANGO_SECRET_KEY": "of a site that lives for a minute, on this machine alone",
        "DJANGO_ALLOWED_HOSTS": "localhost",
        "DATABASE_URL": database.url,
        "CACHE_KEY_PREFIX": KEY_PREFIX,
        "MEMCACHED_SERVERS": ",".join(addresses),
        "PYTHONWARNINGS": "ignore::UserWarning",  # static files were not collected
        "PYTHONPATH": os.pathsep.join(folders),
    }


def run_module(module: str, *arguments: str, environ: dict[str, str]) -> None:
    """Run a module of this project in a process with `environ`."""
    command = [sys.executable, "-m", module, *arguments]
    subprocess.run(command, env={**os.environ, **environ}, check=True)
