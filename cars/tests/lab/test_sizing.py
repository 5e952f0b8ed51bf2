"""The calculations of docs/operations.md."""

import random
from collections import OrderedDict

from django.conf import settings
from django.test import SimpleTestCase, TransactionTestCase, tag

from cars.lab import sizing
from cars.models import Car
from cars.stock.files import shipped_cars
from cars.tests.support.costs import CostMixin


class WireTests(CostMixin, TransactionTestCase):
    def assertCosts(self, wire, operation):
        with self.counted() as cost:
            operation()
        self.assertEqual(sizing.Wire(cost.round_trips, cost.sent, cost.received), wire)

    def test_the_bytes_of_a_hit_a_miss_and_a_save_are_as_measured(self):
        car = next(shipped_cars())
        car.pk = 1
        car.save()
        self.assertCosts(sizing.HIT, lambda: Car.objects.cache(1))
        self.assertCosts(sizing.SAVE, car.save)
        self.empty()
        self.assertCosts(sizing.MISS, lambda: Car.objects.cache(1))


@tag("any-database")
class HitRateTests(SimpleTestCase):
    """The formulas, beside simulations with few rows."""

    ROWS, READS = 2_000, 100_000

    def drawn(self, s):
        """Draw the rows that are read, by Zipf's law with the exponent `s`."""
        weights = [rank**-s for rank in range(1, self.ROWS + 1)]
        return random.Random(14).choices(range(self.ROWS), weights, k=self.READS)

    def test_with_little_memory_the_formula_is_as_a_simulated_lru(self):
        for s in (0.8, 1.2):
            for fitting in (0.05, 0.5):
                there, hits = OrderedDict(), 0
                for row in self.drawn(s):
                    hits += row in there
                    there[row] = True
                    there.move_to_end(row)
                    if len(there) > fitting * self.ROWS:
                        there.popitem(last=False)
                expected = sizing.hit_rate_with_memory(s, fitting, self.ROWS)
                self.assertAlmostEqual(hits / self.READS, expected, delta=0.01)

    def test_with_timeouts_the_formula_is_as_a_simulation(self):
        for s in (0.8, 1.2):
            for timeout in (20, 500):  # in seconds, with one read in each second
                filled, hits = {}, 0
                for second, row in enumerate(self.drawn(s)):
                    hit = second - filled.get(row, -timeout) < timeout
                    hits += hit
                    if not hit:
                        filled[row] = second
                expected = sizing.hit_rate_with_timeout(s, 1, timeout, self.ROWS)
                self.assertAlmostEqual(hits / self.READS, expected, delta=0.01)

    def test_a_written_row_is_held_as_long_as_in_a_simulation(self):
        chance, writes, seconds = random.Random(14), 100, 0.0025
        now, ends, free = 0.0, 0.0, 0.0
        for _ in range(20_000):
            gap = chance.expovariate(writes)
            free += max(0.0, now + gap - max(now, ends))
            now += gap
            ends = max(ends, now + seconds)
        expected = sizing.hit_rate_of_a_written_row(writes, seconds)
        self.assertAlmostEqual(free / now, expected, delta=0.01)


@tag("any-database")
class DocsTests(SimpleTestCase):
    def test_the_page_has_the_tables_as_calculated(self):
        page = (settings.BASE_DIR / "docs/operations.md").read_text()
        for table in sizing.tables():
            self.assertIn(f"\n{table}\n", page)
