"""Several clients of one database and one cache."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.core.cache import cache
from django.db import connection, connections
from django.test import TransactionTestCase, override_settings

from cars.caching import events
from cars.caching.entries import NO_ANSWER
from carsite import settings as site

from .caches import empty_cache, make_key
from .zoo.models import Plain


def in_another_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Return what `function` returns in another thread, which opens new connections."""

    def work():
        try:
            return function(*args)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=30)


@contextmanager
def recorded_outcomes() -> Iterator[list[str]]:
    """Yield a list to which the outcomes in the block are added, without the steps on the way."""
    outcomes: list[str] = []

    def listen(event: events.Event) -> None:
        if event.outcome not in events.STEPS:
            outcomes.append(event.outcome)

    with events.listen(listen):
        yield outcomes


def read(pk: Any) -> tuple[str, str]:
    """Read the row `pk` of Plain through the cache; return its name and the outcome."""
    with recorded_outcomes() as outcomes:
        name = Plain.objects.cache(pk).name
    return name, next(o for o in outcomes if o not in (events.FILLED, events.EXPIRED))


def entry_under(key: str) -> Any:
    """Return the entry under `key`: a Row, a Lease, Holds or None, also without an answer."""
    seen = cache.gets_many([key])[key]
    return None if seen is NO_ANSWER else seen.value


def evict(key: str) -> None:
    """Remove the entry under `key`, as an eviction does."""
    cache.delete(key)


@contextmanager
def on_disk() -> Iterator[None]:
    """Move an in-memory SQLite database to a file: in memory, connections lock whole tables."""
    if not connection.is_in_memory_db():
        yield
        return
    connection.ensure_connection()
    settings = connection.settings_dict  # all threads share this dict
    memory, name = connection.connection, settings["NAME"]
    with TemporaryDirectory() as folder:
        path = Path(folder, "db.sqlite3")
        with closing(sqlite3.connect(path)) as file:
            memory.backup(file)
        connection.connection, settings["NAME"] = None, str(path)
        try:
            yield
        finally:
            connection.close()
            connection.connection, settings["NAME"] = memory, name


class ClientsTestCase(TransactionTestCase):
    """Tests with several clients. There is one row, `self.plain`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if connection.vendor == "sqlite":
            cls.enterClassContext(on_disk())

    def setUp(self):
        empty_cache()
        self.plain = Plain.objects.create(name="old")
        self.key = self.plain.key()

    def rename(self, name: str = "new") -> None:
        """Save the row with another name."""
        self.plain.name = name
        self.plain.save()


in_local_memory = override_settings(
    CACHES={"default": {**site.caches([])["default"], "KEY_FUNCTION": make_key}}
)


def using(addresses: list[str], **options: Any) -> override_settings:
    """Return the settings to use these servers, or local memory, with these OPTIONS."""
    config = site.caches(addresses)["default"]
    # Longer than a busy machine takes to answer.
    options = {"timeout": 10, "connect_timeout": 10} | options if addresses else options
    return override_settings(
        CACHES={"default": {**config, "KEY_FUNCTION": make_key, "OPTIONS": options}}
    )
