"""Several clients of one database and one cache, and what they see."""

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
from carsite import settings as site

from .caches import forget, make_key
from .zoo.models import Plain


def elsewhere(function: Callable[..., Any], *args: Any) -> Any:
    """Return what `function` returns for another client: a thread with connections of its own."""

    def work():
        try:
            return function(*args)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=30)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Yield the outcomes of what happens in the block, in their order."""
    outcomes: list[str] = []
    with events.listen(lambda event: outcomes.append(event.outcome)):
        yield outcomes


def read(pk: Any) -> tuple[str, str]:
    """Read the row `pk` of Plain through the cache; return its name, and how the lookup ended."""
    with heard() as outcomes:
        name = Plain.objects.cache(pk).name
    return name, next(o for o in outcomes if o not in (events.FILLED, events.EXPIRED))


def standing(key: str) -> Any:
    """Return what stands under `key`: None, a Row, a Lease or Holds."""
    return cache.gets_many([key])[key].value


def lose(key: str) -> None:
    """Lose what stands under `key`, as an eviction does."""
    cache.delete(key)


@contextmanager
def on_disk() -> Iterator[None]:
    """Move an SQLite in memory into a file: in memory, connections lock whole tables."""
    if not connection.is_in_memory_db():
        yield
        return
    connection.ensure_connection()
    settings = connection.settings_dict  # all threads have this very one
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
    """Tests of what one client does while others look on. There is one row, `self.plain`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if connection.vendor == "sqlite":
            cls.enterClassContext(on_disk())

    def setUp(self):
        forget()
        self.plain = Plain.objects.create(name="old")
        self.key = self.plain.key()

    def rename(self, name: str = "new") -> None:
        """Save the row under another name."""
        self.plain.name = name
        self.plain.save()


in_local_memory = override_settings(
    CACHES={"default": {**site.caches([])["default"], "KEY_FUNCTION": make_key}}
)


def using(addresses: list[str], **options: Any) -> override_settings:
    """Use the cache on these servers, or without any in local memory, with these OPTIONS."""
    config = site.caches(addresses)["default"]
    return override_settings(
        CACHES={"default": {**config, "KEY_FUNCTION": make_key, "OPTIONS": options}}
    )
