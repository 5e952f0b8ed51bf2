"""Writes by fixtures, which save raw, and by migrations, which use historical models."""

import gc
import tempfile
from pathlib import Path
from weakref import ref

from django.apps import apps
from django.core import serializers
from django.core.management import call_command
from django.db import connection, migrations
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState
from django.test import TestCase, TransactionTestCase

from cars.tests.support.assertions import HeldMixin
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import (
    Animal,
    Dog,
    Drawer,
    Keeper,
    Pair,
    Pet,
    Plain,
    PlainProxy,
    Uuid,
    default_keeper,
)


class FixtureTests(HeldMixin, TestCase):
    """`manage.py loaddata`."""

    def setUp(self):
        empty_cache()

    def load(self, *objects, **options):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "fixture.json")
            path.write_text(serializers.serialize("json", objects, **options))
            call_command("loaddata", path, verbosity=0)

    def test_existing_rows_are_held(self):
        plain, uuid = Plain.objects.create(name="a"), Uuid.objects.create(name="a")
        pair = Pair.objects.create(left=1, right="a b")
        with self.assertHeld(plain, uuid):
            self.load(Plain(pk=plain.pk, name="b"), Uuid(pk=uuid.pk, name="b"))
        self.assertEqual(Plain.objects.cache(plain.pk).name, "b")
        self.assertRight(Pair, pair.pk)

    def test_new_rows_are_found(self):
        with self.assertRaises(Plain.DoesNotExist):
            Plain.objects.cache(1000)
        self.load(Plain(pk=1000, name="b"))
        self.assertRight(Plain, 1000)

    def test_a_row_found_by_its_natural_key_is_held(self):
        drawer = Drawer.objects.create(name="a", size=1)
        with self.assertHeld(drawer):
            self.load(Drawer(name="a", size=2), use_natural_primary_keys=True)
        self.assertEqual(Drawer.objects.cache(drawer.pk).size, 2)

    def test_a_parent_and_its_child_are_held(self):
        dog = Dog.objects.create(name="Rex", tricks=1)
        animal = Animal.objects.get()
        with self.assertHeld(animal, dog):
            self.load(Animal(pk=dog.pk, name="Lassie"))
        with self.assertHeld(animal, dog):
            self.load(Dog(pk=dog.pk, tricks=2))
        self.assertEqual(Dog.objects.cache(dog.pk).tricks, 2)

    def test_a_row_with_many_to_many_relations_is_held(self):
        pet = Pet.objects.create(name="x")
        pet.friends.add(Keeper.objects.create(name="Ann"))
        with self.assertHeld(pet):
            self.load(pet)


class MigrationTests(HeldMixin, TransactionTestCase):
    """A RunPython operation, which gets historical models."""

    def setUp(self):
        empty_cache()
        self.plain = Plain.objects.create(name="a", number=1)

    def migrate(self, run):
        """Run a migration with the operation RunPython(run) as `manage.py migrate` does."""
        migration = Migration("0002_data", "zoo")
        migration.operations = [migrations.RunPython(run)]
        with connection.schema_editor(atomic=migration.atomic) as editor:
            migration.apply(ProjectState.from_apps(apps), editor)

    def test_a_save_a_create_and_a_delete_hold_the_rows(self):
        other = Plain.objects.create(name="other")

        def run(apps, editor):
            model = apps.get_model("zoo", "Plain")
            self.assertIsNot(model, Plain)
            row = model.objects.get(pk=self.plain.pk)
            row.name = "b"
            row.save()
            model.objects.create(pk=1000, name="new")
            model.objects.get(pk=other.pk).delete()

        with self.assertHeld(self.plain, other):
            self.migrate(run)
        self.assertRight(Plain, 1000)

    def test_mass_writes_hold_the_rows(self):
        pk = self.plain.pk
        by_pk = {"update_conflicts": True, "unique_fields": ["pk"], "update_fields": ["name"]}
        writes = [
            lambda model: model.objects.update(name="b"),
            lambda model: model.objects.filter(name="b").update(name="c"),
            lambda model: model.objects.bulk_update([model(pk=pk, name="d")], ["name"]),
            lambda model: model._base_manager.update(name="e"),
            lambda model: model._default_manager.update_or_create({"name": "f"}, pk=pk),
            lambda model: model.objects.bulk_create([model(pk=pk, name="g")], **by_pk),
            lambda model: model.objects.all().delete(),
        ]
        for write in writes:
            with self.assertHeld(self.plain):
                self.migrate(lambda apps, editor, write=write: write(apps.get_model("zoo.Plain")))

    def test_writes_of_a_proxy_a_parent_and_a_child_hold_the_rows(self):
        dog = Dog.objects.create(name="Rex")
        rows = (self.plain, PlainProxy.objects.get(), dog, Animal.objects.get())

        def run(apps, editor):
            apps.get_model("zoo", "PlainProxy").objects.update(name="b")
            row = apps.get_model("zoo", "Animal").objects.get()
            row.name = "Lassie"
            row.save()
            apps.get_model("zoo", "Dog").objects.update(tricks=5)

        with self.assertHeld(*rows):
            self.migrate(run)

    def test_deletes_that_write_other_rows_hold_them(self):
        default_keeper()
        keeper, owner = (Keeper.objects.create(name=name) for name in ("Ann", "Bob"))
        pet = Pet.objects.create(name="x", owner=keeper, vet=keeper, walker=keeper)
        guest = Pet.objects.create(name="y", home=owner)

        def run(apps, editor):
            model = apps.get_model("zoo", "Keeper")
            model.objects.get(pk=keeper.pk).delete()
            model.objects.filter(pk=owner.pk).delete()

        def walkers(apps, editor):
            # In the historical model `SET(default_keeper)` gives an instance of the real Keeper.
            model = apps.get_model("zoo", "Pet")
            model.objects.filter(pk=pet.pk).update(walker=None)

        with self.assertHeld(pet):
            self.migrate(walkers)
        with self.assertHeld(pet, guest):
            self.migrate(run)
        self.assertIsNone(Pet.objects.cache(pet.pk).owner_id)

    def test_set_default_holds_the_referring_row(self):
        keeper = Keeper.objects.create(name="Ann")
        pet = Pet.objects.create(name="x", vet=keeper)
        with self.assertHeld(pet):
            self.migrate(lambda apps, editor: apps.get_model("zoo.Keeper").objects.all().delete())

    def test_related_managers_hold_the_row(self):
        keeper = Keeper.objects.create(name="Ann")
        pet = Pet.objects.create(name="x")

        def run(apps, editor):
            model = apps.get_model("zoo", "Keeper")
            related = model.objects.get(pk=keeper.pk).pets
            related.add(apps.get_model("zoo", "Pet").objects.get())
            related.clear()

        with self.assertHeld(pet):
            self.migrate(run)

    def test_a_migration_that_fails_leaves_the_rows_right(self):
        def run(apps, editor):
            apps.get_model("zoo", "Plain").objects.update(name="b")
            raise ZeroDivisionError

        Plain.objects.cache(self.plain.pk)
        with self.assertRaises(ZeroDivisionError):
            self.migrate(run)
        self.assertRight(Plain, self.plain.pk)

    def test_historical_models_are_garbage_collected(self):
        models = []

        def run(apps, editor):
            for name in ("Pet", "Keeper", "Plain", "Dog"):
                models.append(ref(apps.get_model("zoo", name)))

        self.migrate(run)
        gc.collect()
        self.assertEqual([model() for model in models], [None] * 4)

    def test_the_state_of_migrations_is_not_changed(self):
        state = ProjectState.from_apps(apps)
        for name in ("plain", "pet", "dog", "shelf", "drawer"):
            model = state.models["zoo", name]
            self.assertEqual(model.managers, [], name)
            self.assertNotIn("base_manager_name", model.options)
