"""The QuerySet of cached models: its mass writes, which send no signals, hold their rows."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as memoize
from typing import Any

from django.db import NotSupportedError, connections, models, transaction
from django.db.models import Q

from . import transactions
from .keys import pks_of
from .registry import written_by

CAN_RETURN = ("postgresql", "sqlite")  # what UPDATE and DELETE have written
CHUNK_OF_CONFLICTS = 200  # rows in one query by several unique fields: SQLite nests 1,000 deep


class CacheQuerySet(models.QuerySet[Any, Any]):
    """Django's QuerySet, whose mass writes hold their rows: they send no signals.

    Django copies `alters_data`, which its templates read, to methods that override Django's.
    """

    def update(self, **values: Any) -> int:
        """Update as Django does, but hold the rows before the COMMIT.

        Raises NotSupportedError for an update of the pk on a database without UPDATE ... RETURNING.
        """
        if not written_by(self.model, self.db):
            return super().update(**values)
        self._for_write = True
        rows, old = self, []
        fields = self.model._meta.pk_fields
        writes_pk = any(field.name in values or field.attname in values for field in fields)
        returns = connections[self.db].vendor in CAN_RETURN
        if writes_pk or not returns:
            old = self._pks()  # a row must not be looked for by its new pk
            rows = self.filter(pk__in=old)
        if old and writes_pk and not returns:
            raise NotSupportedError("The pk of a cached model can't be updated on this database.")
        with _holding(self.model, self.db, old):
            updated = super(CacheQuerySet, rows).update(**values)
        self._result_cache = None
        return updated

    def bulk_update(
        self, objs: Iterable[models.Model], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        """Update as Django does, by several `update()`s, and hold all rows at once."""
        self._for_write = True
        with _holding(self.model, self.db):
            return super().bulk_update(objs, fields, batch_size)

    def _pks(self) -> list[Any]:
        """Return the pks of these rows, without the order and the locks of a read."""
        rows = self.order_by().values_list("pk", flat=True)
        rows.query.select_for_update = False
        rows.query.distinct_fields = ()
        pks = list(rows)
        try:
            return list(dict.fromkeys(pks))  # a join can return a row several times
        except TypeError:  # pks that can't be hashed
            return pks

    def bulk_create(
        self,
        objs: Iterable[models.Model],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[models.Model]:
        """Create as Django does; where rows are updated instead, hold them before the COMMIT."""
        conflicts = ignore_conflicts, update_conflicts, update_fields, unique_fields
        if not update_conflicts or not written_by(self.model, self.db):
            return super().bulk_create(objs, batch_size, *conflicts)
        objs = list(objs)
        self._for_write = True
        with _holding(self.model, self.db) as pks:
            created = super().bulk_create(objs, batch_size, *conflicts)
            # Those that the database returned, and those of rows that Django doesn't tell of.
            pks += (pk for instance in objs for pk in pks_of(instance, self.db))
            pks += self._conflicting(objs, unique_fields or ())
        return created

    def _conflicting(self, objs: Sequence[models.Model], names: Collection[str]) -> list[Any]:
        """Return the pks of the rows that `objs` have updated or made, by their unique fields.

        The pk that an object has afterwards may not be the pk of any row.
        """
        meta = self.model._meta
        names = [meta.pk.name if name == "pk" else name for name in names]
        fields = [meta.get_field(name) for name in names]
        pks = []
        for begin in range(0, len(objs), CHUNK_OF_CONFLICTS):
            chunk = objs[begin : begin + CHUNK_OF_CONFLICTS]
            same = Q()
            for instance in chunk:
                same |= Q(**{field.attname: getattr(instance, field.attname) for field in fields})
            pks += self.model._base_manager.using(self.db).filter(same)._pks()
        return pks

    def _raw_delete(self, using: str) -> int:  # type: ignore[override]  # Django passes an alias
        """Delete as Django does, past its signals, but hold the rows before the COMMIT."""
        if not written_by(self.model, using):
            return super()._raw_delete(using)
        old = [] if connections[using].vendor in CAN_RETURN else self.using(using)._pks()
        with _holding(self.model, using, old):
            return super()._raw_delete(using)


@dataclass
class _Returning:
    """An execute wrapper that lets UPDATE and DELETE return the pks of the rows that they write.

    So a filter is evaluated once, by the statement itself, and exactly its rows are held.
    """

    model: type[models.Model]
    using: str
    pks: list[Any]
    may_have_written: bool = False
    statement: str = ""
    rows: list[Any] = field(default_factory=list)

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        self.may_have_written = self.may_have_written or not sql.startswith("SELECT")
        connection = connections[self.using]
        quote = connection.ops.quote_name
        fields: Sequence[Any] = ()
        for written in (self.model, *self.model._meta.all_parents):
            table = quote(written._meta.db_table)
            if sql.startswith((f"UPDATE {table} ", f"DELETE FROM {table}")):
                fields = written._meta.pk_fields
        if not fields or connection.vendor not in CAN_RETURN:
            return execute(sql, params, many, context)
        columns = ", ".join(quote(field.column) for field in fields)
        self.statement, self.rows = f"{sql} RETURNING {columns}", []
        result = execute(self.statement, params, many, context)
        self.rows += context["cursor"].fetchall()  # if another wrapper has added to the statement
        compiler = models.QuerySet(self.model).query.get_compiler(self.using)
        converters = compiler.get_converters([field.get_col("") for field in fields])
        for row in compiler.apply_converters(self.rows, converters):
            self.pks.append(tuple(row) if len(fields) > 1 else row[0])
        return result

    def fetch(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        """Fetch, as the innermost wrapper, what the statement returns: SQLite counts it then."""
        result = execute(sql, params, many, context)
        if sql == self.statement:
            self.rows += context["cursor"].fetchall()
        return result


@contextmanager
def _holding(model: type[models.Model], using: str, old: Sequence[Any] = ()) -> Iterator[list[Any]]:
    """Hold the rows that the block writes, before the COMMIT; yield the list of their pks.

    They are the `old` ones and those that the block's statements return. On an error, `atomic`
    marks the transaction around it for rollback. That is undone if no statement ran that writes,
    unless Django itself has marked it.
    """
    connection = connections[using]
    for wrapper in connection.execute_wrappers:
        if isinstance(wrapper, _Returning) and wrapper.model is model:
            wrapper.pks += old
            yield wrapper.pks  # this is a write inside of a bulk_update(), which holds
            return
    pks = list(old)
    nested, broken = connection.in_atomic_block, True
    try:
        with transaction.atomic(using=using, savepoint=False):
            returning = _Returning(model, using, pks)
            # The outermost: another wrapper may put a comment before or after the SQL.
            connection.execute_wrappers.insert(0, returning)
            try:
                with connection.execute_wrapper(returning.fetch):
                    yield pks
            except BaseException:
                broken = connection.needs_rollback or returning.may_have_written
                raise
            finally:
                connection.execute_wrappers.remove(returning)
            if pks:
                transactions.hold(model, pks, using)
    except BaseException:
        if nested:
            connection.set_rollback(broken)
        raise


@memoize
def holding_class(
    queryset_class: type[models.QuerySet[Any, Any]],
) -> type[models.QuerySet[Any, Any]]:
    """Return `queryset_class`, or a subclass of it, whose mass writes hold their rows."""
    if issubclass(queryset_class, CacheQuerySet):
        return queryset_class
    if queryset_class is models.QuerySet:
        return CacheQuerySet

    class Holding(CacheQuerySet, queryset_class):  # type: ignore[misc, valid-type]  # a variable
        def __reduce__(self) -> tuple[Any, ...]:  # pickle would look for the class by its name
            return _unpickled, (queryset_class,), self.__getstate__()

    Holding.__name__ = Holding.__qualname__ = queryset_class.__name__
    return Holding


def _unpickled(queryset_class: type[models.QuerySet[Any, Any]]) -> models.QuerySet[Any, Any]:
    holding = holding_class(queryset_class)
    return holding.__new__(holding)
