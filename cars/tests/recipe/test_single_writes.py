"""Writes of one object, and what the cache has afterwards."""

import copy

from django.db import IntegrityError, transaction
from django.db.models import F
from django.test import TestCase

from cars.tests.support.assertions import HeldMixin, run
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import (
    Boat,
    Drawer,
    Fussy,
    Keeper,
    License,
    Pair,
    Plain,
    Refused,
    Text,
    Train,
    Uuid,
)


class SingleSaveTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.row = Plain.objects.create(name="a", number=1)

    def cached(self):
        return Plain.objects.cache(self.row.pk)

    def test_a_save_in_autocommit_or_in_a_transaction_holds_its_row(self):
        self.row.name = "b"
        with self.assertHeld(self.row):
            self.row.save()
        self.row.name = "c"
        with self.assertHeld(self.row), transaction.atomic():
            self.row.save()

    def test_an_attribute_not_in_update_fields_is_not_cached(self):
        self.row.name, self.row.number = "b", 99
        with self.assertHeld(self.row):
            self.row.save(update_fields=["name"])
        self.assertEqual((self.cached().name, self.cached().number), ("b", 1))

    def test_a_save_of_no_fields_writes_nothing(self):
        self.cached()
        self.row.name = "b"
        self.row.save(update_fields=[])
        with self.assertNumQueries(0):
            self.assertEqual(self.cached().name, "a")

    def test_an_expression_is_cached_as_its_result(self):
        self.row.number = F("number") + 6
        with self.assertHeld(self.row):
            self.row.save()
        self.assertEqual(self.cached().number, 7)

    def test_deferred_fields_are_cached_too(self):
        for partial in (Plain.objects.only("name"), Plain.objects.defer("number")):
            row = partial.get(pk=self.row.pk)
            row.name += "b"
            with self.assertHeld(self.row):
                row.save()
            self.assertEqual(self.cached().get_deferred_fields(), set())
            self.assertEqual(self.cached().number, 1)

    def test_a_number_given_as_a_string_is_cached_as_a_number(self):
        self.row.number = "7"
        with self.assertHeld(self.row):
            self.row.save()
        self.assertEqual(self.cached().number, 7)

    def test_a_pk_given_as_a_string_is_the_same_row(self):
        with self.assertHeld(self.row):
            Plain(pk=str(self.row.pk), name="b").save()

    def test_a_copy_under_another_pk_leaves_the_first_row_right(self):
        text = Text.objects.create(id="a", name="x")
        Text.objects.cache("a")
        text.pk, text.name = "b", "y"
        text.save()
        self.assertRight(Text, "a")
        self.assertRight(Text, "b")

    def test_a_copy_without_a_pk_is_a_new_row(self):
        self.cached()
        new = copy.copy(self.row)
        new.pk, new.name = None, "copy"
        new.save()
        self.assertRight(Plain, self.row.pk)
        self.assertRight(Plain, new.pk)

    def test_a_copy_over_another_row_is_a_write_of_that_row(self):
        other = Plain.objects.create(name="other")
        self.row.pk = other.pk
        with self.assertHeld(other):
            self.row.save()

    def test_an_instance_read_from_the_cache_can_be_saved(self):
        row = self.cached()
        row.name = "b"
        with self.assertHeld(row):
            row.save()

    def test_a_row_that_was_not_found_is_found_once_it_is_created(self):
        for row in (Uuid(name="u"), Text(id="a b"), Pair(left=1, right="a b")):
            with self.assertRaises(type(row).DoesNotExist):
                type(row).objects.cache(row.pk)
            row.save(force_insert=True)
            self.assertRight(type(row), row.pk)

    def test_a_refused_insert_leaves_the_existing_row_right(self):
        Text.objects.create(id="a", name="x")
        Text.objects.cache("a")
        with self.assertRaises(IntegrityError), transaction.atomic():
            Text(id="a", name="y").save(force_insert=True)
        self.assertRight(Text, "a")

    def test_a_forced_update_holds_its_row(self):
        self.row.name = "b"
        with self.assertHeld(self.row):
            self.row.save(force_update=True)

    def test_a_save_of_a_row_whose_pk_is_a_foreign_key_holds_it(self):
        license = License.objects.create(keeper=Keeper.objects.create(name="Ann"))
        license.name = "b"
        with self.assertHeld(license):
            license.save()
        self.assertEqual(License.objects.cache(license.keeper_id).name, "b")

    def test_two_models_with_one_abstract_base_have_different_keys(self):
        boat, train = Boat.objects.create(name="a"), Train.objects.create(name="a")
        self.assertEqual((boat.key(), train.key()), (f"Boat.{boat.pk}", f"Train.{train.pk}"))
        Train.objects.cache(train.pk)
        with self.assertHeld(boat):
            Boat.objects.update(name="b")
        with self.assertNumQueries(0):
            self.assertEqual(Train.objects.cache(train.pk).name, "a")

    def test_an_asynchronous_save_and_delete_hold_the_row(self):
        self.row.name = "b"
        with self.assertHeld(self.row):
            run(lambda: self.row.asave())
        with self.assertHeld(self.row):
            run(lambda: Plain(pk=self.row.pk).adelete())


class CreateOrUpdateTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.row = Drawer.objects.create(name="a", size=1)

    def test_update_or_create_holds_or_caches_the_row(self):
        with self.assertHeld(self.row):
            Drawer.objects.update_or_create(name="a", defaults={"size": 2})
        with self.assertHeld(self.row):
            run(
                lambda: Drawer.objects.aupdate_or_create(name="a", defaults={"size": F("size") + 1})
            )
        self.assertEqual(Drawer.objects.cache(self.row.pk).size, 3)
        created, _ = Drawer.objects.update_or_create(name="b", defaults={"size": 2})
        self.assertRight(Drawer, created.pk)

    def test_get_or_create_caches_the_row(self):
        Drawer.objects.cache(self.row.pk)
        with self.assertNumQueries(1):
            Drawer.objects.get_or_create(name="a")
        self.assertRight(Drawer, self.row.pk)
        for created, _ in (
            Drawer.objects.get_or_create(name="b", defaults={"size": 2}),
            run(lambda: Drawer.objects.aget_or_create(name="c")),
            (run(lambda: Drawer.objects.acreate(name="d")), True),
        ):
            self.assertRight(Drawer, created.pk)

    def test_a_custom_queryset_method_on_the_manager_holds_the_row(self):
        with self.assertHeld(self.row):
            Drawer.objects.rename("z")


class OverriddenSaveTests(HeldMixin, TestCase):
    """An overridden `save` that raises."""

    def setUp(self):
        empty_cache()
        self.row = Fussy.objects.create(name="a")
        Fussy.objects.cache(self.row.pk)

    def refuse(self, name):
        self.row.name = name
        with self.assertRaises(Refused):
            self.row.save()

    def test_an_error_before_the_write_changes_nothing(self):
        self.refuse("refuse before")
        with self.assertNumQueries(0):
            self.assertEqual(Fussy.objects.cache(self.row.pk).name, "a")

    def test_an_error_after_the_write_leaves_the_new_row_cached(self):
        with self.assertHeld(self.row):
            self.refuse("refuse after")
        self.assertEqual(Fussy.objects.cache(self.row.pk).name, "refuse after")

    def test_an_error_that_rolls_back_leaves_the_old_row_cached(self):
        self.row.name = "refuse after"
        with self.assertRaises(Refused), transaction.atomic():
            self.row.save()
        self.assertRight(Fussy, self.row.pk)
        self.assertEqual(Fussy.objects.cache(self.row.pk).name, "a")
