"""Ctrl-C during a call, a fork during a transaction, a lost connection."""

import os
import signal
from contextlib import suppress
from unittest.mock import patch

from django.core.cache import cache
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.db.models.signals import pre_save
from django.test import SimpleTestCase
from pymemcache.client import base

from cars.caching import databases, protocol
from cars.caching.entries import ABSENT, Holds, Lease, Swap
from cars.caching.registry import cached_model
from cars.caching.rows import fingerprint_of
from cars.caching.transactions import TRANSACTION, settle_all
from cars.tests.support.caches import MemcachedMixin
from cars.tests.support.other_clients import ClientsTestCase, entry_under, in_another_thread, read
from cars.tests.support.receivers import connected
from cars.tests.support.zoo.models import Plain, Uuid


def interrupted():
    """Raise KeyboardInterrupt whenever the client waits for an answer in this block."""
    return patch.object(base, "_recv", side_effect=KeyboardInterrupt)


class InterruptedCallTests(MemcachedMixin, ClientsTestCase):
    """The next call must not read the answer to the one that was interrupted."""

    def assertNextCallIsRight(self, call, *args):
        cache.set("another", "its value")
        with interrupted(), self.assertRaises(KeyboardInterrupt):
            call(*args)
        self.assertEqual(cache.get("another"), "its value")
        self.assertTrue(cache.has_key("another"))

    def test_an_interrupted_get_leaves_no_answer_behind(self):
        self.assertNextCallIsRight(cache.get, self.key)

    def test_an_interrupted_get_many_leaves_no_answer_behind(self):
        self.assertNextCallIsRight(cache.get_many, [self.key, "b"])

    def test_an_interrupted_gets_leaves_no_answer_behind(self):
        self.assertNextCallIsRight(cache.gets_many, [self.key, "b"])

    def test_an_interrupted_set_leaves_no_answer_behind(self):
        self.assertNextCallIsRight(cache.set, "b", "another value")

    def test_an_interrupted_cas_leaves_no_answer_behind(self):
        swap = Swap(ABSENT, Lease("reader"), 10)
        self.assertNextCallIsRight(cache.cas_many, {"a": swap, "b": swap})

    def test_an_interrupted_delete_leaves_no_answer_behind(self):
        self.assertNextCallIsRight(cache.delete, "b")


class InterruptedTransactionTests(ClientsTestCase):
    def test_an_interrupted_hold_is_withdrawn_when_its_transaction_is_rolled_back(self):
        put = protocol.hold

        def put_and_interrupt(*args):
            put(*args)
            raise KeyboardInterrupt

        with patch.object(protocol, "hold", put_and_interrupt):
            with self.assertRaises(KeyboardInterrupt), transaction.atomic():
                self.rename()
        self.assertEqual(read(self.plain.pk), ("old", "miss"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_an_update_that_is_interrupted_before_its_hold_is_rolled_back(self):
        Plain.objects.cache(self.plain.pk)

        def execute_and_interrupt(execute, sql, params, many, context):
            result = execute(sql, params, many, context)
            if sql.startswith("UPDATE"):
                raise KeyboardInterrupt
            return result

        with transaction.atomic():
            with suppress(KeyboardInterrupt), connection.execute_wrapper(execute_and_interrupt):
                Plain.objects.filter(pk=self.plain.pk).update(name="new")
        self.assertEqual(Plain.objects.get(pk=self.plain.pk).name, "old")
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_an_upsert_that_is_interrupted_at_its_last_query_is_rolled_back(self):
        row = Uuid.objects.create(name="a", number=1)

        def interrupt_a_select(execute, sql, params, many, context):
            result = execute(sql, params, many, context)
            if sql.startswith("SELECT"):
                raise KeyboardInterrupt
            return result

        conflicts = {"unique_fields": ["name"], "update_fields": ["number"]}
        with transaction.atomic():
            with suppress(KeyboardInterrupt), connection.execute_wrapper(interrupt_a_select):
                Uuid.objects.bulk_create(
                    [Uuid(name="a", number=2)], update_conflicts=True, **conflicts
                )
        self.assertEqual(Uuid.objects.get().number, 1)
        self.assertEqual(Uuid.objects.cache(row.pk).number, 1)

    def test_a_commit_hook_that_is_interrupted_leaves_no_stale_row(self):
        for function in ("select", "release"):
            with self.subTest(function=function), self.assertRaises(KeyboardInterrupt):
                with patch.object(protocol, function, side_effect=KeyboardInterrupt):
                    with transaction.atomic():
                        self.rename(function)
            self.assertEqual(in_another_thread(read, self.plain.pk)[0], function)
            self.assertEqual(read(self.plain.pk), (function, "miss"))
            self.assertEqual(read(self.plain.pk), (function, "hit"))

    def test_a_commit_that_is_interrupted_leaves_the_row_held_or_right(self):
        commit = connection._commit
        for done in (False, True):

            def interrupt(done=done):
                if done:
                    commit()
                raise KeyboardInterrupt

            with self.subTest(done=done):
                with patch.object(connection, "_commit", interrupt):
                    try:
                        with transaction.atomic():
                            self.rename(f"done {done}")
                    except BaseException as error:  # psycopg replaces it with another error
                        self.assertIsInstance(error, (KeyboardInterrupt, Exception))
                seen = in_another_thread(read, self.plain.pk)
                self.assertEqual(seen[0], in_another_thread(Plain.objects.get).name)
                settle_all()
                if not connection.get_autocommit():
                    transaction.rollback()
                    transaction.set_autocommit(True)
                settle_all()
                truth = Plain.objects.get().name
                self.assertEqual(in_another_thread(read, self.plain.pk)[0], truth)
                self.assertEqual(read(self.plain.pk), (truth, "hit"))


class LostConnectionTests(ClientsTestCase):
    """Whether the COMMIT was done is unknown: the holds stay until their deadline."""

    def assertStaysHeld(self):
        truth = Plain.objects.get().name
        for _ in range(2):
            settle_all()
            self.assertEqual(read(self.plain.pk), (truth, "held"))
            self.assertEqual(in_another_thread(read, self.plain.pk), (truth, "held"))
        self.assertNotIn(TRANSACTION, connections["default"].__dict__)

    def test_a_row_stays_held_if_the_connection_breaks_in_the_commit(self):
        commit = connection._commit
        for done in (False, True):

            def lose_it(done=done):
                if done:
                    commit()
                connection.connection.close()
                raise OperationalError("server closed the connection unexpectedly")

            with self.subTest(done=done):
                with patch.object(connection, "_commit", lose_it), self.assertRaises(DatabaseError):
                    with transaction.atomic():
                        self.rename(f"done {done}")
                self.assertStaysHeld()

    def test_a_row_stays_held_if_the_connection_is_closed_inside_the_transaction(self):
        with transaction.atomic():
            self.rename()
            connection.close()
            settle_all()
        self.assertEqual(Plain.objects.get().name, "old")
        self.assertStaysHeld()

    def test_a_row_stays_held_if_the_connection_is_closed_before_the_rollback_is_noticed(self):
        with self.assertRaises(ValueError), transaction.atomic():
            self.rename()
            raise ValueError
        connection.close()
        self.assertStaysHeld()


if connection.vendor == "postgresql":

    class TerminatedTests(LostConnectionTests):
        def test_a_row_stays_held_if_the_server_terminates_the_connection(self):
            def terminate(pid):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

            with self.assertRaises(OperationalError), transaction.atomic():
                self.rename()
                in_another_thread(terminate, connection.connection.info.backend_pid)
            self.assertStaysHeld()


def in_child(work):
    """Return what `work` returns in a forked child, as a string."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(20)
            os.write(send, str(work()).encode())
        except BaseException as error:
            os.write(send, repr(error).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


class ForkTests(ClientsTestCase):
    def test_a_child_does_not_release_the_holds_of_its_parent(self):
        def work():
            inherited = connections["default"]
            inherited.__dict__[TRANSACTION].finish()
            # The state after the end of a transaction, without using the parent's connection.
            inherited.run_on_commit, inherited.in_atomic_block = [], False
            inherited.autocommit = True
            settle_all()
            return TRANSACTION in inherited.__dict__

        with transaction.atomic():
            self.rename()
            # The child uses the parent's keys.
            with patch("cars.tests.support.caches.getpid", return_value=os.getpid()):
                self.assertEqual(in_child(work), "False")
            self.assertIsInstance(entry_under(self.key), Holds)
            self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_child_does_not_withdraw_the_hold_of_a_save_of_its_parent(self):
        Plain.objects.cache(self.plain.pk)
        entries = []

        def fork(**kwargs):
            with patch("cars.tests.support.caches.getpid", return_value=os.getpid()):
                in_child(settle_all)
            entries.append(entry_under(self.key))

        with connected(pre_save, fork, Plain):
            self.rename()
        self.assertIsInstance(entries[0], Holds)
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_an_in_memory_database_has_another_identity_in_each_process(self):
        def identity(name):
            engine = {"ENGINE": "django.db.backends.sqlite3", "HOST": "", "PORT": "", "NAME": name}
            return str(databases.identity(engine))

        self.assertNotEqual(in_child(lambda: identity(":memory:")), identity(":memory:"))
        self.assertEqual(in_child(lambda: identity("cars.sqlite3")), identity("cars.sqlite3"))

    def test_rows_of_an_in_memory_database_have_another_fingerprint_in_a_child(self):
        in_memory = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        with patch.dict(connection.settings_dict, in_memory):
            cached = cached_model(Plain, "default")
            before = str(fingerprint_of(cached))
            self.assertNotEqual(in_child(lambda: fingerprint_of(cached)), before)
            self.assertEqual(str(fingerprint_of(cached)), before)


class ForkedClientTests(MemcachedMixin, SimpleTestCase):
    def test_a_child_has_another_client(self):
        cache.set("one", 1)
        before = cache._cache

        def work():
            cache.set("two", 2)
            return cache.get("two"), cache._cache is before

        self.assertEqual(in_child(work), "(2, False)")
        self.assertIs(cache._cache, before)

    def test_a_child_leaves_the_sockets_of_its_parent_open(self):
        cache.set("one", 1)
        socket = cache._cache.sock
        in_child(lambda: cache.set("one", 2))
        self.assertEqual(cache.get("one"), 1)
        self.assertIs(cache._cache.sock, socket)
