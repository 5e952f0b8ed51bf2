"""The visitors of `manage.py stack`, here of this process's own site."""

import time
from unittest.mock import patch

from django.contrib.auth.models import User
from django.test import Client, LiveServerTestCase, SimpleTestCase

from cars.lab.stack.containers import Stack
from cars.lab.stack.visitors import Record, slow_clients, visitors
from cars.models import Car
from cars.tests.support.caches import empty_cache


class RecordTests(SimpleTestCase):
    def test_a_page_is_stale_if_a_later_write_was_answered_before_it_was_asked_for(self):
        record = Record()
        for mileage in (1, 2, 3):
            record.wrote(7, mileage)
        latest, asked = record.latest(7), time.monotonic()
        record.wrote(7, 4)
        for mileage in (3, 4):
            record.saw(7, mileage, True, latest, asked)
        self.assertEqual(record.counts["stale"], 0)
        record.saw(7, 1, True, latest, asked)
        self.assertEqual(record.counts["stale"], 1)
        self.assertEqual(record.oldest, asked - record.written[7][2])
        self.assertIn("3 reads (100% hits), 4 writes, 0 without an answer, 1 stale", str(record))


class OwnSite(Stack):
    """The site of a test in place of a stack."""

    def log_in(self):
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        return client.session.session_key


class VisitorsTests(LiveServerTestCase):
    host = "127.0.0.1"

    def setUp(self):
        empty_cache()
        Car.objects.bulk_create(Car(make="Stack") for _ in range(4))
        self.stack = OwnSite("", self.server_thread.port, 1)

    def visit(self):
        """Let one reader and one writer visit, until there were 10 writes; return the record."""
        record, deadline = Record(), time.monotonic() + 60
        with visitors(self.stack, record, readers=1, writers=1):
            while record.counts["writes"] < 10 or record.counts["reads"] < 30:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
        return record

    def test_they_read_and_write_and_see_nothing_stale(self):
        record = self.visit()
        self.assertEqual((record.counts["stale"], record.counts["failed"]), (0, 0), str(record))
        self.assertGreater(record.counts["hits"], 0)

    def test_they_see_what_is_stale(self):
        def read(pk):
            return cars.setdefault(pk, Car.objects.get(pk=pk))  # and never again

        cars = {}
        with patch("cars.views.Car.objects.cache", read):
            self.assertGreater(self.visit().counts["stale"], 0)

    def test_slow_clients_leave_their_requests_open(self):
        with slow_clients(self.stack, count=3):
            self.assertIn("Stack", self.stack.page("/cars/"))
