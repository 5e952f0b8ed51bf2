"""What the tests of writes have in common: was a row held when its write was committed?"""

from contextlib import contextmanager
from unittest import mock

from asgiref.sync import async_to_sync
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import Atomic

from cars.caching import databases
from cars.caching.entries import Holds, Row
from cars.caching.registry import CachedModel


def run(call):
    """Run to its end the coroutine that `call()` returns, on this thread's connections."""

    async def main():
        return await call()

    return async_to_sync(main)()


def cached_model_of(model, alias=DEFAULT_DB_ALIAS):
    """Return the Table whose rows the instances of `model` are."""
    return CachedModel(model._meta.concrete_model, alias)


def entry(model, pk, alias=DEFAULT_DB_ALIAS):
    """Return what stands in the cache for the row `pk`: a Row, a Lease, Holds, or None."""
    table = cached_model_of(model, alias)
    key = table.key(pk)
    return table.cache.gets_many([key])[key].value


def in_database(model, pk, alias=DEFAULT_DB_ALIAS):
    """Return the values of the row `pk` as the database has them, or None."""
    rows = model._base_manager.using(alias).filter(pk=pk)
    return rows.values(*(field.attname for field in model._meta.concrete_fields)).first()


def values_of(instance):
    """Return the values of the fields of `instance`."""
    return {f.attname: getattr(instance, f.attname) for f in instance._meta.concrete_fields}


@contextmanager
def at_commits(look, *models, alias=DEFAULT_DB_ALIAS):
    """Call `look` before each COMMIT inside the block, and before each write in autocommit.

    Inside a TestCase as well, where the outermost `atomic()` of the test's own stands for the
    transaction. In autocommit only writes of the tables of `models` count.
    """
    tables = {m._meta.db_table for model in models for m in (model, *model._meta.all_parents)}
    connection = connections[alias]
    leave = Atomic.__exit__

    def leaving(atomic, exc_type, exc_value, traceback):
        if exc_type is None and connections[atomic.using or DEFAULT_DB_ALIAS] is connection:
            own = [block for block in connection.atomic_blocks if not block._from_testcase]
            if own == [atomic]:
                look()
        return leave(atomic, exc_type, exc_value, traceback)

    def executing(execute, sql, params, many, context):
        write = sql.split(None, 1)[0].upper() in {"INSERT", "UPDATE", "DELETE"}
        if write and sql.split('"')[1] in tables and not databases.in_transaction(connection):
            look()
        return execute(sql, params, many, context)

    with (
        mock.patch.object(Atomic, "__exit__", leaving),
        connection.execute_wrapper(executing),
    ):
        yield


class HeldMixin:
    """Assertions on what a write does to the cache."""

    def assertRight(self, model, pk, alias=DEFAULT_DB_ALIAS):
        """Assert that the cache gives what the database has, and that it does so by itself."""
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
        """Assert that the rows of `instances` are held when the block's writes are committed.

        They are put into the cache before; after the block the cache must be right on them.
        """
        rows = [(type(instance), instance.pk) for instance in instances]
        for model, pk in rows:
            model.objects.db_manager(alias).cache(pk)
            self.assertIsInstance(entry(model, pk, alias), Row, "not in the cache at first")
        seen = []

        def look():
            seen.append([entry(model, pk, alias) for model, pk in rows])

        with at_commits(look, *(model for model, pk in rows), alias=alias):
            yield
        self.assertTrue(seen, "nothing was written")
        for entries in seen:
            for (model, pk), standing in zip(rows, entries, strict=True):
                self.assertIsInstance(standing, Holds, f"{model.__name__} {pk!r} at its COMMIT")
        for model, pk in rows:
            self.assertRight(model, pk, alias)
