"""The QuerySet of cached models: its mass writes, which send no signals, hold their rows."""

from collections.abc import Collection, Iterable, Sequence
from functools import cache as memoize
from typing import Any, Self

from django.db import models, transaction
from django.db.models import F, Q, Value

from . import transactions
from .registry import written_by

CHUNK = 10_000  # pks in one query: PostgreSQL takes 65,535, SQLite 250,000
CHUNK_OF_CONFLICTS = 200  # rows in one query by several unique fields: SQLite nests 1,000 deep


class CacheQuerySet(models.QuerySet):
    """Django's QuerySet, whose mass writes hold their rows: they send no signals."""

    _held = False  # the rows of this one are held already

    def _clone(self) -> Self:
        clone = super()._clone()
        clone._held = self._held
        return clone

    def _hold(self, pks: Collection[Any]) -> None:
        if pks:
            transactions.hold(written_by(self.model, self.db), pks, self.db)

    def _pick(self, *names: str) -> list[Any]:
        """Return the values of these rows, without the order and the locks of a read.

        An update ignores distinct fields too, unless it joins tables.
        """
        rows = self.order_by().values_list(*names, flat=len(names) == 1)
        rows.query.select_for_update = False
        rows.query.distinct_fields = ()
        return list(dict.fromkeys(rows))

    def update(self, **values: Any) -> int:
        """Update as Django does, but hold the rows before the COMMIT.

        It updates the rows that match at the start. A row that others change meanwhile, so that it
        would match then, stays as it is.
        """
        if self._held or not written_by(self.model, self.db):
            return super().update(**values)
        # Django's errors, before a transaction is begun that they would break.
        super(CacheQuerySet, self.none()).update(**values)
        self._for_write = True
        old = self._pick("pk")
        new = self._new_pks(values)
        chunk = CHUNK if not new else len(old) or 1  # a row must not be found by its new pk
        with transaction.atomic(using=self.db, savepoint=False):
            self._hold([*old, *new])
            updated = 0
            for begin in range(0, len(old), chunk):
                rows = self.filter(pk__in=old[begin : begin + chunk])
                updated += super(CacheQuerySet, rows).update(**values)
        self._result_cache = None
        return updated

    update.alters_data = True

    def _new_pks(self, values: dict[str, Any]) -> list[Any]:
        """Return the pks that an update to `values` gives these rows, if it writes them at all."""
        fields = self.model._meta.pk_fields
        if not any(field.name in values or field.attname in values for field in fields):
            return []
        parts = {}
        for field in fields:
            value = values.get(field.name, values.get(field.attname, F(field.attname)))
            if not hasattr(value, "resolve_expression"):
                value = Value(getattr(value, "pk", value), output_field=field)
            parts[f"new_{field.name}"] = value
        return self.annotate(**parts)._pick(*parts)

    def bulk_update(
        self, objs: Iterable[models.Model], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        """Update as Django does, but hold the rows before the COMMIT."""
        objs, fields = tuple(objs), tuple(fields)
        super().bulk_update((), fields, batch_size)  # Django's errors, as in `update`
        if not all(instance._is_pk_set() for instance in objs):
            return super().bulk_update(objs, fields, batch_size)  # another error
        self._for_write = True
        held = self._clone()
        held._held = True
        with transaction.atomic(using=self.db, savepoint=False):
            self._hold([instance.pk for instance in objs])
            return super(CacheQuerySet, held).bulk_update(objs, fields, batch_size)

    bulk_update.alters_data = True

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
        options = {
            "batch_size": batch_size,
            "ignore_conflicts": ignore_conflicts,
            "update_conflicts": update_conflicts,
            "update_fields": update_fields,
            "unique_fields": unique_fields,
        }
        if not update_conflicts or not written_by(self.model, self.db):
            return super().bulk_create(objs, **options)
        objs = list(objs)
        self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            created = super().bulk_create(objs, **options)
            self._hold(self._conflicting(objs, unique_fields or ()))
        return created

    bulk_create.alters_data = True

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
            pks += self.model._base_manager.using(self.db).filter(same)._pick("pk")
        return pks

    def _raw_delete(self, using: str) -> int:
        """Delete as Django does, past its signals, but hold the rows before the COMMIT."""
        if not written_by(self.model, using):
            return super()._raw_delete(using)
        with transaction.atomic(using=using, savepoint=False):
            pks = self.using(using)._pick("pk")
            if pks:
                transactions.hold(written_by(self.model, using), pks, using)
            return super()._raw_delete(using)

    _raw_delete.alters_data = True


@memoize
def holding_class(queryset_class: type[models.QuerySet]) -> type[models.QuerySet]:
    """Return `queryset_class`, or a subclass of it, whose mass writes hold their rows."""
    if issubclass(queryset_class, CacheQuerySet):
        return queryset_class
    if queryset_class is models.QuerySet:
        return CacheQuerySet

    class Holding(CacheQuerySet, queryset_class):
        def __reduce__(self) -> tuple[Any, ...]:  # pickle would look for the class by its name
            return _unpickled, (queryset_class,), self.__getstate__()

    Holding.__name__ = Holding.__qualname__ = queryset_class.__name__
    return Holding


def _unpickled(queryset_class: type[models.QuerySet]) -> models.QuerySet:
    holding = holding_class(queryset_class)
    return holding.__new__(holding)
