"""Receivers of the project that run before and after a save or a delete."""

import copy

from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_save
from django.test import TestCase

from cars.caching.entries import Holds
from cars.tests.support.assertions import HeldMixin, before_commits, entry
from cars.tests.support.caches import empty_cache
from cars.tests.support.receivers import connected
from cars.tests.support.zoo.models import Plain


class ReceiverTests(HeldMixin, TestCase):
    def setUp(self):
        empty_cache()
        self.one, self.two = (Plain.objects.create(name=name) for name in ("a", "b"))

    def test_a_receiver_can_read_the_cache_and_save_other_rows(self):
        def receive(instance, **kwargs):
            if instance.pk == self.one.pk:
                Plain.objects.cache_many([self.one.pk, self.two.pk])
                other = Plain.objects.cache(self.two.pk)
                other.number += 1
                other.save()
                Plain.objects.cache_many([self.one.pk, self.two.pk])

        for signal in (pre_save, post_save):
            self.one.name += "!"
            with connected(signal, receive, Plain):
                self.one.save()
            self.assertRight(Plain, self.one.pk)
            self.assertRight(Plain, self.two.pk)
            self.one.name += "!"
            with connected(signal, receive, Plain), self.assertHeld(self.one, self.two):
                with transaction.atomic():
                    self.one.save()

    def test_a_receiver_that_is_called_before_the_hold_of_a_delete_reads_no_deleted_row(self):
        found = []

        def receive(instance, **kwargs):
            found.extend(Plain.objects.cache_many([instance.pk]))

        Plain.objects.cache(self.one.pk)
        with connected(post_delete, receive, Plain):
            post_delete.receivers.insert(0, post_delete.receivers.pop())
            self.one.delete()
        self.assertEqual(found, [])

    def test_a_receiver_can_save_the_same_instance_again(self):
        def receive(instance, **kwargs):
            if instance.number < 3:
                instance.number += 1
                instance.save()

        for signal in (pre_save, post_save):
            self.one.number = 0
            with self.subTest(signal), connected(signal, receive, Plain), self.assertHeld(self.one):
                self.one.save()
            self.assertEqual(Plain.objects.cache(self.one.pk).number, 3)

    def test_a_receiver_can_save_a_copy_of_the_instance(self):
        def receive(instance, **kwargs):
            if instance.pk == self.one.pk:
                new = copy.copy(instance)
                new.pk = None
                new.save()

        self.one.name = "c"
        with connected(pre_save, receive, Plain), self.assertHeld(self.one):
            self.one.save()
        self.assertEqual(Plain.objects.count(), 3)

    def test_a_receiver_can_save_the_same_instance_as_another_row(self):
        def receive(instance, **kwargs):
            if instance.pk == self.one.pk:
                instance.pk = None
                instance.save()
                instance.pk = self.one.pk
                instance._state.adding = False

        one = Plain.objects.get(pk=self.one.pk)
        one.name = "c"
        with connected(pre_save, receive, Plain):
            seen = []
            Plain.objects.cache(self.one.pk)
            with before_commits(lambda: seen.append(entry(Plain, self.one.pk)), Plain):
                one.save()
        self.assertIsInstance(seen[-1], Holds)
        self.assertRight(Plain, self.one.pk)

    def test_a_receiver_of_post_save_reads_the_new_row_from_the_cache(self):
        names = []

        def receive(instance, **kwargs):
            names.append(Plain.objects.cache(instance.pk).name)

        with connected(post_save, receive, Plain):
            self.one.name = "c"
            self.one.save()
        self.assertEqual(names, ["c"])

    def test_a_receiver_of_post_delete_finds_no_row_in_the_cache(self):
        found = []

        def receive(instance, **kwargs):
            found.append(Plain.objects.cache_many([instance.pk]))

        pk = self.one.pk
        with connected(post_delete, receive, Plain), self.assertHeld(self.one):
            Plain.objects.filter(pk=pk).delete()
        self.assertEqual(found, [{}])

    def test_a_row_whose_pk_a_receiver_sets_is_right_after_the_save(self):
        # That pk is not known before the write: in autocommit, readers may get the old row until
        # the save returns.
        def receive(instance, **kwargs):
            instance.pk = self.two.pk

        Plain.objects.cache(self.two.pk)
        with connected(pre_save, receive, Plain):
            Plain(name="c").save()
        self.assertRight(Plain, self.two.pk)
        self.assertEqual(Plain.objects.cache(self.two.pk).name, "c")
        with connected(pre_save, receive, Plain), self.assertHeld(self.two), transaction.atomic():
            Plain(name="d").save()
