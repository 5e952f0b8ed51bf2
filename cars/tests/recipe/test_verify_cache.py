"""`manage.py verify_cache` finds stale rows, and then exits with status 1."""

from io import StringIO
from unittest import mock

from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TestCase

from cars.caching import protocol, verify
from cars.caching.entries import ABSENT, Lease, Swap, new_token
from cars.caching.management import progress
from cars.caching.registry import CachedModel
from cars.caching.rows import pack
from cars.tests.support.zoo.models import Animal, Dog, Pair, Plain, Text


class VerifyCacheTests(TestCase):
    def setUp(self):
        self.rows = [Plain.objects.create(name=str(number)) for number in range(5)]
        self.enterContext(mock.patch.object(verify, "PAUSE", 0))

    def verify(self, **options):
        output = StringIO()
        call_command("verify_cache", stdout=output, **options)
        return output.getvalue()

    def update_past_django(self, *rows, name="other"):
        with connection.cursor() as cursor:
            for row in rows:
                cursor.execute("UPDATE zoo_plain SET name = %s WHERE id = %s", [name, row.pk])

    def test_fresh_rows_are_counted(self):
        self.assertIn("zoo.Plain (default): 5 fresh, 0 stale", self.verify())

    def test_a_row_written_past_django_is_stale(self):
        self.update_past_django(self.rows[2])
        output = StringIO()
        with self.assertRaisesMessage(CommandError, "1 stale"):
            call_command("verify_cache", stdout=output)
        self.assertIn("zoo.Plain (default): 4 fresh, 1 stale", output.getvalue())
        self.assertIn(f"stale: Plain.{self.rows[2].pk}", output.getvalue())

    def test_a_row_deleted_past_django_is_stale(self):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM zoo_plain WHERE id = %s", [self.rows[2].pk])
        with self.assertRaisesMessage(CommandError, "1 stale"):
            self.verify()

    def test_the_last_row_deleted_past_django_is_stale(self):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM zoo_plain WHERE id = %s", [self.rows[-1].pk])
        with self.assertRaisesMessage(CommandError, "1 stale"):
            self.verify()

    def test_after_expire_it_is_fresh_again(self):
        self.update_past_django(*self.rows)
        Plain.objects.expire([row.pk for row in self.rows])
        self.assertIn("zoo.Plain (default): 5 fresh, 0 stale", self.verify())

    def test_a_difference_that_is_gone_at_the_second_comparison_is_not_stale(self):
        cached = CachedModel(Plain, "default")
        rows = protocol.select(cached, {self.rows[0].key(): self.rows[0].pk})
        self.update_past_django(self.rows[0])
        looks = []

        def catch_up(seconds):
            looks.append(seconds)
            self.update_past_django(self.rows[0], name=rows[self.rows[0].key()][1])

        with mock.patch.object(verify.time, "sleep", catch_up):
            self.assertIn("0 stale", self.verify())
        self.assertEqual(len(looks), 1)

    def test_a_sample_has_that_many_rows(self):
        self.assertIn("zoo.Plain (default): 3 fresh, 0 stale", self.verify(sample=3))

    def test_a_sample_of_no_rows_is_refused(self):
        with self.assertRaisesMessage(CommandError, "1 or more"):
            self.verify(sample=0)

    def test_rows_of_every_kind_of_pk_are_compared(self):
        Text.objects.create(id="a b", name="x")
        Pair.objects.create(left=1, right="x")
        Animal.objects.cache(Dog.objects.create(name="Rex").pk)
        output = self.verify()
        for model in ("Text", "Pair", "Dog", "Animal"):
            self.assertIn(f"zoo.{model} (default): 1 fresh, 0 stale", output)

    def test_more_rows_than_a_chunk_are_all_compared(self):
        with mock.patch.object(verify, "CHUNK", 2):
            self.assertIn("zoo.Plain (default): 5 fresh, 0 stale", self.verify())

    def test_other_entries_are_counted_by_their_state(self):
        cached = CachedModel(Plain, "default")
        held, leased, unusable, absent, _ = self.rows
        cache = cached.cache
        cache.delete_many([row.key() for row in self.rows[:4]])
        protocol.hold(cached, [held.key()], new_token())
        cache.cas_many({leased.key(): Swap(ABSENT, Lease(new_token()), 10)})
        cache.set(unusable.key(), "not a row")
        self.assertIn(
            "zoo.Plain (default): 1 fresh, 0 stale; 1 lease, 1 holds, 1 other, 1 nothing",
            self.verify(),
        )

    def test_a_row_with_another_fingerprint_is_counted_as_other(self):
        cached = CachedModel(Plain, "default")
        key = self.rows[0].key()
        row = pack(cached, (1, "anything", 2))
        cached.cache.set(key, type(row)(b"another." + row[8:]))
        self.assertIn("4 fresh, 0 stale; 0 lease, 0 holds, 1 other", self.verify())


class Terminal(StringIO):
    """Stands for standard error in a terminal."""

    def isatty(self):
        return True


class ProgressTests(TestCase):
    """verify_cache shows its progress in a terminal, with or without tqdm."""

    def setUp(self):
        Plain.objects.bulk_create(Plain(name="a") for _ in range(5))
        self.enterContext(mock.patch.object(verify, "CHUNK", 2))

    def shown(self, stderr):
        """Return what the command writes to `stderr`."""
        with mock.patch("sys.stderr", stderr):
            call_command("verify_cache", stdout=StringIO())
        return stderr.getvalue()

    def test_without_tqdm_it_shows_a_line_with_a_percentage(self):
        with mock.patch.object(progress, "tqdm", None):
            shown = self.shown(Terminal())
        (line,) = [line for line in shown.split("\n") if "Plain:" in line]
        self.assertEqual(line, "\rPlain: 40 %\rPlain: 80 %\rPlain: 100 %")
        self.assertTrue(shown.endswith("\n"))

    def test_without_tqdm_a_model_without_rows_shows_nothing(self):
        with mock.patch.object(progress, "tqdm", None):
            self.assertNotIn("Text", self.shown(Terminal()))

    def test_without_tqdm_an_error_ends_the_line(self):
        with (
            mock.patch.object(progress, "tqdm", None),
            mock.patch.object(verify, "compare", side_effect=ZeroDivisionError),
            self.assertRaises(ZeroDivisionError),
        ):
            self.shown(stderr := Terminal())
        self.assertEqual(stderr.getvalue(), "\n")

    def test_with_tqdm_it_shows_a_bar(self):
        if progress.tqdm:
            self.assertIn("100%|", self.shown(Terminal()))

    def test_it_shows_nothing_if_standard_error_is_not_a_terminal(self):
        for tqdm in (progress.tqdm, None):
            with mock.patch.object(progress, "tqdm", tqdm):
                self.assertEqual(self.shown(StringIO()), "")

    def test_more_steps_than_the_total_stop_at_100_percent(self):
        stderr = Terminal()
        with mock.patch.object(progress, "tqdm", None), mock.patch("sys.stderr", stderr):
            with progress.progress(3, "Car", "row") as advance:
                advance(2)
                advance(2)
        self.assertEqual(stderr.getvalue(), "\rCar: 66 %\rCar: 100 %\n")
