"""`expire`, for writes that Django doesn't see: raw SQL, another program, a trigger."""

from django.db import connection, transaction
from django.test import TestCase

from cars.tests.support.assertions import HeldMixin, entry
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Animal, Dog, Plain


class ExpireTests(HeldMixin, TestCase):
    SQL = 'UPDATE "zoo_plain" SET "name" = %s WHERE "id" = %s'

    def setUp(self):
        empty_cache()
        self.row = Plain.objects.create(name="a")

    def test_expire_in_a_transaction_holds_until_the_commit(self):
        with self.assertHeld(self.row), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(self.SQL, ["b", self.row.pk])
            Plain.objects.expire([self.row.pk])
        self.assertEqual(Plain.objects.cache(self.row.pk).name, "b")

    def test_expire_in_autocommit_caches_the_current_row(self):
        Plain.objects.cache(self.row.pk)
        with connection.cursor() as cursor:
            cursor.execute(self.SQL, ["b", self.row.pk])
        self.assertEqual(Plain.objects.cache(self.row.pk).name, "a")
        Plain.objects.expire([str(self.row.pk)])
        self.assertRight(Plain, self.row.pk)

    def test_expire_of_a_deleted_row_leaves_nothing(self):
        Plain.objects.cache(self.row.pk)
        with connection.cursor() as cursor:
            cursor.execute('DELETE FROM "zoo_plain"')
        Plain.objects.expire([self.row.pk])
        self.assertIsNone(entry(Plain, self.row.pk))
        self.assertRight(Plain, self.row.pk)

    def test_expire_of_a_child_reaches_its_parent(self):
        dog = Dog.objects.create(name="Rex")
        with self.assertHeld(Animal.objects.get(), dog), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute('UPDATE "zoo_animal" SET "name" = %s', ["Lassie"])
            Dog.objects.expire([dog.pk])

    def test_a_row_from_a_raw_query_can_be_saved(self):
        (row,) = Plain.objects.raw('SELECT * FROM "zoo_plain"')
        row.name = "b"
        with self.assertHeld(row):
            row.save()
