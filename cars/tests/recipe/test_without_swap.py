"""Caches that can't compare and swap: the database is read, and nothing else changes."""

from collections import Counter
from contextlib import ExitStack
from unittest.mock import patch

from django.core.cache import caches
from django.db import connection, transaction
from django.db.models.signals import pre_delete
from django.test import TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from cars.caching import registry
from cars.lab import servers
from cars.tests.support.receivers import connected
from cars.tests.support.zoo.models import Drawer, Keeper, Uncached

LOGGER = "cars.caching"
LOCAL_MEMORY = "django.core.cache.backends.locmem.LocMemCache"
DUMMY = "django.core.cache.backends.dummy.DummyCache"
REDIS = "django.core.cache.backends.redis.RedisCache"


def upsert(model, size):
    """Create the row "d" and update the row "a"."""
    model.objects.bulk_create(
        [model(name="a", size=size), model(name="d", size=size)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["size"],
    )


def bulk_update(model, size):
    """Update all rows by bulk_update()."""
    rows = list(model.objects.order_by("pk"))
    for row in rows:
        row.size = size
    model.objects.bulk_update(rows, ["size"])


def in_a_block(write):
    """Return `write` in a transaction."""

    def write_in_a_block(model):
        with transaction.atomic():
            write(model)

    return write_in_a_block


def in_an_undone_savepoint(model):
    """Update the row "a" in a savepoint that is rolled back, then the row "b"."""
    with transaction.atomic():
        try:
            with transaction.atomic():
                model.objects.filter(name="a").update(size=99)
                raise ValueError
        except ValueError:
            pass
        model.objects.filter(name="b").update(size=16)


def undone(write):
    """Return `write` in a transaction that is rolled back."""

    def write_and_undo(model):
        try:
            with transaction.atomic():
                write(model)
                raise ValueError
        except ValueError:
            pass

    return write_and_undo


def save(model, **values):
    """Save the row "a" with these values."""
    row = model.objects.get(name="a")
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


# Each writes rows of `model`, which has the rows "a" and "b".
WRITES = {
    "create": lambda model: model.objects.create(name="c", size=1),
    "save": lambda model: save(model, size=2),
    "save of a new row with a pk": lambda model: model(pk=4711, name="c").save(),
    "get_or_create": lambda model: model.objects.get_or_create(name="c"),
    "update_or_create": lambda model: model.objects.update_or_create(
        name="a", defaults={"size": 3}
    ),
    "update": lambda model: model.objects.filter(name="a").update(size=4),
    "update of all": lambda model: model.objects.update(size=5),
    "bulk_create": lambda model: model.objects.bulk_create([model(name="c"), model(name="d")]),
    "bulk_create that ignores": lambda model: model.objects.bulk_create(
        [model(name="a", size=6)], ignore_conflicts=True
    ),
    "bulk_create that updates": lambda model: upsert(model, 7),
    "bulk_update": lambda model: bulk_update(model, 8),
    "delete": lambda model: model.objects.get(name="a").delete(),
    "delete of a queryset": lambda model: model.objects.filter(name="a").delete(),
    "save in a block": in_a_block(lambda model: save(model, size=9)),
    "update in a block": in_a_block(lambda model: model.objects.update(size=10)),
    "bulk_update in a block": in_a_block(lambda model: bulk_update(model, 11)),
    "bulk_create that updates in a block": in_a_block(lambda model: upsert(model, 12)),
    "delete in a block": in_a_block(lambda model: model.objects.get(name="a").delete()),
    "save that is undone": undone(lambda model: save(model, size=13)),
    "update that is undone": undone(lambda model: model.objects.update(size=14)),
    "delete that is undone": undone(lambda model: model.objects.all().delete()),
    "update in a savepoint that is undone": in_an_undone_savepoint,
}


def do_nothing(**kwargs):
    """A receiver."""


def rows_of(model):
    """Return the names and sizes of the rows of `model`."""
    return list(model.objects.order_by("name").values_list("name", "size"))


class DummyCacheTests(TransactionTestCase):
    """Django's way to switch caching off. The other classes here run the same tests."""

    CACHE = {"BACKEND": DUMMY}
    WARNINGS = 0

    def setUp(self):
        self.enterContext(override_settings(CACHES={"default": self.CACHE}))
        self.enterContext(patch.object(registry.logger, "disabled", True))
        self.addCleanup(registry._warn_once.cache_clear)
        self.fill(Drawer)
        self.fill(Uncached)

    def fill(self, model):
        model.objects.all().delete()
        for name in ("a", "b"):
            model.objects.create(name=name)

    def queries_of(self, write, model):
        """Return how many SQL statements of each kind `write(model)` runs."""
        self.fill(model)
        with CaptureQueriesContext(connection) as captured:
            write(model)
        return Counter(query["sql"].split()[0] for query in captured)

    def test_a_read_is_one_select(self):
        pks = list(Drawer.objects.order_by("pk").values_list("pk", flat=True))
        for _ in range(2):
            with self.assertNumQueries(1):
                self.assertEqual(Drawer.objects.cache(pks[0]).name, "a")
            with self.assertNumQueries(1):
                self.assertEqual(list(Drawer.objects.cache_many(pks)), pks)
        with self.assertNumQueries(1), self.assertRaises(Drawer.DoesNotExist):
            Drawer.objects.cache(0)

    def test_a_read_in_a_block_is_one_select(self):
        pk = Drawer.objects.get(name="a").pk
        with transaction.atomic(), self.assertNumQueries(1):
            self.assertEqual(Drawer.objects.cache(pk).name, "a")

    def test_a_block_that_reads_runs_no_query_at_its_end(self):
        pk = Drawer.objects.get(name="a").pk
        with CaptureQueriesContext(connection) as captured:
            with transaction.atomic():
                Drawer.objects.cache(pk)
        selects = [query for query in captured if query["sql"].startswith("SELECT")]
        self.assertEqual(len(selects), 1)

    def test_each_write_has_the_same_effect_as_without_a_cache_manager(self):
        for name, write in WRITES.items():
            with self.subTest(name):
                self.fill(Drawer)
                self.fill(Uncached)
                pk = Drawer.objects.get(name="a").pk
                Drawer.objects.cache(pk)
                write(Drawer)
                write(Uncached)
                self.assertEqual(rows_of(Drawer), rows_of(Uncached))
                pks = list(Drawer.objects.values_list("pk", flat=True))
                found = Drawer.objects.cache_many([pk, *pks])
                self.assertEqual(
                    sorted((row.name, row.size) for row in found.values()), rows_of(Drawer)
                )

    def test_each_write_runs_the_queries_that_it_runs_without_a_cache_manager(self):
        for name, write in WRITES.items():
            with self.subTest(name), ExitStack() as stack:
                if "delete" in name:
                    # For a model with receivers, Django selects the rows that it deletes.
                    stack.enter_context(connected(pre_delete, do_nothing, Uncached))
                self.assertEqual(self.queries_of(write, Drawer), self.queries_of(write, Uncached))

    def test_a_delete_selects_the_rows_that_refer_to_it_as_django_does(self):
        keeper = Keeper.objects.create(name="Ann")
        with CaptureQueriesContext(connection) as captured:
            keeper.delete()
        visits = [query for query in captured if 'FROM "zoo_visit"' in query["sql"]]
        self.assertEqual(len(visits), 2)  # one for each foreign key with such an `on_delete`

    def test_expire_and_forget_do_nothing(self):
        pks = list(Drawer.objects.values_list("pk", flat=True))
        with self.assertNumQueries(0):
            Drawer.objects.expire(pks)
            self.assertEqual(Drawer.objects.forget(pks), 0)

    def test_reads_and_writes_never_call_the_cache(self):
        backend = type(caches["default"])
        methods = ("get", "get_many", "has_key", "add", "set", "set_many", "delete", "delete_many")
        calls = [self.enterContext(patch.object(backend, method)) for method in methods]
        for write in WRITES.values():
            self.fill(Drawer)
            write(Drawer)
            pks = list(Drawer.objects.values_list("pk", flat=True))
            Drawer.objects.cache_many(pks)
            Drawer.objects.forget(pks)
        self.assertEqual([call.call_count for call in calls], [0] * len(methods))

    def test_reads_and_writes_log_a_warning_at_most_once(self):
        registry._warn_once.cache_clear()
        registry.logger.disabled = False
        with self.assertLogs(LOGGER, "DEBUG") as logs:
            registry.logger.debug("assertLogs needs one record")
            for write in WRITES.values():
                self.fill(Drawer)
                write(Drawer)
                Drawer.objects.cache_many(Drawer.objects.values_list("pk", flat=True))
        warnings = [record.getMessage() for record in logs.records[1:]]
        self.assertEqual(len(warnings), self.WARNINGS, warnings)
        for warning in warnings:
            self.assertIn("CACHES['default']", warning)
            self.assertIn(self.CACHE["BACKEND"], warning)
            self.assertIn("MemcachedCache", warning)


class LocMemCacheTests(DummyCacheTests):
    """Django's local memory, as many projects use in their tests."""

    CACHE = {"BACKEND": LOCAL_MEMORY}
    WARNINGS = 1


class UnreachableRedisTests(DummyCacheTests):
    """Redis, with no server at its address."""

    CACHE = {"BACKEND": REDIS, "LOCATION": f"redis://127.0.0.1:{servers.free_port()}"}
    WARNINGS = 1
