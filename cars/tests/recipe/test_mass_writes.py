"""update() and bulk_update(), which send no signals."""

from unittest import mock

import django
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import NotSupportedError, connection, transaction
from django.db.models import Count, F, OuterRef, Subquery, Value
from django.db.models.functions import Concat, Random
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from cars.caching import queryset
from cars.tests.support.assertions import HeldMixin, run
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import (
    Animal,
    Dog,
    Drawer,
    Keeper,
    License,
    Pair,
    Pet,
    Plain,
    Shelf,
    Tag,
    Text,
)


class UpdateTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.one, self.two, self.other = (
            Plain.objects.create(name=name, number=number)
            for number, name in enumerate(["a", "a", "b"])
        )

    def test_a_filtered_update_holds_its_rows_and_no_others(self):
        Plain.objects.cache(self.other.pk)
        with self.assertHeld(self.one, self.two):
            self.assertEqual(Plain.objects.filter(name="a").update(name="c"), 2)
        with self.assertNumQueries(0):
            self.assertEqual(Plain.objects.cache(self.other.pk).name, "b")

    def test_an_update_of_all_holds_all(self):
        with self.assertHeld(self.one, self.two, self.other):
            self.assertEqual(Plain.objects.update(number=F("number") + 1), 3)

    def test_an_update_in_a_transaction_holds_until_its_end(self):
        with self.assertHeld(self.one), transaction.atomic():
            Plain.objects.filter(pk=self.one.pk).update(name="c")
            Plain.objects.filter(pk=self.one.pk).update(name="d")

    def test_a_row_that_no_longer_matches_after_the_update_is_held(self):
        with self.assertHeld(self.one, self.two):
            Plain.objects.filter(name="a", number__lt=5).update(name="z", number=9)

    def test_an_annotated_update_holds_its_rows(self):
        rows = Plain.objects.annotate(more=F("number") + 1).filter(more=2)
        with self.assertHeld(self.two):
            self.assertEqual(rows.update(number=F("more") * 10), 1)

    def test_an_update_with_a_subquery_holds_its_rows(self):
        same = Plain.objects.filter(name=OuterRef("name")).order_by("-number")
        with self.assertHeld(self.one):
            Plain.objects.filter(pk=self.one.pk).update(number=Subquery(same.values("number")[:1]))
        self.assertEqual(Plain.objects.get(pk=self.one.pk).number, 1)

    def test_an_ordered_distinct_values_extra_or_locking_update_holds_its_rows(self):
        queries = {
            "ordered": Plain.objects.order_by("-name"),
            "ordered by an expression": Plain.objects.order_by(Concat("name", Value("x")).desc()),
            "reversed": Plain.objects.order_by("name").reverse(),
            "distinct": Plain.objects.distinct(),
            "values": Plain.objects.values("name"),
            "values_list": Plain.objects.values_list("number", flat=True),
            "extra": Plain.objects.extra(where=["number >= 0"], select={"x": "number + 1"}),
            "locking": Plain.objects.select_for_update(),
            "only": Plain.objects.only("name"),
            "defer": Plain.objects.defer("name"),
            "or": Plain.objects.none() | Plain.objects.all(),
        }
        for number, (kind, rows) in enumerate(queries.items()):
            with self.subTest(kind), self.assertHeld(self.one, self.two, self.other):
                self.assertEqual(rows.update(number=100 + number), 3)

    def test_an_update_across_a_join_holds_its_rows(self):
        keeper = Keeper.objects.create(name="Ann")
        pet, other = (Pet.objects.create(name=name, owner=keeper) for name in ("x", "y"))
        Pet.objects.create(name="x")
        with self.assertHeld(pet):
            self.assertEqual(Pet.objects.filter(owner__name="Ann", name="x").update(name="z"), 1)
        with self.assertHeld(pet, other):
            rows = Pet.objects.filter(owner__pets__owner__name="Ann")
            self.assertEqual(rows.update(name="w"), 2)

    def test_an_update_of_grouped_rows_holds_its_rows(self):
        keeper = Keeper.objects.create(name="Ann")
        pet = Pet.objects.create(name="x", owner=keeper)
        pet.friends.add(keeper, Keeper.objects.create(name="Bob"))
        lonely = Pet.objects.create(name="y")
        with self.assertHeld(pet):
            rows = Pet.objects.annotate(count=Count("friends")).filter(count=2)
            self.assertEqual(rows.update(name="z"), 1)
        self.assertEqual(Pet.objects.get(pk=lonely.pk).name, "y")

    def test_an_update_through_a_related_manager_holds_its_rows(self):
        keeper = Keeper.objects.create(name="Ann")
        pet = Pet.objects.create(name="x", owner=keeper)
        pet.friends.add(keeper)
        with self.assertHeld(pet):
            self.assertEqual(keeper.pets.update(name="y"), 1)
        with self.assertHeld(pet):
            self.assertEqual(keeper.friends_of.update(name="z"), 1)
        tag = Tag.objects.create(word="x", on=pet)
        with self.assertHeld(tag):
            self.assertEqual(pet.tags.update(word="y"), 1)

    def test_an_update_after_a_custom_queryset_method_holds_its_rows(self):
        shelf = Shelf.objects.create(name="a")
        with self.assertHeld(shelf):
            Shelf.objects.named("a").update(name="b")

    def test_an_asynchronous_update_holds_its_rows(self):
        with self.assertHeld(self.one):
            run(lambda: Plain.objects.filter(pk=self.one.pk).aupdate(name="z"))

    def test_an_update_after_distinct_on_a_field_holds_what_it_writes(self):
        rows = Plain.objects.distinct("name")
        if django.VERSION >= (6, 1):  # raises an error
            with self.assertRaisesMessage(TypeError, "distinct"):
                rows.update(name="z")
            return
        with self.assertHeld(self.one, self.two, self.other):
            self.assertEqual(rows.update(name="z"), 3)

    def test_rows_drawn_at_random_are_as_many_as_django_updates(self):
        drawn = Plain.objects.order_by("?").values("pk")[:2]
        self.assertEqual(Plain.objects.filter(pk__in=drawn).update(name="drawn"), 2)
        self.assertEqual(Plain.objects.filter(name="drawn").count(), 2)
        for row in (self.one, self.two, self.other):
            self.assertRight(Plain, row.pk)

    def test_a_worker_that_takes_the_first_rows_of_a_queue_holds_these(self):
        Plain.objects.update(number=0)
        waiting = Plain.objects.filter(number=0).order_by("-pk").values("pk")

        def take(worker):
            return Plain.objects.filter(number=0, pk__in=waiting[:2]).update(number=worker)

        with self.assertHeld(self.other, self.two):
            self.assertEqual(take(1), 2)
        with self.assertHeld(self.one):
            self.assertEqual(take(2), 1)
        self.assertEqual(take(3), 0)
        numbers = Plain.objects.order_by("-pk").values_list("number", flat=True)
        self.assertEqual(list(numbers), [1, 1, 2])

    def test_a_filter_that_is_random_is_evaluated_once(self):
        rows = Plain.objects.bulk_create(Plain(name="x") for _ in range(400))
        Plain.objects.cache_many([row.pk for row in rows])
        drawn = Plain.objects.annotate(draw=Random()).filter(name="x", draw__lt=0.5)
        updated = drawn.update(name="y")
        self.assertEqual(Plain.objects.filter(name="y").count(), updated)
        self.assertTrue(140 < updated < 260, updated)  # six standard deviations
        found = Plain.objects.cache_many([row.pk for row in rows])
        self.assertEqual(sum(row.name == "y" for row in found.values()), updated)

    def test_an_update_selects_nothing_before(self):
        with self.captureOnCommitCallbacks(), CaptureQueriesContext(connection) as queries:
            with transaction.atomic():
                Plain.objects.update(name="z")
        statements = [query["sql"].split()[0] for query in queries]
        self.assertEqual(statements, ["SAVEPOINT", "UPDATE", "RELEASE"])

    def test_what_django_refuses_is_refused_with_the_same_message(self):
        refused = {
            "sliced": lambda rows: rows[:1],
            "combined": lambda rows: rows.union(rows.all()),
            "ordered by an aggregate": lambda rows: rows.annotate(n=Count("pk")).order_by("n"),
        }
        for kind, refuse in refused.items():
            with self.subTest(kind):
                with self.assertRaises(Exception) as django:
                    refuse(Keeper.objects.all()).update(name="c")
                with self.assertRaises(type(django.exception)) as raised:
                    refuse(Plain.objects.all()).update(name="c")
                message = (
                    str(raised.exception).replace("plain", "keeper").replace("Plain", "Keeper")
                )
                self.assertEqual(message, str(django.exception))
        self.assertEqual(Plain.objects.filter(name="c").count(), 0)

    def test_an_update_of_no_rows_checks_its_arguments(self):
        with self.assertRaises(FieldDoesNotExist):
            Plain.objects.none().update(nonsense=1)
        with self.assertRaises(FieldDoesNotExist):
            Plain.objects.filter(name="missing").update(nonsense=1)
        with self.assertRaises(FieldError):
            Plain.objects.filter(name="missing").update(number=F("nonsense"))
        self.assertEqual(Plain.objects.filter(name="missing").update(number=1), 0)

    def test_rows_of_a_composite_pk_are_held(self):
        pairs = [Pair.objects.create(left=left, right="a") for left in (1, 2)]
        with self.assertHeld(*pairs):
            self.assertEqual(Pair.objects.update(name="new"), 2)

    def test_an_execute_wrapper_of_the_project_gets_the_result_of_the_cursor(self):
        results = []

        def execute_and_note(execute, *arguments):
            results.append(execute(*arguments))
            return results[-1]

        with connection.execute_wrapper(execute_and_note):
            Plain.objects.update(number=2)
        self.assertNotIn(None, results)

    def test_an_execute_wrapper_of_the_project_sees_how_many_rows_were_written(self):
        counts = []

        def count(execute, sql, params, many, context):
            result = execute(sql, params, many, context)
            counts.append(context["cursor"].rowcount)
            return result

        with connection.execute_wrapper(count), self.assertHeld(self.one, self.two):
            Plain.objects.filter(name="a").update(number=2)
        self.assertIn(2, counts)

    def test_an_execute_wrapper_of_the_project_can_add_comments_to_the_statement(self):
        for statement in ("/* by: test */ %s", "%s /* by: test */", "%s -- by: test"):

            def comment(execute, sql, params, many, context, statement=statement):
                return execute(statement.replace("%s", sql), params, many, context)

            with self.subTest(statement), connection.execute_wrapper(comment):
                with self.assertHeld(self.one, self.two):
                    updated = Plain.objects.filter(name="a").update(number=F("number") + 1)
                    self.assertEqual(updated, 2)

    def test_an_update_with_wrong_arguments_leaves_the_transaction_usable(self):
        with transaction.atomic():
            with self.assertRaises(FieldDoesNotExist):
                Plain.objects.update(nonsense=1)
            self.assertEqual(Plain.objects.count(), 3)


class UpdateOfPkTests(HeldMixin, TestCase):
    """An update of the pk moves a row from one key to another."""

    def setUp(self):
        empty_cache()

    def assertMoved(self, rows, model, old, new, **values):
        model.objects.cache(old)
        with self.assertHeld(model.objects.get(pk=old)):
            self.assertEqual(rows.update(**values), 1)
        self.assertRight(model, old)
        self.assertRight(model, new)
        self.assertIsNotNone(model.objects.cache(new))

    def test_a_string_pk_is_moved(self):
        Text.objects.create(id="a b", name="x")
        self.assertMoved(Text.objects.filter(name="x"), Text, "a b", "c d", id="c d")

    def test_a_string_pk_is_moved_by_an_expression(self):
        Text.objects.create(id="a b", name="x")
        new = Concat(F("id"), Value("!"))
        self.assertMoved(Text.objects.filter(id="a b"), Text, "a b", "a b!", id=new)

    def test_an_integer_pk_is_moved_by_an_expression(self):
        plain = Plain.objects.create(name="x")
        new = plain.pk + 1000
        self.assertMoved(Plain.objects.all(), Plain, plain.pk, new, id=F("id") + 1000)

    def test_one_part_of_a_composite_pk_is_moved(self):
        Pair.objects.create(left=1, right="a")
        self.assertMoved(Pair.objects.filter(left=1), Pair, (1, "a"), (2, "a"), left=F("left") + 1)
        self.assertMoved(Pair.objects.all(), Pair, (2, "a"), (2, "b c"), right="b c")

    def test_a_pk_that_is_a_foreign_key_is_moved(self):
        ann, bob = (Keeper.objects.create(name=name) for name in ("Ann", "Bob"))
        License.objects.create(keeper=ann)
        self.assertMoved(License.objects.all(), License, ann.pk, bob.pk, keeper=bob)
        self.assertMoved(License.objects.all(), License, bob.pk, ann.pk, keeper_id=ann.pk)

    def test_it_is_refused_on_databases_that_do_not_return_the_rows(self):
        Plain.objects.create(name="x")
        with mock.patch.object(queryset, "CAN_RETURN", ()):
            with self.assertRaises(NotSupportedError):
                Plain.objects.update(id=F("id") + 1000)
            self.assertEqual(Plain.objects.filter(name="missing").update(id=F("id") + 1000), 0)

    def test_an_update_leaves_distinct_out_as_in_django(self):
        pks = [Plain.objects.create(name="x").pk for _ in range(2)]
        rows = Plain.objects.distinct("name")
        if django.VERSION >= (6, 1):  # raises an error
            with self.assertRaisesMessage(TypeError, "distinct"):
                rows.update(id=F("id") + 1000)
            return
        self.assertEqual(rows.update(id=F("id") + 1000), 2)
        for pk in pks:
            self.assertRight(Plain, pk)
            self.assertRight(Plain, pk + 1000)


class BulkUpdateTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.rows = [Plain.objects.create(name="a", number=n) for n in range(5)]

    def test_bulk_update_holds_its_rows(self):
        for size in (None, 2):
            for row in self.rows:
                row.name = f"size {size}"
            with self.subTest(size), self.assertHeld(*self.rows):
                updated = Plain.objects.bulk_update(self.rows, ["name"], batch_size=size)
                self.assertEqual(updated, 5)

    def test_bulk_update_writes_the_named_fields_only(self):
        for row in self.rows:
            row.name, row.number = "b", 99
        with self.assertHeld(*self.rows):
            Plain.objects.bulk_update((row for row in self.rows), ["name"])
        self.assertEqual(Plain.objects.cache(self.rows[0].pk).number, 0)

    def test_bulk_update_with_an_expression_holds_its_rows(self):
        self.rows[0].number = F("number") + 7
        with self.assertHeld(self.rows[0]):
            Plain.objects.bulk_update(self.rows[:1], ["number"])
        self.assertEqual(Plain.objects.cache(self.rows[0].pk).number, 7)

    def test_bulk_update_of_a_filtered_queryset_holds_its_rows(self):
        for row in self.rows:
            row.name = "b"
        with self.assertHeld(*(row for row in self.rows if row.number > 2)):
            Plain.objects.filter(number__gt=2).bulk_update(self.rows, ["name"])

    def test_bulk_update_holds_its_rows_on_a_database_that_does_not_return_pks(self):
        for row in self.rows:
            row.name = "b"
        with (
            mock.patch.object(queryset, "CAN_RETURN", ()),
            self.assertHeld(*self.rows),
        ):
            Plain.objects.bulk_update(self.rows, ["name"], batch_size=2)

    def test_the_statement_stays_as_it_is_on_such_a_database(self):
        execute, sql = (
            mock.Mock(),
            f"UPDATE {connection.ops.quote_name('zoo_plain')} SET name = 'b'",
        )
        with mock.patch.object(queryset, "CAN_RETURN", ()):
            queryset._Returning(Plain, "default", [])(execute, sql, None, False, {})
        execute.assert_called_once_with(sql, None, False, {})

    def test_bulk_update_of_a_child_holds_its_parents_row(self):
        dog = Dog.objects.create(name="Rex")
        dog.name, dog.tricks = "Lassie", 3
        with self.assertHeld(Animal.objects.get(), dog):
            Dog.objects.bulk_update([dog], ["name", "tricks"])

    def test_an_asynchronous_bulk_update_holds_its_rows(self):
        self.rows[0].name = "z"
        with self.assertHeld(self.rows[0]):
            run(lambda: Plain.objects.abulk_update(self.rows[:1], ["name"]))

    def test_an_upsert_in_the_middle_of_a_bulk_update_holds_its_rows(self):
        drawer = Drawer.objects.create(name="a")
        other = Drawer.objects.create(name="b")

        def objs():
            Drawer.objects.bulk_create(
                [Drawer(pk=drawer.pk, name="c")],
                update_conflicts=True,
                unique_fields=["pk"],
                update_fields=["name"],
            )
            yield other

        with self.assertHeld(drawer, other):
            Drawer.objects.bulk_update(objs(), ["size"])

    def test_bulk_update_with_wrong_arguments_leaves_the_transaction_usable(self):
        with transaction.atomic():
            for arguments in (
                ([Plain(name="unsaved")], ["name"]),
                (self.rows, []),
                (self.rows, ["id"]),
                (self.rows, ["name"], 0),
            ):
                with self.subTest(arguments), self.assertRaises((ValueError, FieldError)):
                    Plain.objects.bulk_update(*arguments)
            self.assertEqual(Plain.objects.count(), 5)

    def test_bulk_update_of_no_rows_runs_no_query(self):
        with self.assertNumQueries(0):
            self.assertEqual(Plain.objects.bulk_update([], ["name"]), 0)
