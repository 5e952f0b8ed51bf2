"""manage.py import_cars FILE"""

from contextlib import redirect_stderr
from decimal import Decimal
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from cars.management.commands import import_cars as command
from cars.models import Car
from cars.stock.files import SHIPPED, to_row

HEADER = "make,model,year,body,origin,mileage,price"
AVENSIS = "Toyota,Avensis,1997,saloon,Japan,180000,2499.50"
AURIS = "Toyota,Auris,2006,hatchback,Japan,90000,5990.00"


def import_file(path: Path | str) -> str:
    """Run the command and return its output."""
    out = StringIO()
    with redirect_stderr(StringIO()):  # keeps the progress bar out of the tests' output
        call_command("import_cars", str(path), stdout=out)
    return out.getvalue()


class ImportTestCase(TestCase):
    """A test case that imports files which it writes."""

    def setUp(self):
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "cars.csv"

    def import_bytes(self, content: bytes) -> str:
        self.path.write_bytes(content)
        return import_file(self.path)

    def import_rows(self, *rows: str) -> str:
        return self.import_bytes("\n".join([HEADER, *rows, ""]).encode())

    def assertNothingImported(self, reason: str, content: bytes):
        """Assert that importing `content` fails with `reason` and leaves no car."""
        with self.assertRaises(CommandError) as caught:
            self.import_bytes(content)
        expected = f"Nothing was imported from {self.path}: {reason}"
        self.assertEqual(str(caught.exception), expected)
        self.assertFalse(Car.objects.exists())

    def assertRowsRejected(self, reason: str, *rows: str):
        self.assertNothingImported(reason, "\n".join([HEADER, *rows, ""]).encode())


class ImportTests(ImportTestCase):
    """Rows that are imported, and rows that are skipped."""

    def test_the_shipped_cars_are_imported_once(self):
        count = len(SHIPPED.read_text("utf-8").splitlines()) - 1
        self.assertEqual(
            import_file(SHIPPED), f"Imported {count} cars, skipped 0 that were there already.\n"
        )
        self.assertEqual(
            import_file(SHIPPED), f"Imported 0 cars, skipped {count} that were there already.\n"
        )
        self.assertEqual(Car.objects.count(), count)

    def test_every_column_is_imported(self):
        self.import_rows(AVENSIS)
        self.assertEqual(
            to_row(Car.objects.get()),
            ("Toyota", "Avensis", 1997, "saloon", "Japan", 180000, Decimal("2499.50")),
        )

    def test_an_empty_cell_means_no_value(self):
        self.import_rows("Toyota,,,,,,")
        self.assertEqual(to_row(Car.objects.get()), ("Toyota", "", None, "", "", None, None))

    def test_a_row_with_empty_cells_is_skipped_if_it_exists(self):
        rows = ["Toyota,,,,,,", "Toyota,Avensis,,,,5,", "Toyota,Avensis,,,,,5"]
        self.import_rows(*rows)
        self.assertEqual(
            self.import_rows(*rows), "Imported 0 cars, skipped 3 that were there already.\n"
        )

    def test_a_row_that_differs_in_one_column_is_imported(self):
        self.import_rows(AVENSIS)
        cells = AVENSIS.split(",")
        others = ("Toyoda", "Auris", "1998", "estate", "United Kingdom", "180001", "2499.51")
        for column, other in enumerate(others):
            with self.subTest(column=HEADER.split(",")[column]):
                row = ",".join([*cells[:column], other, *cells[column + 1 :]])
                self.assertEqual(
                    self.import_rows(row), "Imported 1 car, skipped 0 that were there already.\n"
                )

    def test_a_duplicate_row_in_a_file_is_imported_once(self):
        self.assertEqual(
            self.import_rows(AVENSIS, AURIS, AVENSIS),
            "Imported 2 cars, skipped 1 that was there already.\n",
        )

    def test_a_duplicate_row_in_another_batch_is_imported_once(self):
        with patch.object(command, "BATCH", 1):
            self.import_rows(AVENSIS, AURIS, AVENSIS)
        self.assertEqual(Car.objects.count(), 2)

    def test_the_same_value_in_another_notation_is_the_same(self):
        self.import_rows(AVENSIS)
        self.import_rows(" Toyota , Avensis,01997,saloon,Japan,180000,2499.5")
        self.assertEqual(Car.objects.count(), 1)

    def test_a_thousand_rows_are_compared_by_one_query(self):
        rows = [f"Toyota,Avensis,1997,saloon,Japan,{mileage},1.00" for mileage in range(1000)]
        self.import_rows(*rows)
        with CaptureQueriesContext(connection) as queries:
            self.import_rows(*rows)
        self.assertEqual(sum("cars_car" in query["sql"] for query in queries), 1)

    def test_quotes_commas_and_non_ascii_letters_are_imported(self):
        self.import_rows('"Škoda","Fabia ""Combi"", 1.9",,,,,')
        self.assertEqual(str(Car.objects.get()), 'Škoda Fabia "Combi", 1.9')

    def test_a_byte_order_mark_windows_line_ends_and_empty_lines_are_accepted(self):
        content = f"{HEADER}\r\n{AVENSIS}\r\n\r\n{AURIS}".encode("utf-8-sig")
        self.import_bytes(content)
        self.assertEqual(Car.objects.count(), 2)


class BadFileTests(ImportTestCase):
    """Files and rows that are rejected, and the error messages."""

    def test_an_invalid_row_is_reported_with_line_column_and_reason(self):
        self.assertRowsRejected(
            "1 bad row:\n  line 3, column year: The year must be 1886 or later.",
            AVENSIS,
            "Ford,Model T,1700,cabriolet,United States,1,1.00",
            AURIS,
        )

    def test_every_column_is_validated_as_in_a_form(self):
        for cells, reason in {
            ",Avensis,,,,,": "column make: This field cannot be blank.",
            "Toyota,,soon,,,,": "column year: “soon” value must be an integer.",
            "Toyota,,,boat,,,": "column body: Value 'boat' is not a valid choice.",
            "Toyota,,,,,-1,": "column mileage: A mileage can't be negative.",
            "Toyota,,,,,,-1": "column price: A price can't be negative.",
            "Toyota,,,,,,1.234": (
                "column price: Ensure that there are no more than 2 decimal places."
            ),
            "Toyota,,,,,,cheap": "column price: “cheap” value must be a decimal number.",
            "Toyota,,,,,,NaN": "column price: “NaN” value must be a decimal number.",
            "Toyota,a\0b,,,,,": "column model: Null characters are not allowed.",
            "Toyota,Avensis": "2 columns instead of 7.",
            AVENSIS + ",": "8 columns instead of 7.",
        }.items():
            with self.subTest(cells=cells):
                self.assertRowsRejected(f"1 bad row:\n  line 2, {reason}", cells)

    def test_all_errors_of_a_row_are_reported(self):
        self.assertRowsRejected(
            "1 bad row:\n"
            "  line 2, column year: The year must be 1886 or later.\n"
            "  line 2, column price: A price can't be negative.",
            "Toyota,,1700,,,,-1",
        )

    def test_the_first_invalid_rows_are_reported_and_the_rest_counted(self):
        named = "".join(
            f"\n  line {line}, column year: The year must be 1886 or later." for line in range(2, 7)
        )
        self.assertRowsRejected(f"7 bad rows:{named}\n  and 2 more", *["Benz,,1700,,,,"] * 7)

    def test_an_invalid_row_rolls_back_earlier_batches(self):
        with patch.object(command, "BATCH", 1):
            self.assertRowsRejected(
                "1 bad row:\n  line 4, column year: The year must be 1886 or later.",
                AVENSIS,
                AURIS,
                "Benz,,1700,,,,",
            )

    def test_no_car_is_inserted_after_an_invalid_row(self):
        with (
            patch.object(command, "BATCH", 1),
            CaptureQueriesContext(connection) as queries,
            self.assertRaises(CommandError),
        ):
            self.import_rows(AVENSIS, "Benz,,1700,,,,", AURIS)
        self.assertEqual(sum("INSERT" in query["sql"] for query in queries), 1)

    def test_line_numbers_are_those_of_an_editor(self):
        self.assertRowsRejected(
            "1 bad row:\n  line 5, column year: The year must be 1886 or later.",
            '"Toyota\nJapan",,,,,,',
            "",
            "Benz,,1700,,,,",
        )

    def test_a_missing_file_and_a_folder_are_rejected(self):
        for path, reason in {
            self.path: "No such file or directory.",
            self.path.parent: "Is a directory.",
        }.items():
            with self.subTest(reason=reason):
                expected = f"Nothing was imported from {path}: {reason}"
                with self.assertRaisesMessage(CommandError, expected):
                    import_file(path)

    def test_another_header_or_no_header_is_rejected(self):
        for content in (b"", b"name,year\n", AVENSIS.encode(), HEADER.upper().encode()):
            with self.subTest(content=content):
                self.assertNothingImported(f"line 1: the header must be {HEADER}.", content)

    def test_a_file_that_is_not_utf_8_is_rejected(self):
        rows = f"{HEADER}\n{AVENSIS}\nCitroën,,,,,,\n"
        for encoding, line in {"latin-1": 3, "utf-16": 1}.items():
            with self.subTest(encoding=encoding):
                self.assertNothingImported(
                    f"line {line}: not UTF-8. Save the file as UTF-8.", rows.encode(encoding)
                )

    def test_a_line_without_an_end_is_rejected(self):
        with self.assertRaisesMessage(CommandError, "line 1: longer than 100000 bytes."):
            import_file("/dev/zero")
        self.assertNothingImported(
            "line 2: longer than 100000 bytes.", f"{HEADER}\n{'x' * 100_001}".encode()
        )

    def test_an_unclosed_quote_is_rejected(self):
        self.assertRowsRejected("line 2: no CSV: unexpected end of data.", '"Toyota,,,,,,')

    def test_for_a_database_without_tables_the_error_says_what_to_do(self):
        error = OperationalError("no such table: cars_car")
        with patch.object(Car.objects, "bulk_create", side_effect=error):
            with self.assertRaisesMessage(CommandError, "no such table: cars_car. Is it up to"):
                self.import_rows(AVENSIS)

    def test_an_interrupted_import_leaves_no_car(self):
        def insert_and_interrupt(cars):
            QuerySet(Car).bulk_create(cars)
            raise KeyboardInterrupt

        with (
            patch.object(Car.objects, "bulk_create", insert_and_interrupt),
            self.assertRaisesMessage(CommandError, "Stopped: nothing was imported."),
        ):
            self.import_rows(AVENSIS, AURIS)
        self.assertFalse(Car.objects.exists())
