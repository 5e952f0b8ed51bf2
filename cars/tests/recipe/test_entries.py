"""What stands under a key: how long holds stand."""

from unittest.mock import patch

from django.test import SimpleTestCase

from cars.caching import entries
from cars.caching.entries import (
    ABSENT,
    EXPIRE,
    TICK,
    Holds,
    at_least_a_second,
    holds_in,
    put_holds,
)

NOW = 1_000_000.0


class HoldsTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(patch.object(entries.time, "time", return_value=NOW))

    def test_the_entry_stands_until_the_latest_deadline(self):
        for deadlines in ({"a": NOW + 60, "b": NOW + 600}, {"a": NOW + 600, "b": NOW + 60}):
            swap = put_holds(ABSENT, deadlines)
            self.assertEqual(swap, (ABSENT, Holds(deadlines), 600 + TICK))

    def test_a_part_of_a_second_is_a_second_and_other_timeouts_stay(self):
        for timeout in (None, -1, 0, 1, 2.5):
            self.assertEqual(at_least_a_second(timeout), timeout)
        self.assertEqual(at_least_a_second(0.5), 1)

    def test_without_holds_the_entry_expires(self):
        self.assertEqual(put_holds(ABSENT, {}), (ABSENT, EXPIRE, 0))

    def test_a_hold_stands_until_its_deadline_and_no_longer(self):
        holds = Holds({"at its deadline": NOW, "before it": NOW + 0.001})
        self.assertEqual(holds_in(holds), {"before it": NOW + 0.001})
