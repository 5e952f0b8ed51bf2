"""How writers hold, release and let go, and what several of them do to one key."""

import time
from itertools import permutations
from unittest.mock import patch

from django.core.cache import cache
from django.db import connection, transaction
from django.test import override_settings

from cars.caching import protocol
from cars.caching.entries import ABSENT, EXPIRE, Holds, Lease, Swap
from cars.caching.registry import CachedModel
from cars.tests.support.caches import MemcachedMixin
from cars.tests.support.other_clients import ClientsTestCase, in_local_memory, lose, read, standing
from cars.tests.support.zoo.models import Everything, Plain

CACHED = CachedModel(Plain, "default")
BIG = "x" * 1_100_000  # more than Memcached takes


class WriterTests(ClientsTestCase):
    def hold(self, *tokens):
        for token in tokens:
            protocol.hold(CACHED, [self.key], token)

    def release(self, token):
        protocol.release(CACHED, {self.key: self.plain.pk}, token)

    def withdraw(self, token):
        protocol.withdraw(CACHED, [self.key], token)

    def write(self):
        """Write the row where no signal sees it: what these tests hold it for."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE zoo_plain SET name = 'new'")

    def put_in_place(self, value, seconds=10):
        """Put `value` in the place of what stands under the key."""
        seen = cache.gets_many([self.key])[self.key]
        self.assertTrue(cache.cas_many({self.key: Swap(seen, value, seconds)}))

    def test_the_last_of_several_to_release_fills_in_whatever_order(self):
        for order in permutations("abc"):
            with self.subTest(order=order):
                self.hold(*"abc")
                for token in order[:-1]:
                    self.release(token)
                    self.assertEqual(read(self.plain.pk), ("old", "held"))
                self.release(order[-1])
                self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_the_last_of_several_to_let_go_expires_the_entry(self):
        self.hold("a", "b")
        self.withdraw("a")
        self.assertEqual(standing(self.key).deadlines.keys(), {"b"})
        self.withdraw("b")
        self.assertIsNone(standing(self.key))

    def test_one_that_lets_go_before_another_releases_leaves_the_fill_to_it(self):
        self.hold("a", "b")
        self.withdraw("a")
        self.release("b")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_second_release_changes_nothing_that_is_wrong(self):
        self.hold("a")
        self.release("a")
        self.release("a")
        self.assertIsNone(standing(self.key))
        self.release("a")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_hold_stands_over_a_row_a_lease_or_nothing(self):
        for value in (EXPIRE, Lease("reader"), "no row"):
            self.put_in_place(value)
            self.hold("a")
            self.assertEqual(standing(self.key).deadlines.keys(), {"a"})
            self.put_in_place(EXPIRE)
            cache.cas_many({self.key: Swap(ABSENT, Lease("reader"), 10)})

    def test_a_release_that_finds_a_row_or_a_lease_expires_it(self):
        self.write()
        self.release("lost")  # a row stands there
        self.assertIsNone(standing(self.key))
        cache.cas_many({self.key: Swap(ABSENT, Lease("reader"), 10)})
        self.release("lost")
        self.assertIsNone(standing(self.key))

    def test_a_release_that_finds_nothing_fills(self):
        self.write()
        lose(self.key)
        self.release("lost")
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_release_that_finds_others_holds_only_breaks_the_fill_of_another_release(self):
        self.hold("a")
        select = protocol.select

        def select_too_early(table, keys):
            found = select(table, keys)
            if not written:
                written.append(True)
                self.write()
                self.release("lost")
            return found

        written = []
        with patch.object(protocol, "select", select_too_early):
            self.release("a")
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_one_that_lets_go_and_finds_a_row_a_lease_or_others_holds_does_as_a_release(self):
        self.withdraw("lost")  # a row stands there
        self.assertIsNone(standing(self.key))
        self.withdraw("lost")  # nothing
        cache.cas_many({self.key: Swap(ABSENT, Lease("reader"), 10)})
        self.withdraw("lost")
        self.assertIsNone(standing(self.key))
        self.hold("a")
        before = cache.gets_many([self.key])[self.key]
        self.withdraw("lost")
        self.assertEqual(standing(self.key), before.value)
        self.assertFalse(cache.cas_many({self.key: Swap(before, EXPIRE, 0)}))

    def test_a_hold_is_renewed_by_the_next_write_of_the_same_transaction(self):
        with transaction.atomic():
            self.rename("one")
            first = standing(self.key).deadlines
            with patch.object(protocol.time, "time", return_value=time.time() + 300):
                self.rename("two")
            second = standing(self.key).deadlines
        self.assertEqual(first.keys(), second.keys())
        self.assertGreater(min(second.values()), max(first.values()) + 200)

    def test_holds_past_their_deadline_are_pruned_by_writers(self):
        self.hold("dead")
        later = time.time() + 601
        with patch.object(protocol.time, "time", return_value=later):
            self.hold("a")
            self.assertEqual(standing(self.key).deadlines.keys(), {"a"})
            self.release("a")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_hold_past_its_deadline_is_pruned_by_a_release_too(self):
        with override_settings(CACHING_HOLD=60):
            self.hold("dead")
        self.hold("a")
        with patch.object(protocol.time, "time", return_value=time.time() + 120):
            self.release("a")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_a_change_that_others_refuse_too_often_leaves_the_hold_and_says_so(self):
        self.hold("a")
        refused = type("Refused", (), {"gets_many": cache.gets_many, "cas_many": lambda *_: set()})
        with patch.object(CachedModel, "cache", refused()), patch.object(protocol.time, "sleep"):
            with self.assertLogs("cars.caching", "WARNING"):
                self.release("a")
        self.assertEqual(standing(self.key).deadlines.keys(), {"a"})

    def test_a_row_that_does_not_exist_any_more_is_expired_by_a_release(self):
        with connection.cursor() as cursor:
            self.hold("a")
            cursor.execute("DELETE FROM zoo_plain")
        self.release("a")
        self.assertIsNone(standing(self.key))


class MemcachedWriterTests(MemcachedMixin, ClientsTestCase):
    """What is Memcached's own: whole seconds, connections, no rows over 1 MB."""

    def test_a_big_row_is_read_from_the_database_and_leaves_nothing(self):
        row = Everything.objects.create(text=BIG)
        self.assertIsNone(standing(row.key()))
        for _ in range(2):
            with self.assertNumQueries(1):
                self.assertEqual(Everything.objects.cache(row.pk).text, BIG)
            self.assertIsNone(standing(row.key()))

    def test_a_row_that_grows_and_shrinks_is_never_stale(self):
        row = Everything.objects.create(text="small")
        for text in (BIG, "small again"):
            row.text = text
            with transaction.atomic():
                row.save()
                self.assertIsInstance(standing(row.key()), Holds)
            self.assertEqual(Everything.objects.cache(row.pk).text, text)

    def test_small_rows_beside_a_big_one_are_filled(self):
        pks = [Everything.objects.create(text=text).pk for text in ("one", BIG, "two")]
        for pk in pks:
            lose(f"Everything.{pk}")
        Everything.objects.cache_many(pks)
        with self.assertNumQueries(0):
            Everything.objects.cache_many([pks[0], pks[2]])
        self.assertIsNone(standing(f"Everything.{pks[1]}"))
        Everything.objects.filter(pk__in=pks).update(char="changed")
        with self.assertNumQueries(0):
            found = Everything.objects.cache_many([pks[0], pks[2]])
        self.assertEqual([row.char for row in found.values()], ["changed"] * 2)

    def test_an_entry_with_holds_lives_until_their_latest_deadline(self):
        protocol.hold(CACHED, [self.key], "a")
        name = cache.make_key(self.key)
        client = cache._cache.server_of(name)
        seconds = int(client.raw_command(f"mg {name} t").removeprefix(b"HD t"))
        deadline = standing(self.key).deadlines["a"] - 0.001  # it is kept in milliseconds
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


class TwoDatabasesTests(ClientsTestCase):
    databases = {"default", "archive"}

    def test_nested_blocks_on_two_databases_end_each_for_itself(self):
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
            self.assertIsInstance(standing(self.key), Holds)
        self.assertEqual(read(self.plain.pk), ("new", "hit"))
