"""Managers that leave rows out or change them: they return what `get` returns, or refuse."""

from unittest import mock

from django.db import NotSupportedError
from django.db.models import QuerySet
from django.db.models.query import ModelIterable
from django.test import TestCase

from cars.caching import CacheManager
from cars.caching.queryset import CacheQuerySet
from cars.tests.support.assertions import run
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Club, Keeper, Letter, Membership, Pet, Plain, Tag


class ReverseForeignKeyTests(TestCase):
    def setUp(self):
        empty_cache()
        self.ann, self.bob = (Keeper.objects.create(name=name) for name in ("Ann", "Bob"))
        self.own = Pet.objects.create(name="own", owner=self.ann)
        self.other = Pet.objects.create(name="other", owner=self.bob)
        self.stray = Pet.objects.create(name="stray")

    def test_a_row_of_the_instance_is_returned_without_a_query(self):
        self.assertEqual(self.ann.pets.cache(self.own.pk).name, "own")
        with self.assertNumQueries(0):
            self.assertEqual(self.ann.pets.cache(self.own.pk).name, "own")

    def test_a_row_of_another_instance_does_not_exist(self):
        Pet.objects.cache_many([self.other.pk, self.stray.pk])
        for pk in (self.other.pk, self.stray.pk):
            for _ in range(2):
                with self.assertRaises(Pet.DoesNotExist):
                    self.ann.pets.cache(pk)
        self.assertEqual(self.bob.pets.cache(self.other.pk), self.other)

    def test_cache_many_leaves_out_the_rows_of_other_instances(self):
        pks = [self.other.pk, self.own.pk, self.stray.pk]
        for _ in range(2):
            self.assertEqual(self.ann.pets.cache_many(pks), {self.own.pk: self.own})

    def test_the_async_methods_leave_them_out_too(self):
        pks = [self.other.pk, self.own.pk]
        self.assertEqual(run(lambda: self.ann.pets.acache(self.own.pk)), self.own)
        self.assertEqual(list(run(lambda: self.ann.pets.acache_many(pks))), [self.own.pk])
        with self.assertRaises(Pet.DoesNotExist):
            run(lambda: self.ann.pets.acache(self.other.pk))

    def test_a_row_that_has_changed_its_owner_is_returned_by_the_new_one_only(self):
        self.ann.pets.cache(self.own.pk)
        self.own.owner = self.bob
        self.own.save()
        self.assertEqual(self.bob.pets.cache(self.own.pk), self.own)
        with self.assertRaises(Pet.DoesNotExist):
            self.ann.pets.cache(self.own.pk)

    def test_the_instance_is_the_cached_related_object_of_its_rows(self):
        one, many = self.ann.pets.cache(self.own.pk), self.ann.pets.cache_many([self.own.pk])
        with self.assertNumQueries(0):
            self.assertIs(one.owner, self.ann)
            self.assertIs(many[self.own.pk].owner, self.ann)

    def test_an_instance_that_is_not_saved_raises_what_django_raises(self):
        for read in (lambda m: m.cache(self.stray.pk), lambda m: m.cache_many([self.stray.pk])):
            with self.assertRaisesMessage(ValueError, "needs to have a primary key value"):
                read(Keeper(name="new").pets)

    def test_a_row_without_an_owner_is_not_a_row_of_one_without_a_pk(self):
        ann = Keeper.objects.get(pk=self.ann.pk)
        ann.delete()
        self.assertIsNone(ann.pk)
        with self.assertRaises(ValueError):
            ann.pets.cache(self.stray.pk)


class RefusedTests(TestCase):
    def setUp(self):
        empty_cache()
        self.keeper = Keeper.objects.create(name="Ann")

    def assertRefused(self, manager, pk, advice):
        manager.model.objects.cache(pk)
        reads = (
            lambda: manager.cache(pk),
            lambda: manager.cache_many([pk]),
            lambda: run(lambda: manager.acache(pk)),
            lambda: run(lambda: manager.acache_many([pk])),
        )
        for number, read in enumerate(reads):
            with self.subTest(number), self.assertRaisesMessage(NotSupportedError, advice):
                read()

    def test_a_many_to_many_manager_names_the_manager_to_use(self):
        pet = Pet.objects.create(name="x")
        pet.friends.add(self.keeper)
        self.assertRefused(self.keeper.friends_of, pet.pk, "use Pet.objects.cache()")

    def test_a_generic_relation_names_the_manager_to_use(self):
        pet = Pet.objects.create(name="x")
        tag = Tag.objects.create(word="a", on=pet)
        self.assertRefused(pet.tags, tag.pk, "use Tag.objects.cache()")

    def test_a_manager_that_leaves_deleted_rows_out_names_the_manager_to_use(self):
        letter = Letter.objects.create(name="x", deleted=True)
        self.assertRefused(Letter.kept, letter.pk, "use Letter.objects.cache()")

    def test_a_manager_that_annotates_names_the_manager_to_use(self):
        letter = Letter.objects.create(name="x")
        self.assertRefused(Letter.counted, letter.pk, "use Letter.objects.cache()")

    def test_a_manager_that_chooses_another_database_names_the_manager_to_use(self):
        class Archived(CacheManager):
            def get_queryset(self):
                return super().get_queryset().using("archive")

        class OfItsDatabase(CacheManager):  # as Django's documentation has it
            def get_queryset(self):
                return super().get_queryset().using(self._db)

        plain = Plain.objects.create(name="x")
        archived, plainly = Archived(), OfItsDatabase()
        archived.model = plainly.model = Plain
        self.assertRefused(archived, plain.pk, "use Plain.objects.cache()")
        for manager in (plainly, plainly.db_manager("default")):
            self.assertEqual(manager.cache(plain.pk), plain)

    def test_a_manager_that_is_refused_itself_is_not_named(self):
        for part in ("filter", "get"):
            method = getattr(CacheQuerySet, part)
            other = type("Other", (CacheQuerySet,), {part: lambda *a, m=method, **k: m(*a, **k)})
            manager = CacheManager.from_queryset(other)()
            manager.model, manager.name = Plain, "named"
            with self.subTest(part), mock.patch.object(Plain._meta, "managers", [manager]):
                with self.assertRaisesMessage(NotSupportedError, "add a CacheManager() to Plain"):
                    manager.cache(1)

    def test_rows_between_two_models_are_told_by_their_foreign_keys(self):
        clubs = [Club.objects.create(), Club.objects.create()]
        rows = [Membership.objects.create(club=club, keeper=self.keeper) for club in clubs]
        self.assertEqual(clubs[0].membership_set.cache(rows[0].pk), rows[0])
        with self.assertRaises(Membership.DoesNotExist):
            clubs[0].membership_set.cache(rows[1].pk)

    def test_a_write_by_a_manager_that_filters_is_seen_by_the_other_one(self):
        letter = Letter.objects.create(name="old")
        Letter.objects.cache(letter.pk)
        Letter.kept.filter(pk=letter.pk).update(name="new")
        self.assertEqual(Letter.objects.cache(letter.pk).name, "new")


class OtherQuerySetTests(TestCase):
    """A QuerySet that returns other instances than Django's, as django-polymorphic's does."""

    def cache(self, queryset_class):
        manager = CacheManager.from_queryset(queryset_class)()
        manager.model = Plain
        return manager.cache(Plain.objects.create(name="a").pk)

    def test_one_with_an_iterable_of_its_own_is_refused(self):
        class OtherIterable(ModelIterable):
            pass

        class Other(QuerySet):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self._iterable_class = OtherIterable

        with self.assertRaisesMessage(NotSupportedError, "use Plain.objects.cache()"):
            self.cache(Other)

    def test_one_with_a_reading_method_of_its_own_is_refused(self):
        for name in ("get", "filter", "_filter_or_exclude", "iterator", "_fetch_all", "__iter__"):
            other = type("Other", (QuerySet,), {name: lambda self, *args, **kwargs: None})
            with self.subTest(name), self.assertRaises(NotSupportedError):
                self.cache(other)

    def test_one_that_only_keeps_something_of_its_own_is_read_through_the_cache(self):
        class Noting(QuerySet):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.noted = []

            def newest(self):
                return self.order_by("-pk")

        self.assertEqual(self.cache(Noting).name, "a")
