"""What a model uses: `objects = CacheManager()`."""

from collections.abc import Collection, Iterable, Sequence
from functools import cache as memoize
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.db import models, router, transaction
from django.db.models import F, Q, Value
from django.db.models.signals import class_prepared
from django.dispatch import receiver

from . import signals, transactions
from .keys import Config, Table, is_cached, register, table_of, tables_written_by

CHUNK = 10_000  # pks in one query: PostgreSQL takes 65,535, SQLite 250,000
CHUNK_OF_CONFLICTS = 200  # rows in one query by several unique fields: SQLite nests 1,000 deep


class HoldingMixin:
    """For QuerySets of cached models: mass writes, which send no signals, hold their rows."""

    _held = False  # somebody holds the rows of this one already

    def _clone(self) -> Self:
        clone = super()._clone()
        clone._held = self._held
        return clone

    def _hold(self, pks: Collection[Any]) -> None:
        if pks:
            transactions.hold(tables_written_by(self.model, self.db), pks, self.db)

    def _pick(self, *names: str) -> list[Any]:
        """Return the values of these rows, without the order and the locks a read may want.

        An update takes no notice of distinct fields either, unless it joins tables.
        """
        rows = self.order_by().values_list(*names, flat=len(names) == 1)
        rows.query.select_for_update = False
        rows.query.distinct_fields = ()
        return list(dict.fromkeys(rows))

    def update(self, **values: Any) -> int:
        """Update as Django does, but hold the rows before the COMMIT.

        They are the rows that match at the start: one that others change meanwhile, so that it
        would match, stays as it is.
        """
        if self._held:
            return super().update(**values)
        # Django's errors, where they don't break the transaction that is begun below.
        super(HoldingMixin, self.none()).update(**values)
        self._for_write = True
        old = self._pick("pk")
        new = self._new_pks(values)
        chunk = CHUNK if not new else len(old) or 1  # a row must not be found by its new pk
        with transaction.atomic(using=self.db, savepoint=False):
            self._hold([*old, *new])
            updated = 0
            for begin in range(0, len(old), chunk):
                rows = self.filter(pk__in=old[begin : begin + chunk])
                updated += super(HoldingMixin, rows).update(**values)
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
            return super().bulk_update(objs, fields, batch_size)  # another one
        self._for_write = True
        held = self._clone()
        held._held = True
        with transaction.atomic(using=self.db, savepoint=False):
            self._hold([instance.pk for instance in objs])
            return super(HoldingMixin, held).bulk_update(objs, fields, batch_size)

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
        if not update_conflicts:
            return super().bulk_create(objs, **options)
        objs = list(objs)
        self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            created = super().bulk_create(objs, **options)
            self._hold(self._conflicting(objs, unique_fields or ()))
        return created

    bulk_create.alters_data = True

    def _conflicting(self, objs: Sequence[models.Model], names: Collection[str]) -> list[Any]:
        """Return the pks of the rows that `objs` have met or made, by their unique fields.

        What the objects themselves say afterwards can be the pk of no row at all.
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
        with transaction.atomic(using=using, savepoint=False):
            pks = self.using(using)._pick("pk")
            if pks:
                transactions.hold(tables_written_by(self.model, using), pks, using)
            return super()._raw_delete(using)

    _raw_delete.alters_data = True


class CacheQuerySet(HoldingMixin, models.QuerySet):
    """Django's QuerySet, whose mass writes hold their rows."""


@memoize
def _holding(queryset_class: type[models.QuerySet]) -> type[models.QuerySet]:
    """Return `queryset_class`, or a subclass of it, whose mass writes hold their rows."""
    if issubclass(queryset_class, HoldingMixin):
        return queryset_class

    class Holding(HoldingMixin, queryset_class):
        def __reduce__(self) -> tuple[Any, ...]:  # pickle would look for the class by its name
            return _unpickled, (queryset_class,), self.__getstate__()

    Holding.__name__ = Holding.__qualname__ = queryset_class.__name__
    return Holding


def _unpickled(queryset_class: type[models.QuerySet]) -> models.QuerySet:
    holding = _holding(queryset_class)
    return holding.__new__(holding)


class CacheManager(models.Manager.from_queryset(CacheQuerySet)):
    """A manager that reads rows through the cache. It keeps the cache right, whoever writes them.

    `timeout`: seconds that a row stays if nobody writes it; an hour.
    `prefix`: what its keys begin with; nothing. For the second of two models of one name.
    `cache`: which of Django's CACHES; "default".

    It gives its model a method `key()`, unless it has one: the key of the row in the cache.
    """

    def __init__(self, timeout: int = 3600, prefix: str = "", cache: str = "default") -> None:
        super().__init__()
        self.config = Config(timeout, prefix, cache)

    @classmethod
    def from_queryset(
        cls, queryset_class: type[models.QuerySet], class_name: str | None = None
    ) -> type[Self]:
        """Return a manager with the methods of `queryset_class`, whose mass writes hold too."""
        return super().from_queryset(_holding(queryset_class), class_name)

    def cache(self, pk: Any) -> models.Model:
        """Return the row `pk`, from the cache or, if it isn't there, from the database.

        Raises what `get(pk=pk)` raises: DoesNotExist, and ValueError for what is no pk.
        """
        if not _is_none(pk):
            table = self._table
            instance = transactions.read_one(table, table.key(pk), pk)
            if instance is not None:
                if table.model is not self.model:  # a proxy of what is cached
                    instance.__class__ = self.model
                return instance
        raise self.model.DoesNotExist(f"There is no {self.model._meta.object_name} {pk!r}.")

    def cache_many(self, pks: Iterable[Any]) -> dict[Any, models.Model]:
        """Return the rows `pks` by pk, in the order asked for; what doesn't exist is missing.

        One round trip for the hits and, if there are misses, one SELECT for all of them.
        """
        table = self._table
        keys = {pk: table.key(pk) for pk in pks if not _is_none(pk)}
        found = transactions.read(table, {key: pk for pk, key in keys.items()})
        if table.model is not self.model:  # a proxy of what is cached
            for instance in found.values():
                instance.__class__ = self.model
        return {pk: found[key] for pk, key in keys.items() if key in found}

    async def acache(self, pk: Any) -> models.Model:
        """Return what `cache` does."""
        return await sync_to_async(self.cache)(pk)

    async def acache_many(self, pks: Iterable[Any]) -> dict[Any, models.Model]:
        """Return what `cache_many` does."""
        return await sync_to_async(self.cache_many)(pks)

    def expire(self, pks: Iterable[Any]) -> None:
        """Tell the cache that the rows `pks` were written by what Django doesn't see.

        In a transaction, call it before the COMMIT: then nobody reads what was before.
        """
        transactions.hold(tables_written_by(self.model, self._alias), list(pks), self._alias)

    @property
    def _table(self) -> Table:
        return table_of(self.model._meta.concrete_model, self._alias)

    @property
    def _alias(self) -> str:
        # A row is read where it is written: a replica may lag behind.
        return self._db or router.db_for_write(self.model, **self._hints)


def _is_none(pk: Any) -> bool:
    """Is `pk`, or a part of it, None, as the pk of no row is?"""
    return None in pk if isinstance(pk, tuple) else pk is None


# Every class on a cached table, as it is prepared


@receiver(class_prepared)
def _prepare(sender: type[models.Model], **kwargs: Any) -> None:
    signals.connect_referring(sender)
    if sender.__module__ == "__fake__":  # a historical model of a migration
        if is_cached(sender):
            _adopt(sender)
        return
    manager = next((m for m in sender._meta.managers if isinstance(m, CacheManager)), None)
    concrete = sender._meta.concrete_model
    register(concrete, manager.config if manager else None)
    if manager and not hasattr(concrete, "key"):
        concrete.key = _key
    # Parents and their proxies were prepared before, when nobody knew them to share cached rows.
    for root in (concrete, *concrete._meta.all_parents):
        for model in signals.with_subclasses(root):
            if is_cached(model):
                signals.connect(model)
                _give_base_manager(model)


def _key(instance: models.Model) -> str:
    """Return the key of this row in the cache."""
    model = type(instance)
    alias = router.db_for_write(model, instance=instance)
    return table_of(model._meta.concrete_model, alias).key(instance.pk)


def _give_base_manager(model: type[models.Model]) -> None:
    """Let Django's own writes (SET_NULL, related `add`) go through a QuerySet that holds."""
    meta = model._meta
    if meta.base_manager_name is None:
        for manager in meta.managers:
            if isinstance(manager, CacheManager) and not filters(manager):
                meta.base_manager_name = manager.name
                meta._expire_cache()
                return


def filters(manager: models.Manager) -> bool:
    """Does its class have a `get_queryset` of its own, which may leave rows out?"""
    return type(manager).get_queryset is not models.Manager.get_queryset


def _adopt(model: type[models.Model]) -> None:
    manager = CacheManager()
    meta = model._meta
    meta.local_managers = [own for own in meta.local_managers if own.name != "objects"]
    model.add_to_class("objects", manager)
    meta.default_manager_name = meta.base_manager_name = "objects"
    meta._expire_cache()
    signals.connect(model)
