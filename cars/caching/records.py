"""The records of what is owed: how they are written with a write, and read by a look."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache as memoize
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.db.models.sql import DeleteQuery

from .databases import in_transaction
from .protocol import CHUNK, setting

logger = logging.getLogger(__name__)

MOST = 10_000  # records that a look reads
SECONDS = 0.25  # that a look waits for the database, where the database can be told


@memoize
def _model() -> type[Model]:
    return apps.get_model("caching", "Owed")  # the package is imported before apps are ready


def log_once(what: str, error: Exception) -> None:
    """Log that `what` failed, once for each kind of error: it may fail at each look."""
    if (what, type(error)) not in _logged:
        _logged.add((what, type(error)))
        logger.error("%s: %s. If its table is missing, run `manage.py migrate`.", what, error)


_logged: set[tuple[str, type[Exception]]] = set()


# With a write


def insert(
    alias: str, cache: str, model: str, token: str, names: list[str], under_way: bool
) -> None:
    """Write down what is owed, in the transaction that is open on `alias`, if there is one.

    Raises what the database raises; what was done in the transaction before stays.
    """
    with _savepoint(connections[alias]):
        for begin in range(0, len(names), CHUNK):
            record = _model()(
                cache=cache,
                model=model,
                token=token,
                names=" ".join(names[begin : begin + CHUNK]),
                since=Now(),
                under_way=under_way,
            )
            # Past `save()`, which sends signals, and `bulk_create()`, which begins a transaction.
            rows: Any = record_rows(alias)
            rows._insert([record], fields=record._meta.concrete_fields[1:], using=alias)


def end_under_way(alias: str, model: str, token: str) -> int:
    """Turn the records of `token` that are under way into owed ones; return how many there were."""
    rows = record_rows(alias).filter(model=model, token=token, under_way=True)
    return rows.update(under_way=False)


def record_rows(alias: str) -> QuerySet[Any]:
    """Return the QuerySet of all records on the database `alias`."""
    return _model()._base_manager.using(alias)


@contextmanager
def _savepoint(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Undo the block alone if it raises, in whatever transaction is open."""
    if connection.in_atomic_block:
        with transaction.atomic(connection.alias):
            yield
    elif in_transaction(connection):  # one that Django doesn't know: `atomic` would commit it
        with connection.cursor() as cursor:
            cursor.execute(connection.ops.savepoint_create_sql("caching_owed"))
            try:
                yield
            except BaseException:
                cursor.execute(connection.ops.savepoint_rollback_sql("caching_owed"))
                raise
            cursor.execute(connection.ops.savepoint_commit_sql("caching_owed"))
    else:
        yield


# By a look


class Record(NamedTuple):
    """One record, as a look has read it."""

    pk: int
    token: str
    names: list[str]
    is_due: bool  # it is owed, or it was under way for longer than a write takes


class Look:
    """A connection of the process's own, for what is owed on one database.

    So that a look is in no transaction of a page, and no count of queries and no toolbar sees it.
    It reads what is committed, waits for SECONDS at most, and threads share it, one at a time.
    """

    def __init__(self, alias: str) -> None:
        settings = connections[alias].settings_dict
        self._connection = connections.create_connection(alias)
        self._connection.settings_dict = _for_looks(settings, self._connection.vendor)
        self._connection.inc_thread_sharing()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def read(self, cache: str) -> tuple[list[Record], set[str]]:
        """Return what is owed for `cache`, and the labels of the models with too much to read."""
        # In an order, so that two looks take the same records: each is withdrawn twice.
        rows = _model()._base_manager.filter(cache=cache).order_by("pk")
        columns = ("pk", "token", "names", "under_way", "since")
        with self._limited():
            found = self._run(rows.annotate(now=Now()).values_list(*columns, "now")[: MOST + 1])
            if len(found) <= MOST:
                return [_record(*values) for values in found], set()
            labels = self._run(rows.order_by().values_list("model").distinct())
            return [_record(*values) for values in found[:MOST]], {label for (label,) in labels}

    def delete(self, pks: Collection[int]) -> None:
        """Delete these records."""
        query = DeleteQuery(_model())
        query.add_q(Q(pk__in=list(pks)))
        with self._limited():
            query.get_compiler(connection=self._connection).execute_sql(None)

    def _run(self, rows: QuerySet[Any, Any]) -> list[Any]:
        return list(rows.query.get_compiler(connection=self._connection).results_iter())

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Limit the time of the statements in the block; close the connection if one fails."""
        try:
            if self._connection.vendor == "postgresql":
                # Local to a transaction: behind a pooler the session is others' as well.
                self._connection.set_autocommit(False)
                with self._connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {int(SECONDS * 1000)}")
            yield
            if self._connection.vendor == "postgresql":
                self._connection.commit()
        except BaseException:
            self.close()
            raise


def _record(
    pk: int, token: str, names: str, under_way: bool, since: datetime, now: datetime
) -> Record:
    late = now - since > timedelta(seconds=setting("CACHING_HOLD"))
    return Record(pk, token, names.split(), late or not under_way)


def _for_looks(config: dict[str, Any], vendor: str) -> dict[str, Any]:
    """Return the settings of a connection that waits for a moment only, in no pool."""
    options = {
        name: value
        for name, value in (config.get("OPTIONS") or {}).items()
        if name not in ("pool", "isolation_level")
    }
    if vendor == "sqlite":
        options["timeout"] = SECONDS
    elif vendor == "postgresql":
        # libpq waits for two seconds at least to connect.
        options |= {"connect_timeout": 2, "tcp_user_timeout": int(SECONDS * 1000)}
    return {**config, "OPTIONS": options, "CONN_MAX_AGE": None, "AUTOCOMMIT": True}
