"""What a writer owes because Memcached doesn't answer: records in the database."""

import threading
import time
from datetime import timedelta
from unittest.mock import patch

from django.core.cache import cache
from django.db import DatabaseError, ProgrammingError, connection, connections, transaction
from django.db.models import F
from django.test import TestCase

from cars.caching import owed
from cars.caching import records as stored
from cars.caching.backends import MemcachedCache
from cars.caching.entries import ABSENT, Holds, Lease, Row, Swap
from cars.caching.models import Owed
from cars.tests.support.caches import MemcachedMixin
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    in_another_thread,
    read,
    recorded_outcomes,
)
from cars.tests.support.outages import another_process, owing, records, unreachable
from cars.tests.support.zoo.models import Plain, Puppy


class OwedTestCase(MemcachedMixin, ClientsTestCase):
    """`self.plain` is in the cache, and this process has looked at what is owed."""

    def setUp(self):
        super().setUp()
        self.enterContext(owing())
        self.assertEqual(read(self.plain.pk)[0], "old")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        self.name = cache.make_and_validate_key(self.key)

    def look(self):
        """Let this process look at what is owed again, as it does after a second."""
        for ledger in owed._ledgers.values():
            ledger.looked = ledger.trusted_until = 0.0
        return read(self.plain.pk)


class AutocommitTests(OwedTestCase):
    """A save in autocommit, where the write is the COMMIT."""

    def test_the_row_is_not_served_although_it_stands_in_the_cache(self):
        with unreachable():
            self.rename()
        self.assertIsInstance(entry_under(self.key), Row)
        self.assertEqual(read(self.plain.pk), ("new", "held"))
        with another_process():
            self.assertEqual(read(self.plain.pk), ("new", "held"))

    def test_it_is_written_down_before_the_write_as_under_way_and_is_owed_after_it(self):
        seen = []

        def write(*args, **kwargs):
            seen.append(records())
            return save_table(*args, **kwargs)

        save_table = self.plain._save_table
        with unreachable(), patch.object(self.plain, "_save_table", write):
            self.rename()
        self.assertEqual(seen, [[(self.name, True)]])
        self.assertEqual(records(), [(self.name, False)])

    def test_once_the_server_answers_two_looks_withdraw_and_delete_it(self):
        with unreachable():
            self.rename()
        self.assertEqual(self.look(), ("new", "held"))
        self.assertIsNone(entry_under(self.key))
        self.assertEqual(len(records()), 1)
        self.look()
        self.assertEqual(records(), [])
        self.assertEqual(self.look(), ("new", "miss"))
        self.assertEqual(self.look(), ("new", "hit"))

    def test_a_hold_whose_answer_was_lost_is_withdrawn(self):
        with unreachable(answers_lost=True):
            self.rename()
        with another_process():
            self.look()
            self.assertIsNone(entry_under(self.key))

    def test_a_hold_that_arrives_after_the_first_look_is_withdrawn_by_the_second(self):
        with unreachable():
            self.rename()
        self.look()
        token = Owed.objects.get().token
        cache.cas_many({self.key: Swap(ABSENT, Holds({token: time.time() + 600}), 600)})
        self.look()
        self.assertIsNone(entry_under(self.key))
        self.assertEqual(records(), [])

    def test_what_is_owed_leaves_the_holds_of_others(self):
        holds = Holds({"another": round(time.time()) + 600.0})
        seen = cache.gets_many([self.key])[self.key]
        cache.cas_many({self.key: Swap(seen, holds, 600)})
        with unreachable():
            self.rename()
        self.look()
        self.assertEqual(entry_under(self.key), holds)
        self.look()
        self.assertEqual(records(), [])

    def test_what_is_owed_expires_the_lease_of_a_reader(self):
        cache.delete(self.key)
        cache.cas_many({self.key: Swap(ABSENT, Lease("reader"), 10)})
        with unreachable():
            self.rename()
        self.look()
        self.assertIsNone(entry_under(self.key))

    def test_nothing_is_deleted_while_the_server_is_away(self):
        with unreachable():
            self.rename()
            for _ in range(3):
                self.assertEqual(self.look(), ("new", "held"))
        self.assertEqual(len(records()), 1)

    def test_a_record_is_kept_where_its_withdrawal_is_refused(self):
        with unreachable():
            self.rename()
        with patch.object(MemcachedCache, "cas_many", return_value=set()):
            for _ in range(3):
                self.assertEqual(self.look(), ("new", "held"))
        self.assertEqual(len(records()), 1)

    def test_only_a_release_without_an_answer_is_owed_after_the_commit(self):
        seen = []

        def write(*args, **kwargs):
            seen.append(records())
            result = save_table(*args, **kwargs)
            outage.__enter__()
            return result

        save_table = self.plain._save_table
        outage = unreachable()
        with patch.object(self.plain, "_save_table", write):
            self.rename()
        outage.__exit__(None, None, None)
        self.assertEqual(seen, [[]])
        self.assertIsInstance(entry_under(self.key), Holds)
        self.assertEqual(records(), [(self.name, False)])
        with another_process():
            self.look()
        self.assertIsNone(entry_under(self.key))
        # This process has also noted by itself what it owes, and forgets it at its next look.
        for _ in range(3):
            self.look()
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_save_that_raises_owes_nothing_that_is_under_way(self):
        self.plain.number = "no number"
        with unreachable():
            with self.assertRaises(ValueError):
                self.rename()
            self.client.get("/healthz")
        self.assertEqual([under_way for _, under_way in records()], [False])

    def test_each_model_that_shares_the_row_owes_its_entry_once(self):
        puppy = Puppy.objects.create(name="Rex")
        names = [
            cache.make_and_validate_key(f"{model}.{puppy.pk}")
            for model in ("Animal", "Dog", "Puppy")
        ]
        with unreachable():
            puppy.save()
        self.assertCountEqual(records(), [(name, False) for name in names])

    def test_a_writer_that_was_killed_leaves_it_to_its_deadline(self):
        with unreachable(), patch("cars.caching.transactions.Writer.end"):
            self.rename()
        self.assertEqual(records(), [(self.name, True)])
        with another_process():
            for _ in range(2):
                self.assertEqual(self.look(), ("new", "held"))
        self.assertEqual(records(), [(self.name, True)])
        Owed.objects.update(since=F("since") - timedelta(seconds=601))
        with another_process():
            self.look()
            self.look()
        self.assertEqual(records(), [])

    def test_a_record_that_was_deleted_while_its_write_waited_is_written_down_again(self):
        def write(*args, **kwargs):
            Owed.objects.all().delete()
            return save_table(*args, **kwargs)

        save_table = self.plain._save_table
        with unreachable(), patch.object(self.plain, "_save_table", write):
            self.rename()
        self.assertEqual(records(), [(self.name, False)])

    def test_a_look_that_began_before_the_commit_does_not_end_what_the_writer_knows(self):
        def write(*args, **kwargs):
            Owed.objects.all().delete()  # as if the look had come before the record
            self.assertEqual(self.look(), ("old", "held"))
            return save_table(*args, **kwargs)

        save_table = self.plain._save_table
        with unreachable(), patch.object(self.plain, "_save_table", write):
            self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "held"))

    def test_expire_owes_too(self):
        with unreachable():
            Plain.objects.expire([self.plain.pk])
        self.assertEqual(records(), [(self.name, False)])


class TransactionTests(OwedTestCase):
    """A write in a transaction: what it owes is a part of it."""

    def test_it_counts_for_others_from_the_commit_on(self):
        with unreachable(), transaction.atomic():
            self.rename()
            self.assertEqual(records(), [(self.name, False)])
            if connection.vendor != "sqlite":  # others can't read while this one writes
                self.assertEqual(in_another_thread(records), [])
        with another_process():
            self.assertEqual(read(self.plain.pk), ("new", "held"))

    def test_it_goes_with_a_rollback(self):
        with transaction.atomic():
            with unreachable():
                self.rename()
            transaction.set_rollback(True)
        self.assertEqual(records(), [])
        with another_process():
            self.assertEqual(read(self.plain.pk)[0], "old")

    def test_a_row_that_is_written_again_after_its_savepoint_was_undone_is_owed(self):
        with unreachable(), transaction.atomic():
            with transaction.atomic():
                self.rename("undone")
                transaction.set_rollback(True)
            self.assertEqual(records(), [])
            self.rename("new")
        with another_process():
            self.assertEqual(read(self.plain.pk), ("new", "held"))

    def test_what_is_written_before_stays_if_it_can_not_be_written_down(self):
        with unreachable(), transaction.atomic(), self.assertLogs("cars.caching", "ERROR") as logs:
            Plain.objects.create(name="before")
            with patch.object(stored, "record_rows", side_effect=DatabaseError("no such table")):
                self.rename()
            Plain.objects.create(name="after")
        self.assertEqual(Plain.objects.filter(name__in=["before", "new", "after"]).count(), 3)
        self.assertIn("manage.py migrate", logs.output[0])

    def test_it_is_a_part_of_a_transaction_that_django_does_not_know(self):
        with unreachable(), connection.cursor() as cursor:
            cursor.execute("BEGIN")
            self.rename()
            self.assertEqual(len(records()), 1)
            cursor.execute("ROLLBACK")
            self.assertEqual(records(), [])
        self.assertEqual(Plain.objects.get().name, "old")

    def test_what_update_writes_is_owed(self):
        with unreachable():
            Plain.objects.update(name="new")
        with another_process():
            self.assertEqual(read(self.plain.pk), ("new", "held"))


class ReaderTests(OwedTestCase):
    """How a process knows what is owed."""

    def test_a_hit_makes_no_query(self):
        with self.assertNumQueries(0):
            self.assertEqual(self.look(), ("old", "hit"))

    def test_a_record_of_another_cache_is_left_alone(self):
        with unreachable():
            self.rename()
        Owed.objects.update(cache="another")
        with another_process():
            for _ in range(3):
                self.look()
        self.assertEqual(len(records()), 1)

    def test_many_records_make_their_models_untrusted(self):
        with unreachable(), patch.object(stored, "MOST", 2):
            others = [Plain.objects.create(name=str(number)) for number in range(4)]
            for other in others:
                other.save()
            with another_process():
                self.assertEqual(read(self.plain.pk), ("old", "held"))

    def test_a_database_that_does_not_answer_is_not_asked_for_a_second(self):
        with unreachable():
            self.rename()
        with patch.object(stored.Look, "read", side_effect=DatabaseError("away")) as asked:
            with self.assertLogs("cars.caching", "ERROR"):
                self.look()
            self.assertEqual(read(self.plain.pk), ("new", "held"))
            self.assertEqual(read(self.plain.pk), ("new", "held"))
        self.assertEqual(asked.call_count, 1)

    def test_a_missing_table_is_not_looked_for_each_second(self):
        with patch.object(stored.Look, "read", side_effect=ProgrammingError("no table")) as asked:
            self.look()
            for ledger in owed._ledgers.values():
                ledger.looked -= 2
                ledger.trusted_until = 0.0
            self.assertEqual(read(self.plain.pk), ("old", "hit"))
        self.assertEqual(asked.call_count, 1)

    def test_what_is_known_of_one_schema_or_database_says_nothing_of_another(self):
        config = connections.settings["default"]
        option = {"application_name": "a"} if connection.vendor == "postgresql" else {"timeout": 7}
        looks = patch.object(stored.Look, "read", return_value=([], set()))
        with patch.object(owed, "FRESH", 3600), looks as looked:
            self.look()
            self.assertEqual(looked.call_count, 1)
            with patch.dict(config, OPTIONS={**config["OPTIONS"], **option}):
                for _ in range(2):
                    read(self.plain.pk)
            self.assertEqual(looked.call_count, 2)
            read(self.plain.pk)
        self.assertEqual(looked.call_count, 2)

    def test_a_record_that_did_not_fit_into_the_round_trip_is_not_done(self):
        with unreachable():
            self.rename()
            self.rename("newer")
        with patch("cars.caching.protocol.CHUNK", 1), another_process():
            self.look()
            self.look()
            self.assertEqual(len(records()), 1)
            self.look()
            self.look()
        self.assertEqual(records(), [])

    def test_what_a_writer_owes_again_after_its_end_counts_until_the_next_look(self):
        ledger = owed.Ledger("any")
        ledger.add("writer", ["one"])
        ledger.end("writer")
        began = time.perf_counter()
        ledger.add("writer", ["two"])
        ledger._forget_own(ended_before=began)
        self.assertTrue(ledger.counts("two"))

    def test_few_connections_stay_open_for_looks(self):
        (ledger,) = owed._ledgers.values()
        self.look()
        self.assertIsNotNone(ledger.look)
        with patch.object(owed, "MOST_CONNECTIONS", 0):
            self.assertEqual(self.look(), ("old", "hit"))
        self.assertIsNone(ledger.look)

    def test_one_thread_looks_and_the_others_wait_and_then_read_the_database(self):
        looking, go_on = threading.Event(), threading.Event()
        read_all = stored.Look.read

        def slowly(look, cache):
            looking.set()
            go_on.wait(10)
            return read_all(look, cache)

        with patch.object(stored.Look, "read", slowly):
            thread = threading.Thread(target=in_another_thread, args=(self.look,))
            thread.start()
            self.assertTrue(looking.wait(10))
            try:
                with recorded_outcomes() as outcomes:
                    Plain.objects.cache(self.plain.pk)
                self.assertEqual(outcomes, ["held"])
            finally:
                go_on.set()
                thread.join()
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_readers_of_several_rows_read_what_is_owed_from_the_database(self):
        other = Plain.objects.create(name="other")
        Plain.objects.cache(other.pk)
        with unreachable():
            self.rename()
        with recorded_outcomes() as outcomes:
            found = Plain.objects.cache_many([self.plain.pk, other.pk])
        self.assertEqual([row.name for row in found.values()], ["new", "other"])
        self.assertEqual(sorted(outcomes), ["held", "hit"])


class TestRunTests(MemcachedMixin, TestCase):
    """A test run, whose databases come and go."""

    def test_nothing_is_owed(self):
        row = Plain.objects.create(name="a")
        with unreachable():
            row.save()
        self.assertEqual(records(), [])
