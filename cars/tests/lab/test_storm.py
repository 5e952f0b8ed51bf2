"""The verdicts of a storm, its command, and short storms; `manage.py storm` runs longer ones."""

from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock, skipIf

from django.core.management import CommandError, call_command
from django.db import connection
from django.test import SimpleTestCase, tag

from cars.lab.storm import results
from cars.lab.storm.record import COUNTS, DIRTY, EXCUSED, RIGHT, STALE, Record
from cars.lab.storm.run import Figures, missing_servers, storm


class RecordTests(SimpleTestCase):
    """The verdicts of the storm."""

    def setUp(self):
        self.record = Record(get_context("spawn"), rows=1, processes=2)

    def write(self, sound=True, deletes=False):
        number = self.record.new_number()
        self.record.commit_begins(0, number, deletes)
        self.record.commit_answered(0, number, sound)
        return number

    def test_a_read_of_the_last_write_is_right(self):
        number = self.write()
        self.assertEqual(self.record.verdict(0, number, self.record.known(0)), RIGHT)

    def test_a_read_of_a_replaced_committed_row_is_stale(self):
        old = self.write()
        self.write()
        self.assertEqual(self.record.verdict(0, old, self.record.known(0)), STALE)

    def test_a_read_that_began_before_the_commit_may_return_the_old_row(self):
        old = self.write()
        before = self.record.known(0)
        self.write()
        self.assertEqual(self.record.verdict(0, old, before), RIGHT)

    def test_a_read_of_an_uncommitted_row_is_dirty(self):
        number = self.record.new_number()
        self.assertEqual(self.record.verdict(0, number, self.record.known(0)), DIRTY)

    def test_a_read_of_a_commit_that_is_not_yet_answered_is_right(self):
        number = self.record.new_number()
        self.record.commit_begins(0, number, deletes=False)
        self.assertEqual(self.record.verdict(0, number, self.record.known(0)), RIGHT)

    def test_a_row_read_after_its_delete_is_stale(self):
        number = self.write()
        self.write(deletes=True)
        self.assertEqual(self.record.verdict(0, number, self.record.known(0)), STALE)
        self.assertEqual(self.record.verdict(0, None, self.record.known(0)), RIGHT)

    def test_a_read_that_misses_an_existing_row_is_stale(self):
        self.write()
        self.assertEqual(self.record.verdict(0, None, self.record.known(0)), STALE)

    def test_a_row_replaced_by_a_write_with_a_loss_is_excused_until_the_release(self):
        old = self.write()
        number = self.write(sound=False)
        self.assertEqual(self.record.verdict(0, old, self.record.known(0)), EXCUSED)
        self.record.released(0, number)
        self.assertEqual(self.record.verdict(0, old, self.record.known(0)), STALE)

    def test_a_loss_does_not_excuse_a_row_older_than_the_last_sound_write(self):
        oldest = self.write()
        self.write()
        self.write(sound=False)
        self.assertEqual(self.record.verdict(0, oldest, self.record.known(0)), STALE)

    def test_a_loss_is_recorded_while_it_happens_and_afterwards(self):
        before = self.record.losses(0)
        with self.record.losing(1, 0):
            self.assertTrue(any(loss % 2 for loss in self.record.losses(0)))
        self.assertNotEqual(self.record.losses(0), before)
        self.assertFalse(any(loss % 2 for loss in self.record.losses(0)))


class CommandTests(SimpleTestCase):
    """What `manage.py storm` says."""

    def run_command(self, *arguments, stale=0, dirty=0, stale_at_rest=0):
        counts = dict.fromkeys(COUNTS, 0) | {"reads": 1200, "unanswered": 200, "hits": 900}
        counts |= {"committed": 40, "refilled": 30}
        figures = Figures(counts | {"stale": stale, "dirty": dirty}, stale_at_rest, ["an example"])
        out, err = StringIO(), StringIO()
        with (
            mock.patch("cars.management.commands.storm.storm", return_value=figures),
            mock.patch("cars.management.commands.storm.missing_servers", return_value=[]),
            mock.patch("cars.management.commands.storm.end_on_signals"),
        ):
            try:
                call_command("storm", *arguments, stdout=out, stderr=err)
            except SystemExit as end:
                return end.code, out.getvalue()
        return 0, out.getvalue()

    def test_the_status_is_0_if_nothing_was_stale(self):
        status, printed = self.run_command()
        self.assertEqual(status, 0)
        self.assertIn("90.0% of the reads that the cache answered", printed)
        self.assertIn("75.0% of the 40 rows", printed)

    def test_the_status_is_1_if_anything_was_stale_or_dirty(self):
        for what in ("stale", "dirty", "stale_at_rest"):
            with self.subTest(what):
                self.assertEqual(self.run_command(**{what: 1})[0], 1)

    def test_the_figures_are_recorded_by_recipe_beside_those_of_the_other(self):
        path = Path(self.enterContext(TemporaryDirectory())) / "results.json"
        with mock.patch.object(results, "PATH", path):
            for recipe, stale in (("2009", 7), ("today", 0)):
                self.run_command("--seconds", "8", "--recipe", recipe, "--record", stale=stale)
            found = results.recorded()
        stale = {name: (one["seconds"], one["stale"]) for name, one in found.items()}
        self.assertEqual(stale, {"2009": (8, 7), "today": (8, 0)})

    def test_missing_servers_are_named_in_one_line(self):
        with (
            mock.patch("cars.lab.servers.has_postgresql", return_value=False),
            mock.patch("cars.lab.servers.has_memcached", return_value=False),
            self.assertRaisesMessage(CommandError, "A storm needs PostgreSQL and Memcached"),
        ):
            call_command("storm")


# A storm starts its servers itself, whatever the database of the tests is. Once is enough, so it
# runs only with the tests on PostgreSQL.
if connection.vendor == "postgresql":

    @tag("processes")
    @skipIf(missing_servers(), f"no {' and no '.join(missing_servers())} on this machine")
    class StormTests(SimpleTestCase):
        """The recipe under load, and that of 2009."""

        def test_no_read_is_stale(self):
            figures = storm(seconds=20, fills=10_000, quiet=True)
            print(f"\nA storm:\n{figures}")
            self.assertEqual(figures.examples, [])
            self.assertEqual(figures.counts["stale"], 0)
            self.assertEqual(figures.counts["dirty"], 0)
            self.assertEqual(figures.stale_at_rest, 0)
            self.assertGreaterEqual(figures.counts["fills"], 10_000)
            self.assertLess(figures.counts["unanswered"], figures.counts["reads"] / 5)
            # About 85 % and 77 %. With readers that don't fill the first is about 60 %, and with
            # releases that expire instead of filling the second is about 2 %.
            self.assertGreaterEqual(figures.hit_ratio, 0.8)
            self.assertGreaterEqual(figures.refill_ratio, 0.5)

        def test_the_recipe_of_2009_serves_stale_and_dirty_reads(self):
            figures = storm(seconds=6, recipe="2009", quiet=True)
            print(f"\nA storm on the recipe of 2009:\n{figures}")
            self.assertGreater(figures.counts["stale"], 0)
            self.assertGreater(figures.counts["dirty"], 0)
