"""How writers hold, release and withdraw, and how several of them share one key."""

import time
from itertools import permutations
from unittest.mock import patch

from django.core.cache import cache
from django.db import connection, connections, transaction
from django.test import override_settings

from cars.caching import protocol
from cars.caching.entries import ABSENT, EXPIRE, Holds, Lease, Swap
from cars.caching.registry import CachedModel
from cars.caching.transactions import TRANSACTION
from cars.tests.support.caches import MemcachedMixin
from cars.tests.support.clock import pauses
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_local_memory,
    read,
)
from cars.tests.support.zoo.models import Everything, Plain

CACHED = CachedModel(Plain, "default")
BIG = "x" * 1_100_000  # more than Memcached stores


class WriterTests(ClientsTestCase):
    def hold(self, *tokens):
        for token in tokens:
            protocol.hold(CACHED, [self.key], token)

    def release(self, token):
        protocol.release(CACHED, {self.key: self.plain.pk}, token)

    def withdraw(self, token):
        protocol.withdraw(CACHED, [self.key], token)

    def write(self):
        """Write the row by raw SQL, so that only these tests hold and release."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE zoo_plain SET name = 'new'")

    def put_in_place(self, value, seconds=10):
        """Replace what stands under the key by `value`."""
        seen = cache.gets_many([self.key])[self.key]
        self.assertTrue(cache.cas_many({self.key: Swap(seen, value, seconds)}))

    def test_the_last_writer_to_release_fills_in_any_order(self):
        for order in permutations("abc"):
            with self.subTest(order=order):
                self.hold(*"abc")
                for token in order[:-1]:
                    self.release(token)
                    self.assertEqual(read(self.plain.pk), ("old", "held"))
                self.release(order[-1])
                self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_the_last_writer_to_withdraw_expires_the_entry(self):
        self.hold("a", "b")
        self.withdraw("a")
        self.assertEqual(entry_under(self.key).deadlines.keys(), {"b"})
        self.withdraw("b")
        self.assertIsNone(entry_under(self.key))

    def test_what_a_hold_saw_is_not_looked_at_again(self):
        held = protocol.hold(CACHED, [self.key], "a")
        with patch.object(type(CACHED.cache), "gets_many") as look:
            protocol.withdraw(CACHED, [self.key], "a", held)
        look.assert_not_called()
        self.assertIsNone(entry_under(self.key))

    def test_a_writer_that_knows_what_stood_leaves_a_hold_that_came_since(self):
        for end in (protocol.withdraw, protocol.release):
            with self.subTest(end=end):
                held = protocol.hold(CACHED, {self.key: self.plain.pk}, "a")
                self.hold("b")
                end(CACHED, {self.key: self.plain.pk}, "a", held)
                self.assertEqual(entry_under(self.key).deadlines.keys(), {"b"})
                self.withdraw("b")

    def test_a_writer_that_withdraws_leaves_the_fill_to_one_that_releases_later(self):
        self.hold("a", "b")
        self.withdraw("a")
        self.release("b")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_second_release_leaves_the_row_right(self):
        self.hold("a")
        self.release("a")
        self.release("a")
        self.assertIsNone(entry_under(self.key))
        self.release("a")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_hold_replaces_a_row_a_lease_or_nothing(self):
        for value in (EXPIRE, Lease("reader"), "no row"):
            self.put_in_place(value)
            self.hold("a")
            self.assertEqual(entry_under(self.key).deadlines.keys(), {"a"})
            self.put_in_place(EXPIRE)
            cache.cas_many({self.key: Swap(ABSENT, Lease("reader"), 10)})

    def test_a_release_that_finds_a_row_or_a_lease_expires_it(self):
        self.write()
        self.release("lost")  # a row stands there
        self.assertIsNone(entry_under(self.key))
        cache.cas_many({self.key: Swap(ABSENT, Lease("reader"), 10)})
        self.release("lost")
        self.assertIsNone(entry_under(self.key))

    def test_a_release_that_finds_nothing_fills(self):
        self.write()
        evict(self.key)
        self.release("lost")
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_release_that_finds_only_holds_of_others_breaks_their_fill(self):
        self.hold("a")
        select = protocol.select

        def select_too_early(cached, keys):
            found = select(cached, keys)
            if not written:
                written.append(True)
                self.write()
                self.release("lost")
            return found

        written = []
        with patch.object(protocol, "select", select_too_early):
            self.release("a")
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_withdrawal_treats_a_row_a_lease_or_holds_of_others_as_a_release_does(self):
        self.withdraw("lost")  # a row stands there
        self.assertIsNone(entry_under(self.key))
        self.withdraw("lost")  # nothing
        cache.cas_many({self.key: Swap(ABSENT, Lease("reader"), 10)})
        self.withdraw("lost")
        self.assertIsNone(entry_under(self.key))
        self.hold("a")
        before = cache.gets_many([self.key])[self.key]
        self.withdraw("lost")
        self.assertEqual(entry_under(self.key), before.value)
        self.assertFalse(cache.cas_many({self.key: Swap(before, EXPIRE, 0)}))

    def test_a_hold_is_renewed_by_the_next_write_of_the_same_transaction(self):
        with transaction.atomic():
            self.rename("one")
            first = entry_under(self.key).deadlines
            with patch.object(protocol.time, "time", return_value=time.time() + 300):
                self.rename("two")
            second = entry_under(self.key).deadlines
        self.assertEqual(first.keys(), second.keys())
        self.assertGreater(min(second.values()), max(first.values()) + 200)

    def test_the_hold_of_a_killed_writer_outlasts_saves_expire_and_forget(self):
        self.hold("killed")
        self.plain.save()
        Plain.objects.expire([self.plain.pk])
        self.assertEqual(Plain.objects.forget([self.plain.pk]), 0)
        self.assertEqual(entry_under(self.key).deadlines.keys(), {"killed"})

    def test_holds_past_their_deadline_are_pruned_by_writers(self):
        self.hold("dead")
        later = time.time() + 601
        with patch.object(protocol.time, "time", return_value=later):
            self.hold("a")
            self.assertEqual(entry_under(self.key).deadlines.keys(), {"a"})
            self.release("a")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_hold_past_its_deadline_is_pruned_by_a_release_too(self):
        with override_settings(CACHING_HOLD=60):
            self.hold("dead")
        self.hold("a")
        with patch.object(protocol.time, "time", return_value=time.time() + 120):
            self.release("a")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_release_whose_hold_was_lost_expires_holds_past_their_deadline(self):
        self.put_in_place(Holds({"dead": time.time() - 1}))
        self.release("lost")
        self.assertIsNone(entry_under(self.key))

    def test_of_many_rows_a_hold_does_not_keep_what_stands(self):
        keys = [CACHED.key(pk) for pk in range(1, 4)]
        with patch.object(protocol, "KEPT", 3):
            few = protocol.hold(CACHED, keys, "a")
        self.assertTrue(all(at.value.deadlines.keys() == {"a"} for at in few.values()))
        with patch.object(protocol, "KEPT", 2):
            self.assertEqual(protocol.hold(CACHED, keys, "b"), dict.fromkeys(keys, ABSENT))

    def test_of_many_rows_held_one_by_one_a_transaction_does_not_keep_what_stands_either(self):
        rows = [Plain.objects.create(name="old") for _ in range(4)]
        Plain.objects.cache_many([row.pk for row in rows])
        with patch.object(protocol, "KEPT", 3):
            with transaction.atomic():
                for row in rows:
                    row.name = "new"
                    row.save()
                writer = connections["default"].__dict__[TRANSACTION]
                self.assertEqual(len(writer.standing[CACHED]), 3)
            for row in rows:
                self.assertEqual(read(row.pk), ("new", "hit"))

    def test_a_change_that_is_refused_too_often_leaves_the_hold_and_is_logged(self):
        self.hold("a")
        refused = type("Refused", (), {"gets_many": cache.gets_many, "cas_many": lambda *_: set()})
        slept = []
        with (
            patch.object(CachedModel, "cache", refused()),
            pauses(protocol, slept.append),
            patch.object(protocol.random, "uniform", lambda least, most: most),
            self.assertLogs("cars.caching", "WARNING"),
        ):
            self.release("a")
        self.assertEqual(entry_under(self.key).deadlines.keys(), {"a"})
        self.assertEqual(len(slept), protocol.TRIES - 1)
        self.assertEqual(slept, sorted(slept))
        self.assertLess(slept[0], 0.01)
        self.assertEqual(slept[-1], protocol.LONGEST_PAUSE)

    def test_a_release_expires_a_row_that_no_longer_exists(self):
        with connection.cursor() as cursor:
            self.hold("a")
            cursor.execute("DELETE FROM zoo_plain")
        self.release("a")
        self.assertIsNone(entry_under(self.key))


class MemcachedWriterTests(MemcachedMixin, ClientsTestCase):
    """What only Memcached has: whole seconds, connections, no values over 1 MB."""

    def test_a_row_that_is_too_large_is_read_from_the_database_and_leaves_nothing(self):
        row = Everything.objects.create(text=BIG)
        self.assertIsNone(entry_under(row.key()))
        for _ in range(2):
            with self.assertNumQueries(1):
                self.assertEqual(Everything.objects.cache(row.pk).text, BIG)
            self.assertIsNone(entry_under(row.key()))

    def test_a_row_that_grows_and_shrinks_is_never_stale(self):
        row = Everything.objects.create(text="small")
        for text in (BIG, "small again"):
            row.text = text
            with transaction.atomic():
                row.save()
                self.assertIsInstance(entry_under(row.key()), Holds)
            self.assertEqual(Everything.objects.cache(row.pk).text, text)

    def test_small_rows_are_filled_together_with_one_that_is_too_large(self):
        pks = [Everything.objects.create(text=text).pk for text in ("one", BIG, "two")]
        for pk in pks:
            evict(f"Everything.{pk}")
        Everything.objects.cache_many(pks)
        with self.assertNumQueries(0):
            Everything.objects.cache_many([pks[0], pks[2]])
        self.assertIsNone(entry_under(f"Everything.{pks[1]}"))
        Everything.objects.filter(pk__in=pks).update(char="changed")
        with self.assertNumQueries(0):
            found = Everything.objects.cache_many([pks[0], pks[2]])
        self.assertEqual([row.char for row in found.values()], ["changed"] * 2)

    def test_an_entry_with_holds_stands_until_their_latest_deadline(self):
        protocol.hold(CACHED, [self.key], "a")
        name = cache.make_and_validate_key(self.key)
        client = cache._cache
        seconds = int(client.raw_command(f"mg {name} t").removeprefix(b"HD t"))
        deadline = entry_under(self.key).deadlines["a"] - 0.001  # it is stored in milliseconds
        # Memcached's clock may be up to a second ahead of its last tick.
        self.assertGreaterEqual(time.time() + seconds - 1, deadline)

    def test_a_swap_seen_over_another_connection_is_refused(self):
        seen = cache.gets_many([self.key])
        cache._cache.close()
        self.assertFalse(cache.cas_many({self.key: Swap(seen[self.key], EXPIRE, 0)}))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))


@in_local_memory
class LocalMemoryWriterTests(WriterTests):
    pass


class NestedBlocksTests(ClientsTestCase):
    databases = {"default", "archive"}

    def test_nested_blocks_on_two_databases_end_independently(self):
        other = Plain.objects.using("archive").create(name="old")
        with transaction.atomic():
            self.rename()
            with self.assertRaises(ValueError), transaction.atomic(using="archive"):
                Plain(pk=other.pk, name="new").save(using="archive")
                raise ValueError
            self.assertEqual(Plain.objects.using("archive").get(pk=other.pk).name, "old")
            archived = Plain.objects.db_manager("archive")
            self.assertEqual(archived.cache(other.pk).name, "old")
            with self.assertNumQueries(0, using="archive"):
                self.assertEqual(archived.cache(other.pk).name, "old")
            self.assertIsInstance(entry_under(self.key), Holds)
        self.assertEqual(read(self.plain.pk), ("new", "hit"))
