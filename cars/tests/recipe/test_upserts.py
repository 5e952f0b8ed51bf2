"""bulk_create(): rows that are created, ignored or updated."""

import uuid
from datetime import date
from unittest import mock

from django.db import IntegrityError, connection, transaction
from django.test import TestCase

from cars.caching import queryset
from cars.tests.support.assertions import HeldMixin, before_commits, entry, run
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Booking, Drawer, Pair, Plain, Shelf, Text, Uuid

BY_NAME = {"update_conflicts": True, "unique_fields": ["name"], "update_fields": ["number"]}


class UpsertTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.row = Uuid.objects.create(name="a", number=1)

    def upsert(self, *objs, rows=Uuid.objects, **options):
        with self.assertHeld(self.row):
            rows.bulk_create(objs, **BY_NAME, **options)
        self.assertEqual(Uuid.objects.cache(self.row.pk).number, objs[0].number)

    def test_the_conflicting_row_is_held_not_the_pk_of_the_object(self):
        stray = uuid.uuid4()
        self.upsert(Uuid(pk=stray, name="a", number=2))
        self.assertIsNone(entry(Uuid, stray))
        self.upsert(Uuid(name="a", number=3))

    def test_a_conflicting_row_with_the_same_pk_is_held(self):
        self.upsert(Uuid(pk=self.row.pk, name="a", number=2))

    def test_rows_can_be_created_and_updated_together(self):
        self.upsert(Uuid(name="a", number=2), Uuid(name="b", number=2))
        self.assertRight(Uuid, Uuid.objects.get(name="b").pk)

    def test_an_upsert_in_a_transaction_holds_the_row(self):
        with self.assertHeld(self.row), transaction.atomic():
            Uuid.objects.bulk_create([Uuid(name="a", number=2)], **BY_NAME)

    def test_a_row_whose_pk_the_database_returns_is_held_though_its_values_do_not_find_it(self):
        drawer = Drawer.objects.create(name="a")
        by_name = BY_NAME | {"update_fields": ["size"]}
        not_found = mock.patch.object(
            Drawer.objects._queryset_class, "_conflicting", return_value=[]
        )
        with not_found, self.assertHeld(drawer):
            Drawer.objects.bulk_create([Drawer(name="a", size=2)], **by_name)

    if connection.vendor == "postgresql":  # removes spaces that a column is too short for

        def test_a_row_whose_unique_value_the_column_changes_is_held(self):
            drawer = Drawer.objects.create(name="x" * 50)
            by_name = BY_NAME | {"update_fields": ["size"]}
            with self.assertHeld(drawer):
                Drawer.objects.bulk_create([Drawer(name="x" * 50 + " ", size=2)], **by_name)
            self.assertEqual(Drawer.objects.cache(drawer.pk).size, 2)

    def test_an_upsert_from_a_generator_in_batches_holds_the_rows(self):
        rows = [Uuid.objects.create(name=str(n)) for n in range(5)]
        with mock.patch.object(queryset, "CHUNK_OF_CONFLICTS", 2), self.assertHeld(*rows):
            objs = (Uuid(name=str(n), number=7) for n in range(5))
            Uuid.objects.bulk_create(objs, batch_size=2, **BY_NAME)

    def test_an_upsert_with_positional_arguments_holds_the_row(self):
        with self.assertHeld(self.row):
            Uuid.objects.bulk_create(
                [Uuid(name="a", number=2)], None, False, True, ["number"], ["name"]
            )

    def test_an_asynchronous_upsert_holds_the_row(self):
        with self.assertHeld(self.row):
            run(lambda: Uuid.objects.abulk_create([Uuid(name="a", number=2)], **BY_NAME))

    def test_an_upsert_by_the_pk_holds_the_row(self):
        text = Text.objects.create(id="a b", name="x")
        with self.assertHeld(text):
            Text.objects.bulk_create(
                [Text(id="a b", name="y"), Text(id="c", name="z")],
                update_conflicts=True,
                unique_fields=["pk"],
                update_fields=["name"],
            )
        self.assertRight(Text, "c")

    def test_an_upsert_by_a_composite_pk_holds_the_row(self):
        pair = Pair.objects.create(left=1, right="a", name="x")
        with self.assertHeld(pair):
            Pair.objects.bulk_create(
                [Pair(left=1, right="a", name="y")],
                update_conflicts=True,
                unique_fields=["left", "right"],
                update_fields=["name"],
            )

    def test_an_upsert_by_two_unique_columns_holds_the_rows(self):
        day = date(2026, 1, 1)
        booked = [Booking.objects.create(room=room, day=day, name="Ann") for room in (1, 2)]
        other = Booking.objects.create(room=1, day=date(2026, 1, 2), name="Ann")
        Booking.objects.cache(other.pk)
        with self.assertHeld(*booked):
            Booking.objects.bulk_create(
                [Booking(room=1, day=day, name="Bob"), Booking(room=2, day=day, name="Bob")],
                update_conflicts=True,
                unique_fields=["room", "day"],
                update_fields=["name"],
            )
        with self.assertNumQueries(0):
            self.assertEqual(Booking.objects.cache(other.pk).name, "Ann")

    def test_an_upsert_that_fails_changes_nothing(self):
        Uuid.objects.cache(self.row.pk)
        with self.assertRaises(IntegrityError), transaction.atomic():
            objs = [Uuid(name="a", number=2), Uuid(pk=self.row.pk, name="b")]
            Uuid.objects.bulk_create(objs, **BY_NAME)
        self.assertRight(Uuid, self.row.pk)


class BulkCreateTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()

    def test_created_rows_are_found_by_readers(self):
        for manager_ in (Plain.objects, Shelf.objects):
            rows = manager_.bulk_create([manager_.model(name=name) for name in ("a", "b")])
            for row in rows:
                self.assertRight(manager_.model, row.pk)

    def test_a_row_that_was_not_found_is_found_once_it_is_created(self):
        with self.assertRaises(Text.DoesNotExist):
            Text.objects.cache("a b")
        Text.objects.bulk_create([Text(id="a b", name="x")])
        self.assertRight(Text, "a b")

    def test_a_row_deleted_and_created_again_in_one_transaction_is_held(self):
        text = Text.objects.create(id="a b", name="x")
        with self.assertHeld(text), transaction.atomic():
            Text.objects.filter(pk="a b").delete()
            Text.objects.bulk_create([Text(id="a b", name="y")])

    def test_ignored_rows_stay_in_the_cache(self):
        row = Uuid.objects.create(name="a", number=1)
        Uuid.objects.cache(row.pk)
        objs = [Uuid(name="a", number=2), Uuid(name="b", number=2)]
        Uuid.objects.bulk_create(objs, ignore_conflicts=True)
        with self.assertNumQueries(0):
            self.assertEqual(Uuid.objects.cache(row.pk).number, 1)
        self.assertRight(Uuid, row.pk)
        self.assertRight(Uuid, objs[1].pk)

    def test_bulk_create_runs_as_many_queries_as_in_django(self):
        with self.assertNumQueries(1):
            Plain.objects.bulk_create([Plain(name="a"), Plain(name="b")])

    def test_an_upsert_of_no_objects_writes_nothing(self):
        looks = []
        with before_commits(lambda: looks.append(1), Uuid):
            self.assertEqual(Uuid.objects.bulk_create([], **BY_NAME), [])
        with connection.cursor() as cursor:
            cursor.execute('SELECT count(*) FROM "zoo_uuid"')
            self.assertEqual(cursor.fetchone(), (0,))
