"""manage.py make_cars N"""

from contextlib import redirect_stderr
from io import StringIO
from unittest.mock import patch

from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from cars.management.commands import make_cars as command
from cars.models import Car
from cars.stock.files import to_row


def make_cars(*args: str) -> str:
    """Run the command and return its output."""
    out = StringIO()
    with redirect_stderr(StringIO()):  # keeps the progress bar out of the tests' output
        call_command("make_cars", *args, stdout=out)
    return out.getvalue()


class MakeCarsTests(TestCase):
    def test_the_command_makes_n_cars_and_reports_it(self):
        self.assertEqual(make_cars("30"), "Made 30 cars.\n")
        self.assertEqual(Car.objects.count(), 30)

    def test_the_cars_are_valid(self):
        make_cars("30")
        for car in Car.objects.all():
            car.full_clean()

    def test_cars_are_inserted_in_batches(self):
        with patch.object(command, "BATCH", 10), CaptureQueriesContext(connection) as queries:
            make_cars("30")
        self.assertEqual(sum("INSERT" in query["sql"] for query in queries), 3)

    def test_the_same_seed_makes_the_same_cars_and_another_seed_makes_others(self):
        rows = []
        for seed in ("1", "1", "2"):
            Car.objects.all().delete()
            make_cars("20", "--seed", seed)
            rows.append([to_row(car) for car in Car.objects.order_by("pk")])
        self.assertEqual(rows[0], rows[1])
        self.assertNotEqual(rows[0], rows[2])

    def test_a_number_that_is_not_positive_is_rejected(self):
        for number in ("0", "-5"):
            with self.subTest(number=number):
                message = f"N is how many cars to make, 1 or more, not {number}."
                with self.assertRaisesMessage(CommandError, message):
                    make_cars(number)
        self.assertFalse(Car.objects.exists())

    def test_an_argument_that_is_not_a_number_is_rejected(self):
        with self.assertRaisesMessage(CommandError, "argument N: invalid int value: 'many'"):
            make_cars("many")

    def test_for_a_database_without_tables_the_error_says_what_to_do(self):
        error = OperationalError("no such table: cars_car")
        with patch.object(Car.objects, "bulk_create", side_effect=error):
            with self.assertRaisesMessage(CommandError, "no such table: cars_car. Is it up to"):
                make_cars("1")

    def test_an_interrupted_run_reports_how_many_cars_it_made(self):
        with (
            patch.object(command, "BATCH", 10),
            patch.object(Car.objects, "bulk_create", side_effect=[[], KeyboardInterrupt]),
            self.assertRaisesMessage(CommandError, "Stopped: made 10 of 30 cars."),
        ):
            make_cars("30")
