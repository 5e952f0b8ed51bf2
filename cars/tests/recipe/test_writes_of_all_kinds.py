"""Pks that are expressions or aren't known yet, saves that raise, transactions past Django."""

from unittest.mock import patch

from django.core.signals import request_finished
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Lower
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from cars.caching import transactions
from cars.caching.entries import Holds, Row
from cars.tests.support.assertions import HeldMixin
from cars.tests.support.caches import empty_cache
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_another_thread,
    read,
)
from cars.tests.support.zoo.models import (
    Animal,
    Blob,
    Crate,
    CrateQuerySet,
    Defaulted,
    Dog,
    Plain,
    Puppy,
    Text,
    Uuid,
)


class ExpressionTests(HeldMixin, TestCase):
    """A pk that is an expression holds the rows that it matches."""

    def setUp(self):
        empty_cache()
        self.text = Text.objects.create(id="ab", name="old")
        self.plain = Plain.objects.create(name="old")

    def test_a_save_holds_the_row(self):
        with self.assertHeld(self.text):
            Text(id=Concat(Value("a"), Value("b")), name="new").save()
        self.assertEqual(Text.objects.cache("ab").name, "new")

    def test_a_save_in_a_transaction_holds_the_row(self):
        with self.assertHeld(self.text), transaction.atomic():
            Text(id=Lower(Value("AB")), name="new").save()
        self.assertEqual(Text.objects.cache("ab").name, "new")

    def test_a_save_of_a_numeric_pk_holds_the_row(self):
        with self.assertHeld(self.plain):
            Plain(id=Value(self.plain.pk) + 0, name="new").save(force_update=True)

    def test_a_delete_holds_the_row(self):
        with self.assertHeld(self.text):
            Text(id=Lower(Value("AB"))).delete()
        self.assertFalse(Text.objects.exists())

    def test_a_bulk_update_holds_the_row(self):
        with self.assertHeld(self.text):
            Text.objects.bulk_update([Text(id=Lower(Value("AB")), name="new")], ["name"])
        self.assertEqual(Text.objects.cache("ab").name, "new")


class DatabaseDefaultTests(HeldMixin, TestCase):
    """A pk that the database chooses by its own default, so that Django only INSERTs."""

    def setUp(self):
        empty_cache()

    def test_a_new_row_is_found(self):
        with self.assertRaises(Defaulted.DoesNotExist):
            Defaulted.objects.cache("one")
        with CaptureQueriesContext(connection) as queries:
            row = Defaulted(name="new")
            row.save()
        self.assertEqual([query["sql"].split()[0] for query in queries], ["INSERT", "SELECT"])
        self.assertEqual(row.pk, "one")
        self.assertRight(Defaulted, "one")

    def test_a_row_created_again_in_a_transaction_is_held(self):
        row = Defaulted.objects.create(name="old")
        with self.assertHeld(row), transaction.atomic():
            Defaulted.objects.all().delete()
            Defaulted(name="new").save()
        self.assertEqual(Defaulted.objects.cache("one").name, "new")

    def test_a_refused_insert_leaves_the_row_right(self):
        Defaulted.objects.create(name="old")
        Defaulted.objects.cache("one")
        with self.assertRaises(IntegrityError), transaction.atomic():
            Defaulted(name="new").save()
        self.assertRight(Defaulted, "one")

    def test_mass_writes_hold_its_row(self):
        row = Defaulted.objects.create(name="old")
        with self.assertHeld(row):
            Defaulted.objects.update(name="updated")
        with self.assertHeld(row):
            Defaulted.objects.bulk_create(
                [Defaulted(name="upserted")],
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["name"],
            )
        self.assertEqual(Defaulted.objects.cache("one").name, "upserted")


class MemoryviewTests(HeldMixin, TestCase):
    """A pk of bytes, which some databases return as a memoryview."""

    def setUp(self):
        empty_cache()
        self.blob = Blob.objects.create(id=b"a\x00b", name="old")

    def test_bytes_and_a_memoryview_are_one_pk(self):
        pks = [b"a\x00b", memoryview(b"a\x00b")]
        for pk in pks:
            self.assertRight(Blob, pk)
        found = Blob.objects.cache_many(pks[1:])
        self.assertEqual([row.name for row in found.values()], ["old"])

    def test_writes_hold_the_row(self):
        pk = memoryview(b"a\x00b")
        writes = (
            lambda: Blob(id=pk, name="saved").save(),
            lambda: Blob.objects.filter(id=pk).update(name="updated"),
            lambda: Blob.objects.bulk_update([Blob(id=pk, name="bulk")], ["name"]),
            lambda: Blob.objects.get().save(),
            lambda: Blob.objects.get().delete(),
        )
        for number, write in enumerate(writes):
            with self.subTest(number), self.assertHeld(self.blob):
                write()
        self.assertFalse(Blob.objects.exists())


class ParentPkTests(HeldMixin, TestCase):
    """Django copies the pk of a parent to its child while it saves."""

    def setUp(self):
        empty_cache()
        self.puppy = Puppy.objects.create(name="old", tricks=1, age=1)
        self.pk = self.puppy.pk
        self.animal = Animal.objects.get(pk=self.pk)
        self.dog = Dog.objects.get(pk=self.pk)

    def test_a_dog_with_the_id_of_an_animal_is_held(self):
        with self.assertHeld(self.animal, self.dog):
            Dog(id=self.pk, name="new", tricks=2).save()
        self.assertEqual(Animal.objects.cache(self.pk).name, "new")

    def test_a_puppy_with_the_pk_of_an_animal_is_held(self):
        with self.assertHeld(self.animal, self.dog, self.puppy):
            Puppy(animal_ptr_id=self.pk, name="new", tricks=2, age=2).save()
        self.assertEqual(Dog.objects.cache(self.pk).tricks, 2)

    def test_a_dog_whose_parent_is_given_is_held(self):
        with self.assertHeld(self.animal, self.dog):
            Dog(animal_ptr=self.animal, name="new", tricks=2).save()
        self.assertEqual(Animal.objects.cache(self.pk).name, "new")

    def test_a_puppy_whose_parent_is_given_is_held(self):
        with self.assertHeld(self.animal, self.dog, self.puppy):
            Puppy(dog_ptr=self.dog, name="new", tricks=2, age=2).save()
        self.assertEqual(Dog.objects.cache(self.pk).tricks, 2)

    def test_they_are_held_in_a_transaction_too(self):
        with self.assertHeld(self.animal, self.dog, self.puppy), transaction.atomic():
            Puppy(id=self.pk, name="new", tricks=2, age=2).save()


class RaisedSaveTests(ClientsTestCase):
    """A save in autocommit that raises leaves no hold after the request."""

    def setUp(self):
        super().setUp()
        Plain.objects.cache(self.plain.pk)

    def fail(self):
        with patch.object(Plain, "_do_update", side_effect=DatabaseError("planted")):
            with self.assertRaisesMessage(DatabaseError, "planted"):
                self.rename()

    def test_the_end_of_the_request_withdraws_the_hold(self):
        self.fail()
        self.assertIsInstance(entry_under(self.key), Holds)
        request_finished.send(type(self))
        self.assertIsNone(entry_under(self.key))
        self.assertEqual(read(self.plain.pk), ("old", "miss"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_many_saves_that_raised_leave_few_holds_before_the_end_and_none_after_it(self):
        with patch.object(transactions, "MOST_SAVES", 5):
            for _ in range(12):
                self.fail()
        self.assertEqual(len(entry_under(self.key).deadlines), 5)
        self.assertEqual(len(getattr(connection, transactions.SAVES)), 5)
        transactions.settle_all()
        self.assertIsNone(entry_under(self.key))

    def test_a_save_that_follows_on_the_same_instance_withdraws_its_own_hold_only(self):
        self.fail()
        self.rename("new")
        transactions.settle_all()
        self.assertEqual(read(self.plain.pk)[0], "new")
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_the_hold_stays_if_the_connection_is_lost(self):
        self.fail()
        connection.close()
        transactions.settle_all()
        self.assertIsInstance(entry_under(self.key), Holds)
        self.assertEqual(read(self.plain.pk), ("old", "held"))


class ForeignTransactionTests(ClientsTestCase):
    """A transaction that Django doesn't know of."""

    def begin(self):
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
        self.addCleanup(connection.close)

    def end(self, how="COMMIT"):
        with connection.cursor() as cursor:
            cursor.execute(how)

    def test_a_begin_by_a_cursor_hides_what_is_not_committed(self):
        for how, name in (("COMMIT", "new"), ("ROLLBACK", "old")):
            with self.subTest(how):
                Plain.objects.filter(pk=self.plain.pk).update(name="old")
                read(self.plain.pk)
                self.begin()
                self.rename()
                self.assertEqual(read(self.plain.pk)[0], "new")
                self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
                self.end(how)
                self.assertEqual(in_another_thread(read, self.plain.pk)[0], name)
                self.assertEqual(read(self.plain.pk)[0], name)

    def test_expire_inside_it_does_not_publish_the_row(self):
        read(self.plain.pk)
        self.begin()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE zoo_plain SET name = 'raw'")
        Plain.objects.expire([self.plain.pk])
        self.assertNotIsInstance(entry_under(self.key), Row)
        self.assertEqual(in_another_thread(read, self.plain.pk)[0], "old")
        self.end("ROLLBACK")
        for _ in range(2):
            self.assertEqual(read(self.plain.pk)[0], "old")

    def test_a_miss_inside_it_does_not_publish_the_row(self):
        evict(self.key)
        self.begin()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE zoo_plain SET name = 'raw'")
        self.assertEqual(read(self.plain.pk)[0], "raw")
        self.assertEqual(in_another_thread(read, self.plain.pk)[0], "old")
        self.end("ROLLBACK")
        self.assertEqual(read(self.plain.pk)[0], "old")

    if connection.vendor == "postgresql":  # psycopg's

        def test_a_transaction_of_psycopg_hides_what_is_not_committed(self):
            read(self.plain.pk)
            with connection.connection.transaction():
                self.rename()
                Plain.objects.expire([self.plain.pk])
                self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
            self.assertEqual(in_another_thread(read, self.plain.pk)[0], "new")
            self.assertEqual(read(self.plain.pk)[0], "new")


class DjangosBehaviourTests(TestCase):
    def setUp(self):
        empty_cache()

    def test_an_update_of_a_custom_queryset_runs_once(self):
        crate = Crate.objects.create(name="old")
        Crate.objects.cache(crate.pk)
        CrateQuerySet.updates = 0
        self.assertEqual(Crate.objects.filter(pk=crate.pk).update(name="new"), 1)
        self.assertEqual(CrateQuerySet.updates, 1)
        self.assertEqual(Crate.objects.cache(crate.pk).name, "new")

    def test_wrong_arguments_do_not_break_the_transaction(self):
        rows = [Uuid(name="a")]
        writes = (
            lambda: Uuid.objects.bulk_create(rows, update_conflicts=True),
            lambda: Uuid.objects.bulk_create(
                rows, update_conflicts=True, update_fields=["no"], unique_fields=["name"]
            ),
            lambda: Uuid.objects.bulk_create(
                rows, update_conflicts=True, update_fields=["number"], unique_fields=["no"]
            ),
            lambda: Uuid.objects.update(no=1),
            lambda: Uuid.objects.update(number=F("no")),
            lambda: Uuid.objects.all()[:1].update(number=1),
            lambda: Uuid.objects.bulk_update([Uuid()], ["no"]),
            lambda: Uuid.objects.bulk_update([Uuid()], []),
        )
        for number, write in enumerate(writes):
            with self.subTest(number), transaction.atomic():
                with self.assertRaises(Exception) as raised:
                    write()
                self.assertNotIsInstance(raised.exception, DatabaseError)
                self.assertFalse(connection.needs_rollback)
                Uuid.objects.create(name=str(number))
        self.assertEqual(Uuid.objects.count(), len(writes))

    def test_a_refused_statement_breaks_the_transaction_as_in_django(self):
        Uuid.objects.create(name="a"), Uuid.objects.create(name="b")
        for rows in (Uuid.objects.all(), Uuid.objects.filter(name="a")):
            with self.assertRaises(IntegrityError), transaction.atomic():
                rows.update(name="b" if rows.count() == 1 else "c")
        self.assertEqual(set(Uuid.objects.values_list("name", flat=True)), {"a", "b"})

    def test_a_refused_statement_that_is_caught_breaks_the_transaction_as_in_django(self):
        Uuid.objects.create(name="a"), Uuid.objects.create(name="b")
        with transaction.atomic():
            with self.assertRaises(IntegrityError):
                Uuid.objects.update(name="c")
            self.assertTrue(connection.needs_rollback)

    def test_the_callbacks_that_a_test_captures_are_the_applications_only(self):
        plain = Plain.objects.create(name="a")
        for name, act in {
            "read": lambda: Plain.objects.cache(plain.pk),
            "save": plain.save,
            "update": lambda: Plain.objects.update(name="b"),
            "in atomic()": transaction.atomic(plain.save),
        }.items():
            empty_cache()
            with self.subTest(name), self.captureOnCommitCallbacks() as callbacks:
                act()
                transaction.on_commit(act)
            if name != "in atomic()":
                self.assertEqual(callbacks, [act])
