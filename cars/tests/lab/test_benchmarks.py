"""The benchmarks measure what they say, and judge it rightly."""

from django.conf import settings
from django.db import connection
from django.test import SimpleTestCase, TransactionTestCase

from cars.models import Car

if (settings.BASE_DIR / "benchmarks").exists():  # the container image has none
    from benchmarks import compare, docs, measures, report
    from benchmarks.contestants import CONTESTANTS, This
    from benchmarks.floors import FLOORS
    from benchmarks.pages import AWAY
    from benchmarks.samples import Samples
    from benchmarks.targets import TARGETS, Target, Verdict, missed
    from benchmarks.work import PARTS, Work

    class WorkTests(TransactionTestCase):
        def setUp(self):
            Car.objects.bulk_create(Car(make="Saab", mileage=number) for number in range(4))
            self.pks = list(Car.objects.order_by("pk").values_list("pk", flat=True))
            self.work = Work(This(Car))

        def test_creates_and_deletes_are_timed_and_leave_the_rows_as_they_were(self):
            before = list(Car.objects.order_by("pk").values())
            self.assertGreater(self.work.time_creates(3), 0)
            self.assertGreater(self.work.time_deletes(3), 0)
            self.assertEqual(list(Car.objects.order_by("pk").values()), before)

        if connection.vendor == "postgresql":

            def test_the_next_car_after_creates_and_deletes_has_the_next_pk(self):
                self.work.time_creates(3)
                self.work.time_deletes(3)
                self.assertEqual(Car.objects.create(make="Saab").pk, self.pks[-1] + 1)

        def test_the_selects_of_a_bulk_update_are_those_after_its_commit(self):
            self.assertEqual(self.work.selects_of_bulk_update(self.pks[-1]), 1)

        def test_the_parts_of_creates_and_deletes_leave_the_cars_as_they_were(self):
            before = list(Car.objects.order_by("pk").values())
            for parts in (self.work.parts_of_creates(3), self.work.parts_of_deletes(3)):
                self.assertAlmostEqual(sum(parts.values()), 100)
            self.assertEqual(list(Car.objects.order_by("pk").values()), before)

        def test_the_parts_of_the_time_of_hits_are_all_of_it(self):
            self.work.warm(self.pks)
            parts = self.work.parts("one", self.pks)
            self.assertEqual(parts.keys(), PARTS.keys())
            self.assertAlmostEqual(sum(parts.values()), 100)
            self.assertGreater(parts["packing and unpacking: `msgspec`, `cars.caching.rows`"], 0)

    class TargetTests(SimpleTestCase):
        def test_each_target_is_of_what_is_measured(self):
            listed = (*measures.MEASURES, *measures.BULK_MEASURES, *measures.COUNTS)
            known = {measure.name for measure in listed}
            known |= {measures.SLOWEST, measures.SELECTS, measures.MEMORY}
            known |= {measures.DETAIL, measures.LIST}
            titles = {*CONTESTANTS, *FLOORS, AWAY}
            for target in TARGETS:
                with self.subTest(target.text):
                    self.assertIn(target.measure, known)
                    self.assertLessEqual({target.contestant, target.to} - {None}, titles)

        def test_a_target_is_reached_at_its_limit_and_not_beyond_it(self):
            most = Target("", measures.MISS, "this", "no cache", at_most=1.5)
            least = Target("", measures.MISS, "no cache", "this", at_least=1.5)
            reached = [
                Verdict(target, r).reached for target in (most, least) for r in (1.4, 1.5, 1.6)
            ]
            self.assertEqual(reached, [True, True, False, False, True, True])

        def test_what_was_not_measured_is_neither_reached_nor_missed(self):
            samples = Samples()
            self.assertEqual(missed(samples), [])
            samples.add("PostgreSQL", measures.SELECTS, "this", [1, 2])
            self.assertEqual([verdict.ratio for verdict in missed(samples)], [2])

    class ReportTests(SimpleTestCase):
        def test_a_page_gets_the_new_table_in_place_of_the_old_one(self):
            samples = Samples()
            samples.add("PostgreSQL", measures.MISS, "no cache", [500])
            samples.add("PostgreSQL", measures.MISS, "this", [600])
            page = "Before.\n\n<!-- make bench: costs -->\n| old |\n|---|\n\nAfter.\n"
            self.assertEqual(
                docs.with_tables(page, samples),
                "Before.\n\n<!-- make bench: costs -->\n| | no cache | this |\n|---|---:|---:|\n"
                "| a miss | 500 µs (0.83) | **600 µs** |\n\nAfter.\n",
            )

        def test_a_table_leaves_out_what_was_not_measured(self):
            samples = Samples({"PostgreSQL": {measures.DETAIL: {"this": [300.0]}}})
            *_, last = report.rows_of_pages(samples, "PostgreSQL")
            self.assertEqual(last, f"| {measures.DETAIL} |  | **300** |  |")

    class ComparisonTests(SimpleTestCase):
        def test_the_spread_of_ratios_that_are_equal_is_that_ratio(self):
            self.assertEqual(compare.spread([[1.25, 1.25], [1.25, 1.25]]), (1.25, 1.25))

        def test_a_difference_counts_if_1_is_outside_of_the_spread(self):
            def verdict(low, high):
                return compare.Comparison("", 1, 1, 1, low, high).verdict

            self.assertEqual(verdict(0.9, 0.99), "FASTER")
            self.assertEqual(verdict(1.01, 1.1), "SLOWER")
            self.assertEqual(verdict(0.99, 1.01), "1.0 is within the spread")
