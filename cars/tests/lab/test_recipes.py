"""The recipes to compare with: they cache, and each goes wrong where its text says."""

from django.core.cache import cache
from django.test import TransactionTestCase, override_settings

from cars.lab.schedules.programs import RECIPES
from cars.lab.walks import cases
from cars.lab.walks.determined import determined_world
from cars.lab.walks.walk import walk_all
from cars.recipes import none_on_save

LOCAL = {"default": {"BACKEND": "cars.caching.backends.LocalMemoryCache", "LOCATION": "recipes"}}


@override_settings(CACHES=LOCAL)  # they store pickled instances
class OneAfterTheOtherTests(TransactionTestCase):
    """Without a read during a write, each of them is right."""

    def setUp(self):
        cache.clear()

    def read(self, model, pk):
        """Return the number that a read gets; for `none_on_save`, once its 5 seconds are over."""
        if none_on_save.CacheManager is type(model.objects):
            cache.delete(f"{model.__name__}.{pk}")
        return model.objects.cache(pk).number

    def test_a_second_read_costs_no_query(self):
        for word, model in RECIPES.items():
            with self.subTest(word):
                pk = model.objects.create(number=1).pk
                self.assertEqual(self.read(model, pk), 1)
                with self.assertNumQueries(0):
                    self.assertEqual(model.objects.cache(pk).number, 1)

    def test_a_read_after_a_save_gets_what_was_saved(self):
        for word, model in RECIPES.items():
            with self.subTest(word):
                row = model.objects.create(number=1)
                self.read(model, row.pk)
                row.number = 2
                row.save()
                self.assertEqual(model.objects.cache(row.pk).number, 2)
                self.assertEqual(self.read(model, row.pk), 2)

    def test_a_read_after_a_delete_finds_no_row(self):
        for word, model in RECIPES.items():
            with self.subTest(word):
                row = model.objects.create(number=1)
                pk = row.pk
                self.read(model, pk)
                row.delete()
                with self.assertRaises(model.DoesNotExist):
                    model.objects.cache(pk)

    def test_none_stands_for_five_seconds_after_a_save(self):
        row = RECIPES["none-on-save"].objects.create(number=1)
        self.assertTrue(cache.has_key(row.key()))
        self.assertIsNone(cache.get(row.key(), "nothing"))
        self.assertFalse(cache.add(row.key(), "filled"))


class RacesTests(TransactionTestCase):
    def test_each_repair_is_stale_in_some_schedule_where_this_recipe_is_not(self):
        for case in cases.REPAIRS:
            with self.subTest(case):
                with determined_world(case) as world:
                    found = walk_all(world)
                print(found, flush=True)
                self.assertTrue({"stale hit", "stale at rest"} & set(found.wrong), found)
                _, _, same = case.partition(" ")
                with determined_world(same) as world:
                    self.assertFalse(walk_all(world).wrong)
