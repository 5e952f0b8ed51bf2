"""Instances made from the values of a row: equal to those that Django makes."""

from unittest import mock

from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init
from django.test import SimpleTestCase
from django.test.utils import isolate_apps

from cars.caching.registry import CachedModel, cached_models
from cars.caching.rows.instances import _is_plain, make_instance
from cars.models import Car
from cars.tests.support.receivers import connected
from cars.tests.support.zoo.models import Everything, Pet


def made(model):
    """Return a new instance of `model` whose values are the numbers from 1 on."""
    cached = CachedModel(model, "archive")
    return make_instance(cached, list(range(1, len(cached.names) + 1)))


def attributes(instance):
    """Return all attributes of an instance, in their order, and those of its state."""
    _ = instance._state.fields_cache  # Django creates it on first access
    return list((vars(instance) | {"_state": vars(instance._state)}).items())


class SameAsDjangoTests(SimpleTestCase):
    def test_they_have_the_attributes_that_from_db_gives(self):
        for model in cached_models():
            with self.subTest(model):
                cached = CachedModel(model, "archive")
                values = list(range(1, len(cached.names) + 1))
                djangos = model.from_db("archive", cached.names, values)
                instance = make_instance(cached, values)
                self.assertIs(type(instance), model)
                self.assertEqual(attributes(instance), attributes(djangos))
                self.assertIs(type(instance._state), type(djangos._state))
                self.assertEqual(instance, djangos)

    def test_two_instances_do_not_share_their_state(self):
        one, other = made(Pet), made(Pet)
        self.assertIsNot(one._state, other._state)
        self.assertEqual(one._state.fields_cache, {})
        self.assertIsNot(one._state.fields_cache, other._state.fields_cache)


class CustomInstanceTests(SimpleTestCase):
    """Code of a model that takes part in making an instance is called."""

    def assertIsMadeByDjango(self, model, is_so=True):
        made(model)  # whether the model is plain is memoized before the patch
        init = models.Model.__init__
        with mock.patch.object(models.Model, "__init__", autospec=True, side_effect=init) as called:
            made(model)
        self.assertEqual(called.called, is_so)

    def test_plain_models_are_not_made_by_django(self):
        for model in (Car, Pet):
            self.assertIsMadeByDjango(model, False)

    def test_most_models_are_plain(self):
        plain = [model for model in cached_models() if _is_plain(model)]
        self.assertGreater(len(plain), 20)

    def test_fields_with_custom_descriptors_are_set_by_django(self):
        self.assertIsMadeByDjango(Everything)  # a FileField

    @isolate_apps("cars")
    def test_a_custom_from_db_is_called(self):
        class Loaded(models.Model):
            name = models.CharField()

            @classmethod
            def from_db(cls, db, field_names, values):
                instance = super().from_db(db, field_names, values)
                instance.loaded = dict(zip(field_names, values, strict=True))
                return instance

        self.assertEqual(made(Loaded).loaded, {"id": 1, "name": 2})

    @isolate_apps("cars")
    def test_a_custom_init_is_called(self):
        class Initialised(models.Model):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.was = self.pk

        self.assertEqual(made(Initialised).was, 1)

    @isolate_apps("cars")
    def test_a_custom_new_is_called(self):
        class New(models.Model):
            def __new__(cls, *args):
                instance = super().__new__(cls)
                instance.is_new = True
                return instance

        self.assertTrue(made(New).is_new)

    @isolate_apps("cars")
    def test_the_init_of_a_mixin_is_called_before_or_after_model(self):
        class Mixin:
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.mixed = True

        class Before(Mixin, models.Model):
            pass

        class Behind(models.Model, Mixin):
            pass

        for model in (Before, Behind):
            self.assertTrue(made(model).mixed)

    @isolate_apps("cars")
    def test_a_custom_setattr_is_called(self):
        class Watched(models.Model):
            def __setattr__(self, name, value):
                super().__setattr__(name, value)
                vars(self).setdefault("names", []).append(name)

        self.assertIn("id", made(Watched).names)

    @isolate_apps("cars")
    def test_a_custom_descriptor_of_a_field_is_used(self):
        class Doubled(DeferredAttribute):
            def __set__(self, instance, value):
                vars(instance)[self.field.attname] = 2 * value

        class DoublingField(models.IntegerField):
            descriptor_class = Doubled

        class Doubling(models.Model):
            number = DoublingField()

        self.assertEqual(made(Doubling).number, 4)

    @isolate_apps("cars")
    def test_a_field_without_a_descriptor_is_set(self):
        class BareField(models.IntegerField):
            def contribute_to_class(self, cls, name, private_only=False):
                self.set_attributes_from_name(name)
                self.model = cls
                cls._meta.add_field(self)

        class Bare(models.Model):
            number = BareField()

        self.assertEqual(made(Bare).number, 2)

    @isolate_apps("cars")
    def test_a_metaclass_with_a_custom_call_is_used(self):
        class Counting(type(models.Model)):
            def __call__(cls, *args, **kwargs):
                instance = super().__call__(*args, **kwargs)
                instance.counted = True
                return instance

        class Called(models.Model, metaclass=Counting):
            pass

        self.assertTrue(made(Called).counted)

    @isolate_apps("cars")
    def test_a_patched_model_init_is_called(self):
        class Late(models.Model):
            pass

        init = models.Model.__init__

        def patched(instance, *args, **kwargs):
            init(instance, *args, **kwargs)
            instance.patched = True

        with mock.patch.object(models.Model, "__init__", patched):
            self.assertTrue(made(Late).patched)

    def test_receivers_of_init_signals_are_called(self):
        for signal in (pre_init, post_init):
            received = []

            def receiver(sender, received=received, **kwargs):
                received.append(sender)

            with self.subTest(signal), connected(signal, receiver, Car):
                made(Car)
                self.assertEqual(received, [Car])
                self.assertIsMadeByDjango(Pet, False)  # has no receivers
            self.assertIsMadeByDjango(Car, False)
