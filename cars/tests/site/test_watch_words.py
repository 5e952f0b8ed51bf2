"""What /watch/ says of what it has seen."""

from django.test import SimpleTestCase

from cars.insight.watch import words


class WordsTests(SimpleTestCase):
    def test_what_was_put_is_told_by_its_timeout(self):
        for timeout, kind in (
            (3600, "row"), (602, "holds"), (601, "holds"), (300, "holds"), (10, "lease"),
            (-1, "expired"), (7200, "row"), (0, "row"),
        ):  # fmt: skip
            with self.subTest(timeout):
                self.assertEqual(words.kind_put("Car.1", timeout), kind)
        self.assertEqual(words.kind_put("other", 10), "other")

    def test_it_says_where_it_is_not_sure(self):
        self.assertEqual(words.kind_standing("Car.1", 3600, fetched=False), "row")
        self.assertEqual(words.kind_standing("Car.1", 1800, fetched=True), "row")
        self.assertEqual(words.kind_standing("Car.1", 602, fetched=True), "holds")
        self.assertEqual(words.kind_standing("Car.1", 300, fetched=True), "row or holds")

    def test_it_says_durations_as_one_would(self):
        for seconds, said in (
            (1, "a second"), (10, "10 seconds"), (60, "a minute"), (602, "10 minutes"),
            (3600, "an hour"), (86400, "a day"), (172800, "2 days"),
        ):  # fmt: skip
            self.assertEqual(words.duration(seconds), said)
