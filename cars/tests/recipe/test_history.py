"""Historical models of migrations, and fingerprints of models that have changed."""

import gc
import os
import subprocess
import sys
from unittest import mock

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, migrations, models
from django.db.migrations.migration import Migration
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import F, signals
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.test.utils import isolate_apps

from cars.caching import CacheManager, registry
from cars.caching.rows import fingerprint
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Custom, Everything, Keeper, Pet, Plain, Worker


def historical(name):
    """Return the historical model that migrations get."""
    return ProjectState.from_apps(apps).apps.get_model("zoo", name)


class HistoricalModelTests(TestCase):
    def setUp(self):
        empty_cache()

    def test_a_manager_that_migrations_use_keeps_its_methods(self):
        worker = historical("Worker").objects.create_named("ann")
        self.assertEqual(Worker.objects.cache(worker.pk).name, "Ann")

    def test_a_pk_of_another_type_is_no_error(self):
        state = ProjectState()
        fields = [("id", models.CharField(max_length=9, primary_key=True))]
        state.add_model(ModelState("zoo", "Plain", fields, {"db_table": "zoo_plain"}))
        model = state.apps.get_model("zoo", "Plain")
        instance = model(id="a text")
        for signal in (signals.pre_save, signals.pre_delete, signals.post_delete):
            signal.send(model, instance=instance, using="default", raw=False)
        signals.post_save.send(model, instance=instance, using="default", created=True, raw=False)

    def test_they_are_written_but_not_read_through_the_cache(self):
        model = historical("Plain")
        row = model.objects.create(name="a")
        for read in (lambda: model.objects.cache(row.pk), lambda: model.objects.cache_many([1])):
            with self.assertRaisesMessage(ImproperlyConfigured, "zoo.Plain is not cached"):
                read()
        self.assertEqual(Plain.objects.cache(row.pk).name, "a")

    def test_rows_that_are_written_through_a_relation_are_held_beside_a_manager_of_migrations(self):
        state = ProjectState.from_apps(apps)
        state.models["zoo", "pet"].managers = [("kept", Kept())]
        keeper = Keeper.objects.create(name="Ann")
        pet = Pet.objects.create(name="kept", owner=keeper)
        Pet.objects.cache(pet.pk)
        old_keeper = state.apps.get_model("zoo", "Keeper").objects.get()
        old_keeper.pets.update(name="Rex")
        self.assertEqual(Pet.objects.cache(pet.pk).name, "Rex")


def receivers():
    """Return how many receivers each signal has whose models still exist."""
    gc.collect()
    names = ("class_prepared", "pre_save", "post_save", "pre_delete", "post_delete")
    found = {name: getattr(signals, name) for name in names}
    for signal in found.values():
        signal._clear_dead_receivers()
    return {name: len(signal.receivers) for name, signal in found.items()}


class MigrateTests(TransactionTestCase):
    """Migrations of a cached model, each of which makes new historical models."""

    def migrate(self):
        """Add fields to Plain and remove them, one by one, as `manage.py migrate` does."""
        state = ProjectState()
        for model in (Keeper, Pet, Plain):
            state.add_model(ModelState.from_model(model, exclude_rels=model is Pet))
        for number in range(4):
            field = models.IntegerField(default=number)
            for operation in (
                migrations.AddField("plain", f"added_{number}", field),
                migrations.RemoveField("plain", f"added_{number}"),
            ):
                migration = Migration("0002_fields", "zoo")
                migration.operations = [operation]
                with connection.schema_editor(atomic=migration.atomic) as editor:
                    state = migration.apply(state, editor)

    def test_no_receivers_are_left(self):
        before = receivers()
        self.migrate()
        self.assertEqual(receivers(), before)

    def test_a_historical_model_has_two_receivers_which_go_with_it(self):
        before = receivers()
        state = ProjectState()
        state.add_model(ModelState.from_model(Plain))
        model = state.apps.get_model("zoo", "Plain")
        more = {"pre_delete": before["pre_delete"] + 1, "post_delete": before["post_delete"] + 1}
        self.assertEqual(receivers(), before | more)
        del state, model
        self.assertEqual(receivers(), before)


class Kept(models.Manager):
    """Leaves rows out."""

    def get_queryset(self):
        return super().get_queryset().filter(name="kept")


class KeptCacheManager(CacheManager):
    """Leaves the same rows out."""

    get_queryset = Kept.get_queryset


class StateTests(SimpleTestCase):
    def test_managers_that_become_cache_managers_need_no_migration(self):
        before_and_after = {
            "one": ({"objects": models.Manager()}, {"objects": CacheManager()}),
            "a second one": ({}, {"objects": CacheManager(), "cached": CacheManager()}),
            "a second one beside one that leaves rows out": (
                {"objects": Kept()},
                {"objects": KeptCacheManager(), "cached": CacheManager()},
            ),
            "a second one beside a default manager with another name": (
                {"kept": Kept()},
                {"kept": KeptCacheManager(), "objects": CacheManager()},
            ),
        }
        for case, both in before_and_after.items():
            with self.subTest(case):
                before, after = map(self.state_of, both)
                self.assertEqual(before.managers, after.managers)
                self.assertEqual(before.options, after.options)

    @isolate_apps("cars.tests.support.zoo")
    def state_of(self, managers):
        meta = type("Meta", (), {"app_label": "zoo"})
        attributes = {"__module__": __name__, "Meta": meta, "name": models.TextField(), **managers}
        known = (mock.patch.dict(registry._configs), mock.patch.dict(registry._families))
        with known[0], known[1]:
            return ModelState.from_model(type("Sample", (models.Model,), attributes))


def digest_of(*fields):
    """Return the fingerprint of a model with these fields."""

    with isolate_apps("cars.tests.support.zoo"):
        names = {f"field_{number}": field for number, field in enumerate(fields)}
        meta = type("Meta", (), {"app_label": "zoo"})
        attributes = {"__module__": __name__, "Meta": meta, **names}
        model = type("Sample", (models.Model,), attributes)
        return fingerprint._digest.__wrapped__(model, ("a database",))


def generated(expression):
    return models.GeneratedField(
        expression=expression, output_field=models.IntegerField(), db_persist=True
    )


CODE = """
import sys, django
from django.conf import settings
settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "cars.lab", "cars.tests.support.zoo"]
django.setup()
from cars.caching.rows import fingerprint
from cars.tests.support.zoo.models import Custom, Everything
for model in (Everything, Custom):
    print(fingerprint._digest(model, ("a database",)).hex())
"""


class FingerprintTests(SimpleTestCase):
    def test_it_changes_with_what_a_migration_can_change(self):
        decimal = models.DecimalField
        changes = {
            "null to a default": (models.IntegerField(null=True), models.IntegerField(default=0)),
            "default": (models.IntegerField(default=1), models.IntegerField(default=2)),
            "expression": (generated(F("id") + 1), generated(F("id") + 2)),
            "decimal_places": (
                decimal(max_digits=9, decimal_places=2),
                decimal(max_digits=9, decimal_places=3),
            ),
            "max_length": (models.CharField(max_length=1), models.CharField(max_length=2)),
        }
        for change, (before, after) in changes.items():
            with self.subTest(change):
                self.assertNotEqual(digest_of(before), digest_of(after))

    def test_it_changes_with_the_settings_of_time_zones(self):
        cached = registry.cached_model(Plain, "default")
        before = fingerprint.fingerprint_of(cached)
        for setting, value in {"TIME_ZONE": "Asia/Tokyo", "USE_TZ": False}.items():
            with self.subTest(setting):
                with override_settings(**{setting: value}):
                    self.assertNotEqual(fingerprint.fingerprint_of(cached), before)
                self.assertEqual(fingerprint.fingerprint_of(cached), before)

    def test_it_stays_with_what_the_database_does_not_see(self):
        plain = models.IntegerField()
        described = models.IntegerField("a number", help_text="of something", editable=False)
        self.assertEqual(digest_of(plain), digest_of(described))
        self.assertEqual(digest_of(generated(F("id") + 1)), digest_of(generated(F("id") + 1)))

    def test_it_is_the_same_in_another_process(self):
        environment = {**os.environ, "PYTHONHASHSEED": "1", "DJANGO_DEBUG": "on"}
        output = subprocess.run(
            [sys.executable, "-c", CODE],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(output.returncode, 0, output.stderr)
        here = [fingerprint._digest(model, ("a database",)).hex() for model in (Everything, Custom)]
        self.assertEqual(output.stdout.split(), here)
