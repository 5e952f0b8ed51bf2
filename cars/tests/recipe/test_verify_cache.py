"""`manage.py verify_cache` finds stale rows, and then exits with status 1."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from io import StringIO
from unittest import mock, skipUnless

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TestCase

from cars.caching import protocol, verify
from cars.caching.backends import LocalMemoryCache
from cars.caching.entries import ABSENT, Lease, Row, Swap, new_token
from cars.caching.management import progress
from cars.caching.registry import CachedModel
from cars.caching.rows import pack
from cars.lab import servers
from cars.tests.support.caches import empty_cache, make_key, on_servers
from cars.tests.support.clock import pauses
from cars.tests.support.zoo.models import Amount, Animal, Dog, Moment, Pair, Plain, Text, Uuid


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

        with pauses(verify, catch_up):
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


def keyed_by_a_hash(key, key_prefix, version):
    """Return a key that says nothing of its parts (a `KEY_FUNCTION`)."""
    return sha256(make_key(key, key_prefix, version).encode()).hexdigest()


class DeletedRowsTests(TestCase):
    """A cached row that the database doesn't have is found, whatever its pk is."""

    def setUp(self):
        empty_cache()
        self.enterContext(mock.patch.object(verify, "PAUSE", 0))

    def delete_past_django(self, *rows):
        """Delete the rows with SQL that Django doesn't see; they are still served."""
        for row in rows:
            with connection.cursor() as cursor:
                fields = row._meta.pk_fields
                names = [connection.ops.quote_name(field.column) for field in fields]
                values = [
                    field.get_db_prep_value(getattr(row, field.attname), connection)
                    for field in fields
                ]
                where = " AND ".join(f"{name} = %s" for name in names)
                cursor.execute(f"DELETE FROM {row._meta.db_table} WHERE {where}", values)

    def cached(self, *rows):
        """Save the rows, and put them into the cache."""
        for row in rows:
            row.save(force_insert=True)
            type(row).objects.cache(row.pk)
        return rows

    def stale(self, **options):
        """Return the keys that the command calls stale."""
        output = StringIO()
        try:
            call_command("verify_cache", stdout=output, **options)
        except CommandError as error:
            self.assertIn(" stale.", str(error))
        return set(re.findall(r"^  stale: (.*)$", output.getvalue(), re.MULTILINE))

    def assertFound(self, *rows, **options):
        self.assertEqual(self.stale(**options), {row.key() for row in rows})

    def test_the_first_the_last_and_those_in_a_gap(self):
        rows = self.cached(*(Plain(pk=pk, name="x") for pk in (1, 2, 3, 50_000, 100_000)))
        self.assertFound()
        deleted = [rows[0], rows[3], rows[4]]
        self.delete_past_django(*deleted)
        self.assertFound(*deleted)

    def test_all_rows_of_a_table(self):
        rows = self.cached(*(Plain(name="x") for _ in range(3)))
        self.delete_past_django(*rows)
        self.assertFound(*rows)

    def test_pks_that_are_text_a_uuid_a_moment_or_a_decimal(self):
        rows = self.cached(
            *(Text(pk=pk) for pk in ("a", "b", "c d/é", "x" * 300)),
            Uuid(name="u"),
            Moment(pk=datetime(2024, 7, 1, 12, tzinfo=UTC)),
            Amount(pk=Decimal("1.50")),
        )
        self.delete_past_django(*rows[1:])
        self.assertFound(*rows[1:])

    def test_composite_pks(self):
        rows = self.cached(*(Pair(left=left, right=right) for left in (1, 2) for right in "ab"))
        self.delete_past_django(rows[0], rows[3])
        self.assertFound(rows[0], rows[3])

    def test_a_child_by_multi_table_inheritance(self):
        rex, fido = Dog.objects.create(name="Rex"), Dog.objects.create(name="Fido")
        for model in (Animal, Dog):
            model.objects.cache_many([rex.pk, fido.pk])
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM zoo_dog WHERE animal_ptr_id = %s", [rex.pk])
        self.assertFound(rex)

    def test_more_rows_than_a_chunk_in_small_parts(self):
        self.enterContext(mock.patch.object(verify, "CHUNK", 2))
        rows = self.cached(*(Plain(name="x") for _ in range(7)))
        self.delete_past_django(*rows)
        with mock.patch.object(verify, "deleted", wraps=verify.deleted) as deleted:
            self.assertFound(*rows)
        self.assertLessEqual(max(len(pks) for _, pks in (c.args for c in deleted.mock_calls)), 2)

    def test_at_most_ten_keys_of_a_model_are_shown(self):
        rows = self.cached(*(Plain(name="x") for _ in range(12)))
        self.delete_past_django(*rows)
        output = StringIO()
        with self.assertRaisesMessage(CommandError, "12 stale"):
            call_command("verify_cache", stdout=output)
        self.assertEqual(output.getvalue().count("stale: "), 10)

    def test_with_a_sample_too(self):
        rows = self.cached(*(Plain(name="x") for _ in range(5)))
        self.delete_past_django(rows[4])
        self.assertFound(rows[4], sample=1)

    def with_cache(self, **changes):
        """Use a cache with these changes of its configuration."""
        config = {**settings.CACHES["default"], **changes}
        self.enterContext(self.settings(CACHES={"default": config}))

    def test_keys_with_a_prefix_or_made_by_any_function(self):
        prefix = {"KEY_PREFIX": self.id(), "VERSION": 7, "KEY_FUNCTION": None}
        for changes in prefix, {"KEY_FUNCTION": keyed_by_a_hash}:
            with self.subTest(changes):
                self.with_cache(**changes)
                rows = self.cached(*(Plain(name="x") for _ in range(2)))
                self.delete_past_django(rows[0])
                self.assertFound(rows[0])

    def test_rows_of_another_site_are_not_looked_at(self):
        self.with_cache(KEY_PREFIX=f"{self.id()}.another", KEY_FUNCTION=None)
        rows = self.cached(Plain(name="x"))
        self.delete_past_django(*rows)
        self.assertFound(*rows)
        self.with_cache(KEY_PREFIX=self.id(), KEY_FUNCTION=None)
        with mock.patch.object(verify, "deleted", wraps=verify.deleted) as deleted:
            self.assertFound()
        deleted.assert_not_called()

    def test_rows_under_another_key_and_damaged_ones_are_not_served_and_not_stale(self):
        (row,) = self.cached(Plain(name="x"))
        cached = CachedModel(Plain, "default")
        packed = cached.cache.look(row.key())
        cached.cache.set(row.key(), Row(packed[:-1]))
        cached.cache.set(CachedModel(Plain, "default").key(row.pk + 1), packed)
        self.delete_past_django(row)
        self.assertFound()

    def test_a_row_that_is_gone_at_the_second_look_is_not_stale(self):
        (row,) = self.cached(Plain(name="x"))
        self.delete_past_django(row)

        def expire(seconds):
            Plain.objects.forget([row.pk])

        with pauses(verify, expire):
            self.assertFound()

    def test_in_local_memory_too(self):
        backend = f"{LocalMemoryCache.__module__}.{LocalMemoryCache.__qualname__}"
        self.with_cache(BACKEND=backend, LOCATION=self.id(), OPTIONS={})
        rows = self.cached(*(Plain(name="x") for _ in range(3)))
        self.delete_past_django(rows[2])
        self.assertFound(rows[2])

    def test_a_cache_that_can_not_swap_has_no_rows(self):
        self.with_cache(BACKEND="django.core.cache.backends.dummy.DummyCache", OPTIONS={})
        self.cached(Plain(name="x"))
        self.assertFound()


@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class ServersTests(TestCase):
    """Servers that have some of the rows, are away, or refuse to list theirs."""

    def verify(self):
        """Return what the command prints, and the error that it ends with."""
        output, errors = StringIO(), StringIO()
        with mock.patch.object(verify, "PAUSE", 0), self.assertRaises(CommandError) as raised:
            call_command("verify_cache", stdout=output, stderr=errors)
        return output.getvalue(), errors.getvalue(), str(raised.exception)

    def test_deleted_rows_are_found_on_all_servers(self):
        self.enterContext(on_servers([self.enterContext(servers.memcached()) for _ in range(2)]))
        Plain.objects.bulk_create(Plain(name="x") for _ in range(40))
        Plain.objects.cache_many(Plain.objects.values_list("pk", flat=True))
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM zoo_plain")
        printed, _, error = self.verify()
        self.assertIn("zoo.Plain (default): 0 fresh, 40 stale", printed)
        self.assertIn("40 stale", error)

    def test_a_server_that_is_away_is_named_and_its_rows_are_not_called_missing(self):
        address = f"127.0.0.1:{servers.free_port()}"
        self.enterContext(on_servers([address]))
        with self.assertLogs("cars.caching"):
            Plain.objects.create(name="x")
        printed, errors, error = self.verify()
        self.assertIn(f"CACHES['default']: {address} doesn't answer: ", errors)
        self.assertIn("0 nothing, 1 no answer", printed)
        self.assertIn("Not every cache lists its rows", error)

    def test_a_server_that_refuses_to_list_is_named_and_its_rows_are_compared(self):
        address = self.enterContext(servers.memcached("-X"))
        self.enterContext(on_servers([address]))
        row = Plain.objects.create(name="x")
        Plain.objects.cache(row.pk)
        printed, errors, error = self.verify()
        self.assertIn(f"{address} doesn't list what it has, but answers", errors)
        self.assertIn("zoo.Plain (default): 1 fresh, 0 stale", printed)
        self.assertIn("Not every cache lists its rows", error)


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
            mock.patch.object(verify, "compare", side_effect=[{}, ZeroDivisionError]),
            self.assertRaises(ZeroDivisionError),
        ):
            self.shown(stderr := Terminal())
        self.assertEqual(stderr.getvalue(), "\rPlain: 40 %\n")

    def test_without_tqdm_the_rows_that_are_listed_are_counted(self):
        for row in Plain.objects.all():
            Plain.objects.cache(row.pk)
        with mock.patch.object(progress, "tqdm", None):
            shown = self.shown(Terminal())
        first = shown.split("\n")[0]
        self.assertTrue(first.startswith("\rCACHES['default']: "), first)
        self.assertTrue(first.endswith("\rCACHES['default']: 5 rows"), first)

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
