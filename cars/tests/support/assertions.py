"""Assertions on writes: each row is held when its write is committed."""

from contextlib import contextmanager
from unittest import mock

from asgiref.sync import async_to_sync
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import Atomic

from cars.caching import transactions
from cars.caching.entries import Holds, Row
from cars.caching.registry import CachedModel


def run(call):
    """Run the coroutine that `call()` returns, on the connections of this thread."""

    async def main():
        return await call()

    return async_to_sync(main)()


def cached_model_of(model, alias=DEFAULT_DB_ALIAS):
    """Return the CachedModel whose rows the instances of `model` are."""
    return CachedModel(model._meta.concrete_model, alias)


def entry(model, pk, alias=DEFAULT_DB_ALIAS):
    """Return the entry of the row `pk` in the cache: a Row, a Lease, Holds or None."""
    cached = cached_model_of(model, alias)
    key = cached.key(pk)
    return cached.cache.gets_many([key])[key].value


def in_database(model, pk, alias=DEFAULT_DB_ALIAS):
    """Return the values of the row `pk` in the database, or None."""
    rows = model._base_manager.using(alias).filter(pk=pk)
    return rows.values(*(field.attname for field in model._meta.concrete_fields)).first()


def values_of(instance):
    """Return the values of the fields of `instance` by their names."""
    return {f.attname: getattr(instance, f.attname) for f in instance._meta.concrete_fields}


@contextmanager
def before_commits(look, *models, alias=DEFAULT_DB_ALIAS):
    """Call `look` before each COMMIT inside the block, and before each write in autocommit.

    Inside a TestCase, the outermost `atomic()` of the test counts as the transaction. In
    autocommit only writes to the database tables of `models` count.
    """
    tables = {m._meta.db_table for model in models for m in (model, *model._meta.all_parents)}
    connection = connections[alias]
    leave = Atomic.__exit__

    def leaving(atomic, exc_type, exc_value, traceback):
        if exc_type is None and connections[atomic.using or DEFAULT_DB_ALIAS] is connection:
            blocks = [block for block in connection.atomic_blocks if not block._from_testcase]
            if blocks == [atomic]:
                look()
        return leave(atomic, exc_type, exc_value, traceback)

    def executing(execute, sql, params, many, context):
        write = sql.split(None, 1)[0].upper() in {"INSERT", "UPDATE", "DELETE"}
        if write and sql.split('"')[1] in tables and not transactions.in_transaction(connection):
            look()
        return execute(sql, params, many, context)

    with (
        mock.patch.object(Atomic, "__exit__", leaving),
        connection.execute_wrapper(executing),
    ):
        yield


class HeldMixin:
    """Assertions on the cache before and after a write."""

    def assertRight(self, model, pk, alias=DEFAULT_DB_ALIAS):
        """Assert that the cache returns what the database has, then without a query."""
        expected = in_database(model, pk, alias)
        manager = model.objects.db_manager(alias)
        if expected is None:
            with self.assertRaises(model.DoesNotExist):
                manager.cache(pk)
            self.assertIsNone(entry(model, pk, alias))
            return
        self.assertEqual(values_of(manager.cache(pk)), expected)
        with self.assertNumQueries(0, using=alias):
            self.assertEqual(values_of(manager.cache(pk)), expected)

    @contextmanager
    def assertHeld(self, *instances, alias=DEFAULT_DB_ALIAS):
        """Assert that the rows of `instances` are held when the writes in the block are committed.

        They are cached before the block, and must be right after it.
        """
        rows = [(type(instance), instance.pk) for instance in instances]
        for model, pk in rows:
            model.objects.db_manager(alias).cache(pk)
            self.assertIsInstance(entry(model, pk, alias), Row, "not cached before the write")
        seen = []

        def look():
            seen.append([entry(model, pk, alias) for model, pk in rows])

        with before_commits(look, *(model for model, pk in rows), alias=alias):
            yield
        self.assertTrue(seen, "nothing was written")
        for entries in seen:
            for (model, pk), value in zip(rows, entries, strict=True):
                self.assertIsInstance(value, Holds, f"{model.__name__} {pk!r} before its COMMIT")
        for model, pk in rows:
            self.assertRight(model, pk, alias)
