"""The parsers of settings from the environment, and what they refuse."""

import re
from typing import Any

import dj_database_url
from environs import Env, EnvError

env = Env()

host_pattern = re.compile(r"[\w.-]+|\[[\da-f:.]+\]", re.ASCII | re.IGNORECASE)
origin_pattern = re.compile(r"https?://(\*\.)?[^\s/*]+", re.ASCII)

key_prefix_pattern = re.compile(r"[\w.-]{1,50}", re.ASCII)  # Memcached's keys have 250 bytes


def items(value: str) -> list[str]:
    """Return the parts of `value`, which are separated by commas."""
    return [item.strip() for item in value.split(",") if item.strip()]


@env.parser_for("servers")
def servers(value: str) -> list[str]:
    """Return the Memcached servers in `value`: host:port, separated by commas.

    Raises EnvError for anything else.
    """
    for item in items(value):
        host, _, port = item.rpartition(":")
        if not host_pattern.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65536:
            raise EnvError(f"{item!r} is not host:port, for example 127.0.0.1:11211.")
    return items(value)


@env.parser_for("hosts")
def hosts(value: str) -> list[str]:
    """Return the host names in `value`, separated by commas; raise EnvError for anything else."""
    for item in items(value):
        if item != "*" and not host_pattern.fullmatch(item):
            raise EnvError(f"{item!r} is not just a host name, for example cars.example.com.")
    return items(value)


@env.parser_for("origins")
def origins(value: str) -> list[str]:
    """Return the origins in `value`, separated by commas; raise EnvError for anything else."""
    for item in items(value):
        if not origin_pattern.fullmatch(item):
            raise EnvError(f"{item!r} is not an origin, for example https://cars.example.com.")
    return items(value)


@env.parser_for("key_prefix")
def key_prefix(value: str) -> str:
    """Return `value`, which the keys in Memcached begin with; raise EnvError if it can't."""
    if not key_prefix_pattern.fullmatch(value):
        raise EnvError(f"{value!r} is not 1 to 50 letters, digits or any of _.-, like cars-a.")
    return value


@env.parser_for("count")
def count(value: str) -> int:
    """Return `value` as a number that is 0 or more; raise EnvError for anything else."""
    if not value.isdecimal():
        raise EnvError(f"{value!r} is not a whole number, for example 1.")
    return int(value)


@env.parser_for("database")
def database(url: str) -> dict[str, Any]:
    """Return the entry for Django's DATABASES that `url` names.

    Raises EnvError for anything but SQLite and PostgreSQL.
    """
    config: dict[str, Any]
    try:
        config = {**dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)}
    except ValueError:
        config = {"ENGINE": "unknown"}
    sqlite = config["ENGINE"] == "django.db.backends.sqlite3" and config.get("HOST") == ""
    postgres = config["ENGINE"] == "django.db.backends.postgresql" and config["NAME"]
    if not sqlite and not postgres:
        raise EnvError(
            "This is not the URL of a database, for example sqlite:////data/cars.sqlite3 "
            "or postgres://user:password@host/name."
        )
    if sqlite:
        config["OPTIONS"] = {
            # In WAL mode readers don't wait for a writer.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            # A transaction that reads and then writes waits for its turn at BEGIN. With SQLite's
            # default, DEFERRED, it fails at the write: "database is locked".
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds
        }
    else:
        config["OPTIONS"] = {"connect_timeout": 5, **config.get("OPTIONS", {})}  # seconds
    return config
