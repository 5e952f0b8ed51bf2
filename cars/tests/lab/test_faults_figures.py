"""What a run of a fault has seen: its verdicts on reads, its figures and their bounds."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest import mock

from django.test import SimpleTestCase, tag

from cars.lab.faults import rest, table
from cars.lab.faults.catalogue import FAULTS
from cars.lab.faults.figures import Pair, Times, figures
from cars.lab.faults.history import MISSING, History, Page, Read
from cars.lab.faults.rest import Rest, look_at_rest
from cars.lab.faults.stage import PREFIX

ROW = 1


@tag("any-database")
class HistoryTests(SimpleTestCase):
    """The verdicts on reads. The row has version 1 at first, and version 2 from time 10 on."""

    def setUp(self):
        self.history = History({ROW: 1}, begun=0)
        self.history.new_version()
        self.history.looked({ROW: 1}, begun=9.9, ended=9.95)
        self.history.looked({ROW: 2}, begun=9.99, ended=10)

    def read(self, version, begun, ended=None):
        ended = begun + 0.01 if ended is None else ended
        self.history.reads = [Read(ROW, version, begun, ended, True, "7")]

    def stale(self):
        return [(stale.newest, round(stale.age, 3)) for stale in self.history.stale(end=100)]

    def test_a_read_of_the_newest_version_is_right(self):
        self.read(2, begun=11)
        self.assertEqual((self.stale(), self.history.dirty()), ([], []))

    def test_a_read_of_a_replaced_version_is_stale_from_the_first_look_that_shows_the_new_one(self):
        self.read(1, begun=10.5)
        self.assertEqual(self.stale(), [(2, 0.5)])

    def test_the_age_of_a_stale_read_counts_from_the_first_version_that_it_misses(self):
        self.history.looked({ROW: self.history.new_version()}, begun=12, ended=12)
        self.read(1, begun=13)
        self.assertEqual(self.stale(), [(3, 3)])

    def test_a_read_that_began_before_the_commit_was_seen_may_return_the_old_version(self):
        self.read(1, begun=9.99)
        self.assertEqual(self.stale(), [])

    def test_a_row_that_is_read_after_its_delete_is_stale_and_a_404_is_right(self):
        version = self.history.deletes(ROW)
        self.history.looked({}, begun=20, ended=20)
        self.read(2, begun=21)
        self.assertEqual(self.stale(), [(version, 1)])
        self.read(self.history.version_when_missing(ROW), begun=21)
        self.assertEqual(self.stale(), [])

    def test_a_row_that_is_not_found_but_exists_is_stale(self):
        self.assertEqual(self.history.version_when_missing(ROW), MISSING)
        self.read(MISSING, begun=11)
        self.assertEqual(self.stale(), [(2, 11)])

    def test_a_read_that_ended_before_its_version_was_committed_is_dirty(self):
        self.read(2, begun=9.5, ended=9.6)
        self.assertEqual(len(self.history.dirty()), 1)
        self.read(2, begun=9.5, ended=9.97)  # it may have been committed after the last look
        self.assertEqual(self.history.dirty(), [])

    def test_a_read_of_a_version_that_was_rolled_back_is_dirty(self):
        version = self.history.new_version()
        self.read(version, begun=11)
        self.assertEqual(len(self.history.dirty()), 1)

    def test_a_read_of_a_version_that_was_replaced_between_two_looks_is_right(self):
        version = self.history.new_version()
        self.history.answered.add(version)
        self.read(version, begun=11)
        self.assertEqual(self.history.dirty(), [])


@tag("any-database")
class HitsTests(SimpleTestCase):
    """When hits are back after a fault from 10 to 20."""

    def back(self, *reads):
        history = History({ROW: 1}, begun=0)
        for begun, process, hit, *row in reads:
            history.reads.append(Read(*row or [ROW], 1, begun, begun, hit, process))
        return history.back(10, 20)

    def test_it_is_the_first_hit_of_the_process_that_is_last(self):
        hits = (19, "a", True), (21, "a", False), (22, "a", True), (23, "b", True), (24, "a", True)
        self.assertEqual(self.back(*hits), 3)

    def test_it_is_unknown_while_a_process_has_none(self):
        self.assertIsNone(self.back((22, "a", True), (23, "b", False)))
        self.assertIsNone(self.back())

    def test_hits_of_rows_that_had_hits_during_the_fault_do_not_count(self):
        during = (11, "a", True, 2), (12, "a", False, ROW)
        self.assertEqual(self.back(*during, (21, "a", True, 2), (22, "a", True, ROW)), 2)


@tag("any-database")
class FiguresTests(SimpleTestCase):
    """The bounds. It is calm until 10, the fault lasts from 10 to 20."""

    def figures(
        self, name="nothing", rest=None, slow=0.0, status=200, back=21.0, lost=(), locks=()
    ):
        history = History({ROW: 1}, begun=0)
        for tenth in range(300):
            begun = tenth / 10
            seconds = 0.01 + (slow if 12 < begun < 20 else 0)
            history.pages.append(Page("car", begun, begun + seconds, 200))
        history.pages.append(Page("car", 15, 15.01, status))
        history.reads.append(Read(ROW, 1, back, back, True, "7"))
        history.lost.extend(lost)
        history.locks.extend(locks)
        times = Times(calm=[(0, 10), (22, 30)], fault=(10, 20), end=30)
        return figures(FAULTS[name], "SQLite", history, times, rest or Rest(), log=[])

    def broken(self, **options):
        return set(self.figures(**options).broken())

    def test_no_bound_is_broken_if_nothing_happens(self):
        self.assertEqual(self.broken(), set())

    def test_each_bound_can_be_broken(self):
        self.assertEqual(self.broken(status=503), {"errors"})
        self.assertEqual(self.broken(status=0), {"no answer"})
        self.assertEqual(self.broken(lost=["version 2"]), {"writes lost"})
        self.assertEqual(self.broken(rest=Rest({ROW: "a page"})), {"at rest"})
        self.assertEqual(self.broken(rest=Rest(left={"lease": 1})), {"left"})
        self.assertEqual(self.broken(back=23.0), {"late hits"})
        self.assertEqual(self.broken(back=19.0), {"no hits"})
        self.assertEqual(self.broken(slow=0.02), {"other pages"})
        self.assertEqual(self.broken(slow=0.4), {"page", "one page", "other pages"})

    def waits(self, *processes, name="away"):
        """Return the broken bounds if each process waits so many times a second, for 20 ms."""
        history = History({ROW: 1}, begun=0)
        for process, times in enumerate(processes):
            for hundredth in range(3000):
                begun = hundredth / 100
                waited = 0.02 if 10 < begun < 20 and hundredth % 100 < times else 0
                page = Page("list", begun, begun + 0.01, 200, str(process), waited)
                history.pages.append(page)
        history.reads.append(Read(ROW, 1, 21, 21, True, "7"))
        times = Times(calm=[(0, 10), (22, 30)], fault=(10, 20), end=30)
        found = figures(FAULTS[name], "PostgreSQL", history, times, Rest(), log=[])
        return set(found.broken())

    def test_few_pages_of_a_process_may_wait_in_a_second_for_each_server(self):
        self.assertEqual(self.waits(2, 2), set())
        self.assertEqual(self.waits(4, 0), {"waits"})
        self.assertEqual(self.waits(4, 0, name="1 of 2 away"), set())
        self.assertEqual(self.waits(7, 0, name="1 of 2 away"), {"waits"})

    def test_the_waits_of_few_of_the_other_pages_count_in_their_average(self):
        history = History({ROW: 1}, begun=0)
        for hundredth in range(3000):
            begun = hundredth / 100
            waits = 12 < begun < 20 and hundredth % 12 == 0
            history.pages.append(Page("car", begun, begun + (0.06 if waits else 0.01), 200))
        history.reads.append(Read(ROW, 1, 21, 21, True, "7"))
        times = Times(calm=[(0, 10), (22, 30)], fault=(10, 20), end=30)
        found = figures(FAULTS["nothing"], "SQLite", history, times, Rest(), log=[])
        self.assertIn("other pages", found.broken())

    def test_what_differs_without_a_fault_too_breaks_no_bound(self):
        self.assertTrue(Pair([0.010, 0.011], 0.015).is_over(0.002))
        self.assertFalse(Pair([0.010, 0.014], 0.018).is_over(0.002))

    def test_many_saves_may_wait_for_a_lock_of_the_fault_itself(self):
        slower = replace(self.figures(), many=Pair([0.1, 0.1], 1.2))
        self.assertEqual(set(slower.broken()), {"many saves"})
        self.assertEqual(replace(slower, lock=0.65).broken(), {})
        self.assertEqual(set(replace(slower, lock=0.55).broken()), {"many saves"})

    def test_the_longest_lock_of_the_fault_counts(self):
        self.assertEqual(self.figures().lock, 0)
        self.assertEqual(self.figures(locks=(0.6, 0.7, 0.5)).lock, 0.7)

    def test_error_pages_count_apart_while_the_database_is_away(self):
        found = self.figures("database stopped", status=500)
        self.assertEqual((found.errors, found.broken()), (1, {}))

    def test_a_killed_process_may_leave_holds_and_requests_without_an_answer(self):
        found = self.figures("writer killed", Rest(left={"holds": 3}), status=0)
        self.assertEqual(found.broken(), {})

    def test_the_table_has_a_cell_for_each_heading(self):
        self.assertEqual(len(table.row(self.figures())), len(table.HEAD))
        self.assertIn("0.010 → 0.010", table.table([self.figures()]))

    def test_a_record_replaces_the_tables_and_keeps_the_text_around_them(self):
        with TemporaryDirectory() as folder:
            page = Path(folder) / "faults.md"
            begin = table.BEGIN.format(command="faults")
            page.write_text(f"before\n{begin}old\n{table.END}after\n")
            with mock.patch.object(table, "PAGE", page):
                table.record({"SQLite": [self.figures()]})
            text = page.read_text()
        self.assertRegex(text, r"(?s)^before\n.*Measured on.*### SQLite.*\| nothing \|.*after\n$")
        self.assertNotIn("old", text)


@tag("any-database")
class RestTests(SimpleTestCase):
    """What is found after the last write. The database has version 2 of the row."""

    def look(self, shown=2, entries=(), later=None, owed=False, **options):
        """Look at rest, with these entries; after a second with those of `later`."""
        clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
        clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
        self.enterContext(mock.patch.object(rest, "time", clock))

        def entries_now(rows):
            standing = entries if later is None or clock.now < 1 else later
            return {ROW: list(standing)} if rows else {}

        stage = mock.Mock(workers=lambda: ["one"], entries=entries_now)
        stage.database.versions.return_value = {ROW: 2}
        stage.database.owed.return_value = {f"{PREFIX}{ROW}"} if owed else set()
        reader = mock.Mock()
        reader.read.return_value = Read(ROW, shown, 0, 1, True, "7")
        history = History({ROW: 2}, begun=0)
        return look_at_rest(stage, history, reader, patient=False, **options)

    def test_a_page_that_shows_another_version_is_stale(self):
        self.assertEqual(list(self.look(shown=1).stale), [ROW])
        self.assertEqual(self.look().stale, {})

    def test_a_row_in_the_cache_that_has_another_version_is_stale(self):
        old, new = (b"packed v000000%d" % version for version in (1, 2))
        self.assertEqual(list(self.look(entries=[("row", old)]).stale), [ROW])
        self.assertEqual(self.look(entries=[("row", new)]).stale, {})
        self.assertEqual(self.look(entries=[("row", old)], pages_only=True).stale, {})

    def test_an_entry_that_is_owed_has_two_seconds_to_be_right(self):
        old = [("row", b"packed v0000001")]
        self.assertEqual(self.look(entries=old, later=[], owed=True).stale, {})
        self.assertEqual(list(self.look(entries=old, later=[]).stale), [ROW])
        self.assertEqual(list(self.look(entries=old, owed=True).stale), [ROW])
        self.assertEqual(list(self.look(shown=1, later=[], owed=True).stale), [ROW])

    def test_what_is_owed_can_be_done_between_two_looks(self):
        asked = []

        def until_asked(found):
            asked.append(found)
            return found if len(asked) == 1 else type(found)()

        stage = mock.Mock(workers=lambda: ["one"])
        stage.database.versions.return_value = {ROW: 2}
        stage.database.owed = lambda: until_asked({f"{PREFIX}{ROW}"})
        stage.entries = lambda rows: until_asked({ROW: [("row", b"packed v0000001")]})
        reader = mock.Mock()
        reader.read.return_value = Read(ROW, 2, 0, 1, True, "7")
        found = look_at_rest(stage, History({ROW: 2}, begun=0), reader, patient=False)
        self.assertEqual(found.stale, {})

    def test_leases_and_holds_are_counted(self):
        self.assertEqual(self.look(entries=[("lease", b"token")]).left, {"lease": 1})
