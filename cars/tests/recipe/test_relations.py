"""Writes by Django itself: deletes, cascades and related managers."""

from unittest import mock

from django.db import connection, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext, isolate_apps

from cars.caching import queryset
from cars.tests.support.assertions import HeldMixin, entry, run
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import (
    Club,
    Keeper,
    KeeperProxy,
    License,
    Membership,
    Pet,
    Plain,
    Tag,
    Text,
    Visit,
    default_keeper,
)


class DeleteTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.rows = [Plain.objects.create(name=name) for name in "abc"]

    def test_a_delete_of_one_object_holds_its_row(self):
        with self.assertHeld(self.rows[0]):
            Plain(pk=self.rows[0].pk).delete()

    def test_a_delete_of_a_queryset_holds_its_rows(self):
        with self.assertHeld(*self.rows):
            Plain.objects.all().delete()
        with self.assertNumQueries(0):
            self.assertIsNone(entry(Plain, self.rows[0].pk))

    def test_a_delete_of_some_rows_holds_only_these(self):
        Plain.objects.cache(self.rows[2].pk)
        with self.assertHeld(*self.rows[:2]):
            Plain.objects.filter(name__in="ab").delete()
        with self.assertNumQueries(0):
            Plain.objects.cache(self.rows[2].pk)

    def test_a_raw_delete_holds_its_rows(self):
        with self.assertHeld(*self.rows[:2]):
            Plain.objects.filter(name__in="ab")._raw_delete("default")
        self.assertRight(Plain, self.rows[2].pk)

    def test_a_raw_delete_makes_no_other_query(self):
        with self.assertNumQueries(1):
            Plain.objects.filter(name__in="ab")._raw_delete("default")

    def test_a_raw_delete_holds_its_rows_on_databases_that_do_not_return_them(self):
        with mock.patch.object(queryset, "CAN_RETURN", ()):
            with self.assertHeld(*self.rows[:2]):
                Plain.objects.filter(name__in="ab")._raw_delete("default")

    def test_an_asynchronous_delete_holds_its_rows(self):
        with self.assertHeld(*self.rows):
            run(lambda: Plain.objects.all().adelete())

    def test_a_delete_of_a_missing_row_leaves_nothing(self):
        Plain.objects.filter(pk=self.rows[0].pk).delete()
        Plain(pk=self.rows[0].pk).delete()
        self.assertRight(Plain, self.rows[0].pk)

    def test_a_row_deleted_and_created_again_in_one_transaction_is_held(self):
        text = Text.objects.create(id="a b", name="x")
        with self.assertHeld(text), transaction.atomic():
            text.delete()
            Text.objects.create(id="a b", name="y")
        self.assertEqual(Text.objects.cache("a b").name, "y")


class OnDeleteTests(HeldMixin, TestCase):
    """A delete holds the rows that refer to the deleted row."""

    def setUp(self):
        empty_cache()
        self.keeper, self.other = (Keeper.objects.create(name=name) for name in ("Ann", "Bob"))

    def deletes(self):
        """Yield ways to delete a keeper."""
        yield lambda keeper: keeper.delete()
        yield lambda keeper: Keeper.objects.filter(pk=keeper.pk).delete()

        yield lambda keeper: KeeperProxy.objects.get(pk=keeper.pk).delete()
        yield lambda keeper: KeeperProxy.objects.filter(pk=keeper.pk).delete()

        def in_a_transaction(keeper):
            with transaction.atomic():
                keeper.delete()

        yield in_a_transaction

    def assertHeldOnDelete(self, model, field, left):
        for delete in self.deletes():
            keeper = Keeper.objects.create(name="Cid")
            rows = [model.objects.create(name=name, **{field: keeper}) for name in "xy"]
            stays = model.objects.create(name="z", **{field: self.other})
            model.objects.cache(stays.pk)
            with self.assertHeld(*rows):
                delete(keeper)
            with self.assertNumQueries(0):
                model.objects.cache(stays.pk)
            found = model.objects.cache_many(row.pk for row in rows)
            got = [getattr(getattr(row, field), "name", None) for row in found.values()]
            self.assertEqual(got, left)

    def test_cascade_holds_the_referring_rows(self):
        self.assertHeldOnDelete(Pet, "home", [])

    def test_set_null_holds_the_referring_rows(self):
        self.assertHeldOnDelete(Pet, "owner", [None, None])

    def test_set_null_costs_no_select_of_the_referring_rows(self):
        keeper = Keeper.objects.create(name="Ann")
        with CaptureQueriesContext(connection) as queries:
            keeper.delete()
        selects = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
        referring = [sql for sql in selects if 'WHERE "zoo_pet"."owner_id"' in sql]
        self.assertEqual(referring, [])

    @isolate_apps("cars.tests.support.zoo")
    def test_a_proxy_made_later_does_not_let_a_delete_look_for_the_rows_twice(self):
        before = len(Keeper._caching_receivers)

        class PetProxy(Pet):
            class Meta:
                app_label = "zoo"
                proxy = True

        self.assertEqual(len(Keeper._caching_receivers), before)

    def test_set_default_holds_the_referring_rows(self):
        self.assertHeldOnDelete(Pet, "vet", [None, None])

    def test_set_with_a_callable_holds_the_referring_rows(self):
        default_keeper()  # created now: its INSERT is not part of the delete
        self.assertHeldOnDelete(Pet, "walker", ["default", "default"])

    def test_set_with_a_constant_holds_the_referring_rows(self):
        self.assertHeldOnDelete(Visit, "guide", [None, None])

    def test_a_custom_on_delete_holds_the_referring_rows(self):
        self.assertHeldOnDelete(Visit, "guest", [None, None])

    def test_rows_that_refer_to_a_proxy_are_held_when_any_class_of_its_rows_deletes(self):
        self.assertHeldOnDelete(Visit, "host", [None, None])

    def test_a_delete_of_many_targets_holds_the_referring_rows(self):
        keepers = Keeper.objects.bulk_create(Keeper(name="many") for _ in range(250))
        pets = [Pet.objects.create(name="x", owner=keeper, vet=keeper) for keeper in keepers[::50]]
        with self.assertHeld(*pets):
            Keeper.objects.filter(name="many").delete()

    def test_a_row_whose_pk_is_the_foreign_key_is_held(self):
        with self.assertHeld(License.objects.create(keeper=self.keeper)):
            self.keeper.delete()

    def test_a_row_of_a_many_to_many_relation_is_held(self):
        club = Club.objects.create()
        member = Membership.objects.create(club=club, keeper=self.keeper)
        with self.assertHeld(member):
            self.keeper.delete()

    def test_a_row_that_refers_by_a_generic_relation_is_held(self):
        pet = Pet.objects.create(name="x")
        tag = Tag.objects.create(word="x", on=pet)
        with self.assertHeld(tag, pet):
            pet.delete()

    def test_a_delete_that_is_rolled_back_leaves_the_rows_right(self):
        pet = Pet.objects.create(name="x", owner=self.keeper, vet=self.keeper, home=self.other)
        Pet.objects.cache(pet.pk)
        with transaction.atomic():
            self.keeper.delete()
            self.other.delete()
            transaction.set_rollback(True)
        self.assertRight(Pet, pet.pk)


class RelatedManagerTests(HeldMixin, TestCase):
    """`keeper.pets` and other related managers."""

    def setUp(self):
        empty_cache()
        self.keeper = Keeper.objects.create(name="Ann")
        self.pets = [Pet.objects.create(name=name) for name in "xy"]

    def test_the_manager_of_a_foreign_key_holds_the_rows(self):
        pets = self.keeper.pets
        for bulk in (True, False):
            with self.subTest(bulk=bulk):
                with self.assertHeld(*self.pets):
                    pets.add(*self.pets, bulk=bulk)
                with self.assertHeld(self.pets[0]):
                    pets.remove(self.pets[0], bulk=bulk)
                with self.assertHeld(self.pets[1]):
                    pets.clear(bulk=bulk)
                with self.assertHeld(self.pets[0]):
                    pets.set(self.pets[:1], bulk=bulk)
                with self.assertHeld(*self.pets):
                    pets.set(self.pets[1:], bulk=bulk)
                with self.assertHeld(self.pets[1]):
                    pets.set([], bulk=bulk, clear=True)

    def test_the_manager_of_a_foreign_key_holds_the_rows_asynchronously(self):
        with self.assertHeld(*self.pets):
            run(lambda: self.keeper.pets.aadd(*self.pets))
        with self.assertHeld(*self.pets):
            run(lambda: self.keeper.pets.aclear())

    def test_a_related_manager_creates_and_updates(self):
        pet = self.keeper.pets.create(name="z")
        self.assertRight(Pet, pet.pk)
        with self.assertHeld(pet):
            self.keeper.pets.update_or_create(name="z", defaults={"name": "w"})

    def test_the_manager_of_a_many_to_many_relation_leaves_the_row_right(self):
        pet = self.pets[0]
        Pet.objects.cache(pet.pk)
        for change in (
            lambda: pet.friends.add(self.keeper),
            lambda: pet.friends.remove(self.keeper),
            lambda: self.keeper.friends_of.set(self.pets),
            lambda: self.keeper.friends_of.clear(),
        ):
            change()
            found = Pet.objects.cache(pet.pk)
            self.assertEqual(list(found.friends.all()), list(pet.friends.all()))
            self.assertRight(Pet, pet.pk)

    def test_the_manager_of_a_many_to_many_relation_holds_its_cached_through_rows(self):
        club = Club.objects.create()
        club.members.add(self.keeper, through_defaults={"role": "guest"})
        member = Membership.objects.get()
        self.assertRight(Membership, member.pk)
        with self.assertHeld(member):
            club.members.remove(self.keeper)
        club.members.set([self.keeper])
        with self.assertHeld(Membership.objects.get()):
            club.members.clear()
        self.keeper.club_set.add(club)
        with self.assertHeld(Membership.objects.get()):
            self.keeper.club_set.set([])

    def test_the_manager_of_a_generic_relation_holds_the_rows(self):
        pet = self.pets[0]
        tags = [Tag.objects.create(word=word) for word in "ab"]
        for bulk in (True, False):
            with self.subTest(bulk=bulk):
                with self.assertHeld(*tags):
                    pet.tags.add(*tags, bulk=bulk)
                with self.assertHeld(tags[0]):
                    pet.tags.remove(tags[0], bulk=bulk)
                with self.assertHeld(tags[1]):
                    pet.tags.clear(bulk=bulk)
                tags = [Tag.objects.create(word=word) for word in "ab"]
        self.assertRight(Tag, pet.tags.create(word="c").pk)
