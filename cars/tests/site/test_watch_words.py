"""How /watch/ describes what it has seen."""

from django.test import SimpleTestCase

from cars.insight.watch import words


class WordsTests(SimpleTestCase):
    def test_the_timeout_tells_what_was_stored(self):
        for timeout, state in (
            (3600, "row"), (602, "holds"), (601, "holds"), (300, "holds"), (10, "lease"),
            (-1, "expired"), (7200, "row"), (0, "row"),
        ):  # fmt: skip
            with self.subTest(timeout):
                self.assertEqual(words.stored_state("Car.1", timeout), state)
        self.assertEqual(words.stored_state("other", 10), "other")

    def test_an_item_that_can_be_a_row_or_holds_is_named_so(self):
        self.assertEqual(words.item_state("Car.1", 3600, fetched=False), "row")
        self.assertEqual(words.item_state("Car.1", 1800, fetched=True), "row")
        self.assertEqual(words.item_state("Car.1", 602, fetched=True), "holds")
        self.assertEqual(words.item_state("Car.1", 300, fetched=True), "row or holds")

    def test_durations_are_in_words(self):
        for seconds, text in (
            (1, "1 second"), (10, "10 seconds"), (60, "1 minute"), (602, "10 minutes"),
            (3600, "1 hour"), (86400, "1 day"), (172800, "2 days"),
        ):  # fmt: skip
            self.assertEqual(words.duration(seconds), text)
