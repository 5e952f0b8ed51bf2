"""`events` tells each step of a read and of a write, in its order."""

from contextlib import contextmanager

from django.db import transaction
from django.test import TransactionTestCase, override_settings

from cars.caching import events
from cars.lab import servers
from cars.tests.support.caches import empty_cache
from cars.tests.support.zoo.models import Plain
from carsite import settings as site

MISSED = [events.LOOKED, events.MISS, events.SELECTED, events.FILLED]
HELD = [events.LOOKED, events.HOLD]
SAVED = [*HELD, events.COMMITTED, events.SELECTED, events.FILLED]


class StepsTests(TransactionTestCase):
    def setUp(self):
        empty_cache()
        self.row = Plain.objects.create(name="a")

    @contextmanager
    def told(self, *outcomes):
        """Check that exactly these outcomes are told in the block; yield the events."""
        told = []
        with events.listen(told.append):
            yield told
        self.assertEqual([event.outcome for event in told], list(outcomes))

    def test_a_hit_is_one_event(self):
        with self.told(events.HIT):
            Plain.objects.cache(self.row.pk)

    def test_a_miss_looks_takes_the_lease_selects_and_fills(self):
        empty_cache()
        with self.told(*MISSED):
            Plain.objects.cache(self.row.pk)

    def test_keys_that_share_a_round_trip_have_the_same_start(self):
        rows = [self.row.pk, Plain.objects.create(name="b").pk]
        empty_cache()
        with self.told(*(outcome for outcome in MISSED for _ in rows)) as told:
            Plain.objects.cache_many(rows)
        starts = [event.started for event in told]
        self.assertEqual(starts[::2], starts[1::2])
        self.assertEqual(len({*starts}), len(MISSED))

    def test_steps_do_not_overlap(self):
        for write in (self.row.save, lambda: Plain.objects.update(name="b"), self.row.delete):
            told = []
            with events.listen(told.append):
                write()
            for before, after in zip(told, told[1:], strict=False):
                self.assertLessEqual(before.started + before.seconds, after.started)

    def test_a_save_holds_commits_selects_and_fills(self):
        with self.told(*SAVED):
            self.row.save()
        with self.told(*SAVED), transaction.atomic():
            self.row.save()

    def test_an_update_tells_the_same_steps(self):
        with self.told(*SAVED):
            Plain.objects.filter(pk=self.row.pk).update(name="b")

    def test_a_create_is_committed_before_its_hold_where_the_database_chooses_the_pk(self):
        with self.told(events.COMMITTED, *HELD, events.SELECTED, events.FILLED):
            Plain.objects.create(name="c")

    def test_a_delete_ends_with_nothing_under_the_key(self):
        with self.told(*HELD, events.COMMITTED, events.WITHDRAWN):
            self.row.delete()

    def test_a_rollback_withdraws(self):
        with self.told(*HELD, events.WITHDRAWN):
            with self.assertRaises(InterruptedError), transaction.atomic():
                self.row.save()
                raise InterruptedError
            Plain.objects.cache_many([])  # the next use of the cache
            Plain.objects.expire([])

    def test_forget_looks_and_removes(self):
        with self.told(events.LOOKED, events.EXPIRED):
            Plain.objects.forget([self.row.pk])

    def test_without_an_answer_nothing_is_held_or_filled(self):
        with override_settings(CACHES=site.caches([f"127.0.0.1:{servers.free_port()}"])):
            told = []
            with events.listen(told.append):
                self.row.save()
                Plain.objects.cache(self.row.pk)
        outcomes = {event.outcome for event in told}
        self.assertEqual(
            outcomes, {events.LOOKED, events.COMMITTED, events.SELECTED, events.NO_ANSWER}
        )
