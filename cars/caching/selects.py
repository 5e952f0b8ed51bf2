"""The SELECT of rows by pk, from the database that writes go to.

Django's own compiler makes the statement. That of one row is kept with the connection, since to
compile it takes longer than to run it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache as memoize
from time import perf_counter
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet, ValidationError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CompositePrimaryKey, IntegerField, Model, QuerySet

from . import events
from .registry import CachedModel, Keys
from .rows import fingerprint_of

Values = list[Any]  # of one row, in the order of `CachedModel.names`
Converter = Callable[[Any, Any, BaseDatabaseWrapper], Any]

# From a field that doesn't take the pk that it returned. Such a row isn't packed, but it is read.
NOT_TAKEN = (TypeError, ValueError, ValidationError)

STATEMENTS = "caching_statements"  # the attribute of a connection: its statements


def select(cached: CachedModel, keys: Keys) -> dict[str, Values]:
    """Return the values of the rows with these keys, by key, from one SELECT.

    The key of a row is made from the pk that the database returns. So a row that the database
    finds by another spelling (a collation for which "a" equals "A") is left out.
    """
    if not keys:
        return {}
    started = perf_counter()
    statement = _statement(cached, keys)
    rows = statement.run(cached, keys) if statement else _select(cached, keys)
    events.tell(events.SELECTED, cached.model, started, *keys)
    return rows


def _select(cached: CachedModel, keys: Keys) -> dict[str, Values]:
    pks = list(keys.values())
    # `pk__in` fails on SQLite for a number that is too large for it; `pk` finds nothing.
    condition = {"pk__in": pks} if len(pks) > 1 else {"pk": pks[0]}
    rows = list(_rows(cached).values_list("pk", *cached.names).filter(**condition))
    try:
        return {key: values for pk, *values in rows if (key := cached.key(pk)) in keys}
    except NOT_TAKEN:
        if len(keys) == 1:
            return {key: values for key in keys for _, *values in rows}
        parts = (_select(cached, {key: pk}) for key, pk in keys.items())
        return {key: values for part in parts for key, values in part.items()}


@memoize
def _rows(cached: CachedModel) -> QuerySet[Model]:
    # Made once: a QuerySet is faster to filter than to make. A manager's may leave rows out.
    rows: QuerySet[Model] = QuerySet(cached.model, using=cached.alias)
    return rows.order_by()


@dataclass(frozen=True)
class Statement:
    """The SELECT of one row, as Django has compiled it for one connection."""

    connection: BaseDatabaseWrapper
    made_for: tuple[Any, ...]  # if this is another one, it has to be compiled again
    sql: str
    pk_field: Any
    pk_index: int
    pk_range: tuple[int, int] | None  # of integers: Django doesn't ask for others
    converters: list[tuple[int, list[Converter], Any]]

    def run(self, cached: CachedModel, keys: Keys) -> dict[str, Values]:
        """Return the values of the row, as `select` does for the one of `keys`."""
        ((key, pk),) = keys.items()
        parameter = self.pk_field.get_db_prep_value(pk, self.connection, prepared=False)
        with self.connection.cursor() as cursor:
            cursor.execute(self.sql, (parameter,))
            row = cursor.fetchone()
        if row is None:
            return {}
        values = list(row)
        for index, converters, expression in self.converters:
            for convert in converters:
                values[index] = convert(values[index], expression, self.connection)
        try:
            return {key: values} if cached.key(values[self.pk_index]) == key else {}
        except NOT_TAKEN:
            return {key: values}


def _statement(cached: CachedModel, keys: Keys) -> Statement | None:
    """Return the statement for the connection of this thread.

    None for several rows, and for a pk that it doesn't take.
    """
    (pk, *others) = keys.values()
    if others or isinstance(pk, Model):
        return None
    connection = connections[cached.alias]
    statements: dict[type[Model], Statement] = connection.__dict__.setdefault(STATEMENTS, {})
    made_for = (fingerprint_of(cached), cached.model._meta.db_table)
    statement = statements.get(cached.model)
    if statement is None or statement.made_for != made_for:
        statement = _compile(cached, pk, connection, made_for)
        if statement is None:
            return None
        statements[cached.model] = statement
    if statement.pk_range:
        low, high = statement.pk_range
        if type(pk) is not int or not low <= pk <= high:
            return None
    return statement


def _compile(
    cached: CachedModel, pk: Any, connection: BaseDatabaseWrapper, made_for: tuple[Any, ...]
) -> Statement | None:
    field: Any = cached.model._meta.pk
    if isinstance(field, CompositePrimaryKey):
        return None
    query = _rows(cached).values_list(*cached.names).filter(pk=pk).query
    compiler = query.get_compiler(connection=connection)
    try:
        sql, parameters = compiler.as_sql()
    except (EmptyResultSet, FullResultSet):
        return None
    if parameters != (field.get_db_prep_value(pk, connection, prepared=False),):
        return None
    expressions = [column[0] for column in compiler.select]
    target = field.target_field if field.remote_field else field
    number = isinstance(target, IntegerField)
    return Statement(
        connection,
        made_for,
        sql,
        field,
        cached.names.index(field.attname),
        connection.ops.integer_field_range(target.get_internal_type()) if number else None,
        [
            (index, converters, expression)
            for index, (converters, expression) in compiler.get_converters(expressions).items()
        ],
    )
