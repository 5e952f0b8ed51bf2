"""Proxies, parents and children: several classes write one row."""

from unittest import mock

from django.db import connection, models, transaction
from django.test import TestCase, TransactionTestCase
from django.test.utils import isolate_apps

from cars.caching import CacheManager, registry
from cars.tests.support.assertions import HeldMixin
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Animal, Dog, Plain, PlainProxy, Puppy


class LateChildTests(TestCase):
    @isolate_apps("cars.tests.support.zoo", kwarg_name="apps")
    def test_a_parent_that_is_used_before_its_child_is_made_gets_a_base_manager_that_holds(
        self, apps
    ):
        apps.ready = False  # as while the models are loaded
        for known in (registry._configs, registry._families):
            self.enterContext(mock.patch.dict(known))

        class Vehicle(models.Model):
            class Meta:
                app_label = "zoo"

        self.assertNotIsInstance(Vehicle._base_manager, CacheManager)

        class Bus(Vehicle):
            objects = CacheManager()

            class Meta:
                app_label = "zoo"

        self.assertIsInstance(Vehicle._base_manager, CacheManager)
        self.assertIsInstance(Bus._base_manager, CacheManager)


class ProxyTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.row = Plain.objects.create(name="a")
        self.proxy = PlainProxy.objects.get()

    def test_a_proxy_and_its_model_share_a_key(self):
        self.assertEqual(self.proxy.key(), self.row.key())

    def test_a_write_by_one_class_holds_the_row_of_the_other(self):
        for writer in (self.row, self.proxy):
            writer.name += "b"
            with self.assertHeld(self.row, self.proxy):
                writer.save()
            with self.assertHeld(self.row, self.proxy):
                type(writer).objects.update(name="c")
            with self.assertHeld(self.row, self.proxy):
                type(writer).objects.bulk_update([writer], ["name"])

    def test_a_delete_by_a_proxy_holds_the_row(self):
        with self.assertHeld(self.row):
            PlainProxy(pk=self.row.pk).delete()
        row = Plain.objects.create(name="b")
        with self.assertHeld(row):
            PlainProxy.objects.all().delete()

    def test_each_class_returns_its_instances(self):
        for _ in range(2):  # filled, then hit
            for model in (Plain, PlainProxy, Plain):
                self.assertIs(type(model.objects.cache(self.row.pk)), model)
                self.assertIs(type(model.objects.cache_many([self.row.pk])[self.row.pk]), model)
            empty_cache()

    def test_a_row_created_by_a_proxy_is_cached(self):
        self.assertRight(Plain, PlainProxy.objects.create(name="b").pk)


class InheritanceTests(HeldMixin, TestCase):
    """A puppy is a dog is an animal: three tables, three keys, one row."""

    def setUp(self):
        empty_cache()
        self.puppy = Puppy.objects.create(name="Rex", tricks=1, age=1)
        self.dog, self.animal = Dog.objects.get(), Animal.objects.get()
        self.all = (self.puppy, self.dog, self.animal)

    def test_parent_and_children_have_different_keys(self):
        keys = [instance.key() for instance in self.all]
        self.assertEqual(keys, [f"{name}.{self.dog.pk}" for name in ("Puppy", "Dog", "Animal")])

    def test_a_save_of_any_class_holds_all_keys(self):
        for instance in self.all:
            instance.name += "!"
            with self.assertHeld(*self.all):
                instance.save()
            self.assertEqual(Puppy.objects.cache(self.puppy.pk).name, instance.name)
            self.puppy.refresh_from_db()
            self.dog.refresh_from_db()
            self.animal.refresh_from_db()

    def test_an_update_of_any_class_holds_all_keys(self):
        for model in (Animal, Dog, Puppy):
            with self.subTest(model.__name__), self.assertHeld(*self.all):
                model.objects.update(name=model.__name__)
        with self.assertHeld(*self.all):
            Puppy.objects.filter(tricks=1).update(name="x", tricks=2, age=2)
        with self.assertHeld(*self.all):
            Puppy.objects.filter(age=2).update(age=3)

    def test_a_delete_of_any_class_holds_all_keys(self):
        for model in (Animal, Dog, Puppy):
            Puppy.objects.all().delete()
            puppy = Puppy.objects.create(name="Rex")
            rows = (puppy, Dog.objects.get(), Animal.objects.get())
            with self.subTest(model.__name__), self.assertHeld(*rows):
                model.objects.all().delete()

    def test_a_delete_that_keeps_the_parents_holds_all_keys(self):
        with self.assertHeld(*self.all):
            self.puppy.delete(keep_parents=True)
        self.assertEqual(Dog.objects.cache(self.dog.pk).name, "Rex")

    def test_a_child_row_added_to_a_parent_row_is_found(self):
        animal = Animal.objects.create(name="Tom")
        with self.assertRaises(Dog.DoesNotExist):
            Dog.objects.cache(animal.pk)
        dog = Dog(animal_ptr=animal, tricks=2)
        with self.assertHeld(animal), transaction.atomic():
            dog.save_base(raw=True)
        self.assertRight(Dog, animal.pk)
        self.assertEqual(Dog.objects.cache(animal.pk).tricks, 2)

    def test_a_write_of_a_parent_without_a_child_caches_no_child(self):
        animal = Animal.objects.create(name="Tom")
        Animal.objects.cache(animal.pk)
        with self.assertHeld(animal):
            Animal.objects.filter(pk=animal.pk).update(name="x")
        self.assertRight(Dog, animal.pk)


@isolate_apps("cars.tests.support.zoo")
def house_models():
    """Return a parent that isn't cached, a proxy of it, and a child that is cached."""

    class House(models.Model):
        name = models.CharField(max_length=50)

        class Meta:
            app_label = "zoo"

    class HouseProxy(House):
        class Meta:
            app_label = "zoo"
            proxy = True

    class Villa(House):
        pool = models.BooleanField(default=False)

        objects = CacheManager()

        class Meta:
            app_label = "zoo"

    return House, HouseProxy, Villa


class PlainParentTests(HeldMixin, TransactionTestCase):
    """A parent that isn't cached writes the cached row of its child.

    The system checks ask for a CacheManager on the parent; signals are caught without it.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        known = [(known, known.copy()) for known in (registry._configs, registry._families)]
        cls.House, cls.HouseProxy, cls.Villa = house_models()
        with connection.schema_editor() as editor:
            editor.create_model(cls.House)
            editor.create_model(cls.Villa)
        cls.addClassCleanup(cls.drop, known)

    @classmethod
    def drop(cls, known):
        with connection.schema_editor() as editor:
            editor.delete_model(cls.Villa)
            editor.delete_model(cls.House)
        for registered, before in known:
            registered.clear()
            registered.update(before)

    def setUp(self):
        empty_cache()
        self.villa = self.Villa.objects.create(name="a")
        self.addCleanup(self.House.objects.all().delete)  # Django's flush doesn't know its table

    def test_saves_of_the_parent_and_its_proxy_hold_the_child(self):
        for model in (self.House, self.HouseProxy):
            house = model.objects.get(pk=self.villa.pk)
            house.name += "b"
            with self.subTest(model.__name__), self.assertHeld(self.villa), transaction.atomic():
                house.save()

    def test_a_delete_of_the_parent_or_its_proxy_holds_the_child(self):
        for model in (self.House, self.HouseProxy):
            villa = self.Villa.objects.create(name="b")
            with self.subTest(model.__name__), self.assertHeld(villa):
                model.objects.filter(pk=villa.pk).delete()
