"""The QuerySets of cached models otherwise behave as Django's."""

import pickle

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.db.models.functions import Upper
from django.test import TestCase

from cars.caching import CacheManager
from cars.caching.queryset import CacheQuerySet
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import (
    Drawer,
    Keeper,
    Pet,
    Plain,
    PlainProxy,
    Shelf,
    ShelfQuerySet,
)


class QuerySetTests(TestCase):
    def setUp(self):
        empty_cache()

    def test_querysets_can_be_pickled(self):
        for model in (Plain, PlainProxy, Shelf, Drawer):
            model.objects.create(name="a")
            rows = model.objects.filter(name="a")
            list(rows)
            with self.subTest(model.__name__):
                copied = pickle.loads(pickle.dumps(rows))
                self.assertIs(type(copied), type(rows))
                self.assertEqual(list(copied), list(rows))
                self.assertEqual(list(copied.all()), list(rows))
                query = pickle.loads(pickle.dumps(rows.query))
                self.assertEqual(str(query), str(rows.query))

    def test_rows_and_instances_from_the_cache_can_be_pickled(self):
        row = Shelf.objects.create(name="a")
        row = Shelf.objects.cache(row.pk)
        self.assertEqual(pickle.loads(pickle.dumps(row)).name, "a")
        self.assertEqual(pickle.loads(pickle.dumps([row])), [row])

    def test_a_custom_queryset_keeps_its_class_and_holds(self):
        for rows in (Shelf.objects.all(), Shelf.objects.named("a"), Shelf.objects.named("a").all()):
            self.assertIsInstance(rows, ShelfQuerySet)
            self.assertIsInstance(rows, CacheQuerySet)
        self.assertEqual(type(Shelf.objects).__name__, "CacheManagerFromShelfQuerySet")

    def test_the_same_queryset_gives_the_same_class(self):
        one, two = (CacheManager.from_queryset(ShelfQuerySet)() for _ in range(2))
        self.assertIs(type(one.get_queryset()), type(two.get_queryset()))
        given = CacheManager.from_queryset(CacheQuerySet)()
        self.assertIs(type(given.get_queryset()), CacheQuerySet)
        plain = CacheManager.from_queryset(QuerySet)()
        self.assertIsInstance(plain.get_queryset(), CacheQuerySet)

    def test_related_managers_use_a_queryset_that_holds(self):
        keeper = Keeper.objects.create(name="Ann")
        self.assertIsInstance(keeper.pets.all(), CacheQuerySet)
        self.assertIsInstance(keeper.pets.filter(name="x"), CacheQuerySet)
        self.assertIsInstance(Pet._base_manager.all(), CacheQuerySet)


class SameUpdateTests(TestCase):
    """update() changes the rows that Django's update() changes."""

    QUERIES = {
        "counted": lambda q: q.annotate(n=Count("friends")).filter(n__gt=0),
        "counted and filtered by another": lambda q: (
            q.filter(friends__name="Ann").annotate(n=Count("friends")).filter(n=1)
        ),
        "joined many times": lambda q: q.filter(friends__name__in=["Ann", "Bob"]).distinct(),
        "excluded": lambda q: q.exclude(friends__name="Bob"),
        "by a slice of the same rows": lambda q: q.filter(
            pk__in=Pet.objects.order_by("-name").values("pk")[:2]
        ),
        "exists": lambda q: q.filter(Exists(Keeper.objects.filter(pets=OuterRef("pk")))),
        "alias": lambda q: q.alias(up=Upper("name")).filter(up="X"),
        "ordered by a relation": lambda q: q.order_by("owner__name"),
        "or": lambda q: q.filter(name="x") | q.filter(name="y"),
        "and": lambda q: q.filter(name="x") & q.filter(owner__name="Ann"),
        "none": lambda q: q.none(),
        "reverse": lambda q: q.order_by("name").reverse(),
        "select_related": lambda q: q.select_related("owner"),
        "distinct by a field": lambda q: q.filter(name__gt="x").distinct("name"),
    }

    def setUp(self):
        empty_cache()
        self.ann, self.bob = (Keeper.objects.create(name=name) for name in ("Ann", "Bob"))
        for name, owner in (("x", self.ann), ("y", self.ann), ("z", self.bob), ("x", None)):
            pet = Pet.objects.create(name=name, owner=owner)
            pet.friends.set([self.ann, self.bob] if name == "x" else [self.bob])

    def outcome(self, rows, query):
        """Return the names after an update of `query(rows)`, or the error; and roll it back."""
        with transaction.atomic():
            try:
                with transaction.atomic():
                    updated = query(rows).update(name="new")
                names = list(Pet.objects.order_by("pk").values_list("name", flat=True))
                outcome = (updated, names)
            except Exception as error:
                outcome = repr(error)
            transaction.set_rollback(True)
        return outcome

    def test_update_has_the_same_outcome_for_every_query(self):
        for kind, query in self.QUERIES.items():
            with self.subTest(kind):
                django = self.outcome(QuerySet(Pet), query)
                self.assertEqual(self.outcome(Pet.objects.all(), query), django)
