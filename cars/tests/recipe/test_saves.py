"""Saves and deletes without a transaction, where the statement is the COMMIT."""

import copy
import pickle
from contextlib import contextmanager
from threading import Event, Thread
from unittest.mock import patch

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import signals

from cars.caching import protocol
from cars.caching.entries import Holds
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_another_thread,
    in_local_memory,
    read,
)
from cars.tests.support.zoo.models import Plain, Uuid


@contextmanager
def before_the_save(act):
    """Call `act(instance)` before the first save of a Plain in the block, once it is held."""
    acted = []

    def receive(instance, **kwargs):
        if not acted:
            acted.append(instance)
            act(instance)

    signals.pre_save.connect(receive, sender=Plain)
    try:
        yield
    finally:
        signals.pre_save.disconnect(receive, sender=Plain)


class SaveTests(ClientsTestCase):
    def test_a_row_is_held_before_its_update_and_served_after_it(self):
        with before_the_save(
            lambda instance: self.assertEqual(in_another_thread(read, instance.pk), ("old", "held"))
        ):
            self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_row_whose_pk_is_known_is_held_before_its_insert(self):
        seen = []
        row = Uuid(name="one")

        def look(instance, **kwargs):
            seen.append(entry_under(row.key()))

        signals.pre_save.connect(look, sender=Uuid)
        row.save()
        signals.pre_save.disconnect(look, sender=Uuid)
        self.assertIsInstance(seen[0], Holds)
        with self.assertNumQueries(0):
            Uuid.objects.cache(row.pk)

    def test_nothing_is_left_on_an_instance_after_its_save(self):
        before = vars(Plain.objects.get(pk=self.plain.pk)._state)
        self.rename()
        self.assertEqual(vars(self.plain._state).keys() - before.keys(), set())

    def test_a_receiver_that_reads_the_row_gets_the_old_values_and_fills_nothing(self):
        seen = []
        with before_the_save(lambda instance: seen.append(read(instance.pk))):
            self.rename()
        self.assertEqual(seen, [("old", "held")])
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_receiver_that_saves_the_same_instance_does_not_end_its_hold(self):
        def save(instance):
            instance.save()
            self.assertIsInstance(entry_under(self.key), Holds)
            instance.name = "outer"

        with before_the_save(save):
            self.rename("inner")
        self.assertEqual(read(self.plain.pk), ("outer", "hit"))

    def test_a_receiver_that_saves_a_copy_as_a_new_row_does_not_end_its_hold(self):
        def keep_history(instance):
            old = copy.copy(instance)
            old.pk = None
            old.save()
            self.assertIsInstance(entry_under(self.key), Holds)

        with before_the_save(keep_history):
            self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_copy_of_a_saved_row_does_not_share_its_holds(self):
        self.rename()
        other = copy.copy(self.plain)
        other.pk = Plain.objects.create(name="other").pk
        begun, go_on = Event(), Event()

        def wait(instance):
            begun.set()
            go_on.wait(timeout=30)

        def save_the_other_meanwhile(instance):
            threads.append(Thread(target=in_another_thread, args=[save_slowly]))
            threads[0].start()
            begun.wait(timeout=30)

        def save_slowly():
            with before_the_save(wait):
                other.save()

        threads = []
        with before_the_save(save_the_other_meanwhile):
            self.rename("newer")
        self.assertIsInstance(entry_under(other.key()), Holds)
        go_on.set()
        threads[0].join()
        self.assertEqual(read(other.pk), ("new", "hit"))

    def test_an_instance_can_be_pickled_and_copied_during_its_save(self):
        copies = []
        with before_the_save(
            lambda instance: copies.extend([pickle.dumps(instance), copy.deepcopy(instance)])
        ):
            self.rename()
        for name, instance in zip(
            ("one", "two"), (pickle.loads(copies[0]), copies[1]), strict=True
        ):
            instance.name = name
            instance.save()
            self.assertEqual(read(self.plain.pk)[0], name)


class RefusedSaveTests(ClientsTestCase):
    """A save that raises: in autocommit its hold stays, since the save may still be under way."""

    def refuse(self):
        self.plain.pk, other = Plain.objects.create(name="other").pk, self.plain.pk
        with self.assertRaises(IntegrityError):
            self.plain.save(force_insert=True)
        taken, self.plain.pk = self.plain.pk, other
        return taken

    def test_its_row_stays_held_and_is_read_from_the_database(self):
        taken = self.refuse()
        self.assertEqual(read(taken), ("other", "held"))
        self.assertEqual(read(self.plain.pk), ("old", "hit"))

    def test_its_instance_can_be_pickled_copied_and_saved(self):
        taken = self.refuse()
        for instance in (
            self.plain,
            pickle.loads(pickle.dumps(self.plain)),
            copy.deepcopy(self.plain),
            copy.copy(self.plain),
        ):
            instance.name += "er"
            instance.save()
            self.assertEqual(read(self.plain.pk), (instance.name, "hit"))
            self.assertEqual(read(taken), ("other", "held"))

    def test_a_second_save_as_a_new_row_leaves_the_first_hold(self):
        taken = self.refuse()
        self.plain.pk = None
        self.plain.save()
        self.assertEqual(read(self.plain.pk), ("old", "hit"))
        self.assertEqual(read(taken), ("other", "held"))

    def test_in_a_transaction_its_row_is_withdrawn_after_the_rollback(self):
        other = Plain.objects.create(name="other")
        with self.assertRaises(IntegrityError), transaction.atomic():
            Plain(pk=other.pk, name="again").save(force_insert=True)
        self.assertEqual(read(other.pk), ("other", "miss"))
        self.assertEqual(read(other.pk), ("other", "hit"))

    def test_in_a_savepoint_its_row_is_withdrawn_after_the_commit(self):
        other = Plain.objects.create(name="other")
        with transaction.atomic():
            with self.assertRaises(IntegrityError), transaction.atomic():
                Plain(pk=other.pk, name="again").save(force_insert=True)
            self.rename()
        self.assertEqual(read(self.plain.pk), ("new", "hit"))
        self.assertEqual(read(other.pk)[0], "other")
        self.assertEqual(read(other.pk), ("other", "hit"))

    def test_a_select_that_fails_after_the_save_is_logged_and_the_write_stands(self):
        for entry in ("held", "lost"):
            act = (lambda instance: evict(self.key)) if entry == "lost" else (lambda instance: None)
            with self.subTest(entry=entry), self.assertLogs("cars.caching", "ERROR"):
                with patch.object(protocol, "select", side_effect=DatabaseError("no")):
                    with before_the_save(act):
                        self.rename(entry)
            self.assertEqual(read(self.plain.pk), (entry, "miss"))


class AutocommitOffTests(ClientsTestCase):
    """Autocommit is off by `set_autocommit(False)`."""

    def setUp(self):
        super().setUp()
        transaction.set_autocommit(False)
        self.addCleanup(self.end)

    def end(self):
        if not transaction.get_autocommit():
            transaction.rollback()
            transaction.set_autocommit(True)

    def test_a_row_is_held_until_the_deadline_after_the_commit(self):
        self.rename()
        transaction.commit()
        self.assertIsInstance(entry_under(self.key), Holds)
        self.assertEqual(read(self.plain.pk), ("new", "held"))
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "held"))

    def test_a_row_is_held_until_the_deadline_after_the_rollback(self):
        self.rename()
        transaction.rollback()
        self.assertEqual(read(self.plain.pk), ("old", "held"))
        self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))

    def test_the_hold_is_withdrawn_when_autocommit_is_on_again(self):
        self.rename()
        transaction.commit()
        transaction.set_autocommit(True)
        self.assertEqual(read(self.plain.pk), ("new", "miss"))
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_a_miss_is_not_filled(self):
        evict(self.key)
        self.assertEqual(read(self.plain.pk), ("old", "miss"))
        self.assertIsNone(entry_under(self.key))
        transaction.commit()
        self.assertIsNone(entry_under(self.key))

    def test_an_atomic_block_inside_releases_when_autocommit_is_on_again(self):
        Plain.objects.create(name="first")  # on SQLite a savepoint that comes first commits
        with transaction.atomic():
            self.rename()
        self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        transaction.commit()
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "held"))
        transaction.set_autocommit(True)
        self.assertEqual(read(self.plain.pk), ("new", "hit"))

    def test_an_atomic_block_inside_that_is_rolled_back_withdraws(self):
        Plain.objects.create(name="first")  # on SQLite a savepoint that comes first commits
        with transaction.atomic():
            self.rename()
        transaction.rollback()
        transaction.set_autocommit(True)
        self.assertEqual(read(self.plain.pk), ("old", "miss"))

    def test_a_mass_update_holds_too(self):
        Plain.objects.update(name="mass")
        self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "held"))
        transaction.commit()
        self.assertFalse(connection.get_autocommit())
        self.assertEqual(in_another_thread(read, self.plain.pk), ("mass", "held"))


@in_local_memory
class LocalMemorySaveTests(SaveTests):
    pass


@in_local_memory
class LocalMemoryRefusedSaveTests(RefusedSaveTests):
    pass
