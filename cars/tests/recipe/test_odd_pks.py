"""Pks that can't be hashed, and pks that their field returns but doesn't take."""

from io import StringIO
from unittest import mock

from django.core.management import call_command
from django.db import transaction
from django.test import TestCase

from cars.caching import protocol, queryset
from cars.tests.support.assertions import HeldMixin, entry
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.fields import Label
from cars.tests.support.zoo.models import Parcel, Plain, Ticket


class PkThatCannotBeHashedTests(TestCase):
    def setUp(self):
        empty_cache()
        self.one, self.two = (Parcel.objects.create(id=pk, name="old") for pk in ("a", "b"))

    def test_it_is_cached_under_the_string_or_the_value(self):
        for pk in "a", Label("a"):
            self.assertEqual(Parcel.objects.cache(pk).name, "old")
            with self.assertNumQueries(0):
                self.assertEqual(Parcel.objects.cache(pk).id, Label("a"))
        with self.assertRaises(Parcel.DoesNotExist):
            Parcel.objects.cache("c")

    def write_in_every_way(self):
        Parcel.objects.filter(pk="a").update(name="new")
        self.assertEqual(Parcel.objects.cache("a").name, "new")
        self.two.name = "newer"
        Parcel.objects.bulk_update([self.two], ["name"])
        self.assertEqual(Parcel.objects.cache("b").name, "newer")
        saved = Parcel.objects.cache("a")
        saved.name = "saved"
        saved.save()
        self.assertEqual(Parcel.objects.cache("a").name, "saved")
        Parcel.objects.filter(pk="a")._raw_delete("default")
        with self.assertRaises(Parcel.DoesNotExist):
            Parcel.objects.cache("a")

    def test_writes_hold(self):
        Parcel.objects.cache("a")
        Parcel.objects.cache("b")
        self.write_in_every_way()

    def test_writes_hold_on_databases_that_do_not_return_pks(self):
        self.enterContext(mock.patch.object(queryset, "CAN_RETURN", ()))
        Parcel.objects.cache("a")
        Parcel.objects.cache("b")
        self.write_in_every_way()

    def test_an_upsert_holds(self):
        Parcel.objects.cache("a")
        rows = [Parcel(id=pk, name="upserted") for pk in "ac"]
        Parcel.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["id"], update_fields=["name"]
        )
        self.assertEqual(Parcel.objects.cache("a").name, "upserted")
        self.assertEqual(Parcel.objects.cache("c").name, "upserted")


class PkOfAFieldThatDoesNotTakeNoneTests(HeldMixin, TestCase):
    def test_a_row_whose_pk_the_database_chooses_is_saved_and_cached(self):
        empty_cache()
        prepare = Plain._meta.pk.get_prep_value
        not_none = mock.patch.object(
            Plain._meta.pk, "get_prep_value", lambda pk: prepare(pk.numerator)
        )
        with not_none:
            self.assertRight(Plain, Plain.objects.create(name="a").pk)


class PkThatItsFieldDoesNotTakeTests(TestCase):
    """A loaded instance has no key, so its writes can't hold: such a row stays out of the cache."""

    def setUp(self):
        empty_cache()
        protocol._warned.clear()
        Ticket.objects.bulk_create([Ticket(pk=1, name="first"), Ticket(pk=2, name="second")])
        with self.assertLogs("cars.caching") as self.logs:
            for _ in range(2):
                Ticket.objects.cache(1)

    def test_cache_returns_what_get_returns_and_stores_nothing(self):
        for pk, name in (1, "first"), ("2", "second"):
            for _ in range(2):
                self.assertEqual(Ticket.objects.cache(pk).name, name)
            self.assertIsNone(entry(Ticket, pk))
        with self.assertRaises(Ticket.DoesNotExist):
            Ticket.objects.cache(3)

    def test_cache_many_returns_the_rows_that_exist(self):
        found = Ticket.objects.cache_many([3, 2, 1])
        self.assertEqual(
            [(pk, row.name) for pk, row in found.items()], [(2, "second"), (1, "first")]
        )

    def test_in_a_transaction_too(self):
        with transaction.atomic():
            self.assertEqual(Ticket.objects.cache(1).name, "first")

    def test_a_write_is_seen_at_once(self):
        for name in "new", "newer":
            Ticket.objects.filter(pk=1).update(name=name)
            self.assertEqual(Ticket.objects.cache(1).name, name)
        Ticket(pk=1, name="saved").save()
        self.assertEqual(Ticket.objects.cache(1).name, "saved")

    def test_the_log_says_once_that_it_stays_out_of_the_cache(self):
        (line,) = self.logs.output
        self.assertIn("The row Ticket.1 can't be packed, and stays out of the cache", line)

    def test_verify_cache_passes(self):
        output = StringIO()
        call_command("verify_cache", stdout=output)
        self.assertIn("zoo.Ticket (default): 0 fresh, 0 stale", output.getvalue())
