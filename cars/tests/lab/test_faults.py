"""The command, and short runs of every fault; `manage.py faults` has longer ones."""

import time
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from unittest import mock, skipUnless

from django.core.management import CommandError, call_command
from django.db import connection
from django.test import SimpleTestCase, tag

from cars.lab import servers
from cars.lab.faults import breaking
from cars.lab.faults.catalogue import FAULTS
from cars.lab.faults.database import databases, model_of
from cars.lab.faults.rest import Rest
from cars.lab.faults.run import SHORT, run
from cars.lab.faults.stage import stage
from cars.lab.faults.visitors import Visitor

from . import test_faults_figures


@tag("any-database")
class CommandTests(SimpleTestCase):
    """What `manage.py faults` says."""

    def run_command(self, *arguments, rest=None):
        found = test_faults_figures.FiguresTests().figures(rest=rest)
        out, err = StringIO(), StringIO()
        module = "cars.management.commands.faults"
        with (
            mock.patch(f"{module}.databases"),
            mock.patch(f"{module}.run", return_value=found) as self.run_one,
            mock.patch(f"{module}.end_on_signals"),
            mock.patch(f"{module}.servers.has_memcached", return_value=True),
            mock.patch(f"{module}.servers.has_postgresql", return_value=True),
        ):
            try:
                call_command("faults", *arguments, stdout=out, stderr=err)
            except SystemExit as end:
                return end.code, out.getvalue(), err.getvalue()
        return 0, out.getvalue(), err.getvalue()

    def test_it_runs_every_fault_on_both_databases_and_prints_a_table_for_each(self):
        status, out, _ = self.run_command()
        self.assertEqual((status, out.count("| fault |")), (0, 2))
        names = {call.args[0].name for call in self.run_one.call_args_list}
        self.assertEqual(names, set(FAULTS))

    def test_it_runs_one_fault_on_one_database(self):
        self.run_command("--only", "away", "--database", "SQLite")
        self.assertEqual([call.args[0].name for call in self.run_one.call_args_list], ["away"])

    def test_the_status_is_1_and_the_bound_is_named_if_one_is_broken(self):
        status, _, err = self.run_command("--only", "away", rest=Rest({1: "page of row 1"}))
        self.assertEqual(status, 1)
        self.assertIn("SQLite, away: 1 rows stale at rest", err)
        self.assertIn("page of row 1", err)

    def test_missing_servers_are_named(self):
        with (
            mock.patch("cars.lab.servers.has_postgresql", return_value=False),
            mock.patch("cars.lab.servers.has_memcached", return_value=True),
            self.assertRaisesMessage(CommandError, "--database SQLite"),
        ):
            call_command("faults")


# The bounds that short runs have to keep. The others need longer runs on a machine that does
# nothing else.
KEPT = {"errors", "no answer", "writes lost", "dirty", "stale", "at rest", "no hits"}
STRIDE = "7"  # of the steps of a save, at which a writer is killed
FAULTY = 0.5  # seconds that a fault lasts
BETWEEN = 0.2  # seconds between two faults


@skipUnless(servers.has_memcached(), "no memcached on the PATH")
class FaultTests(SimpleTestCase):
    """Every fault for a moment, on the kind of database that the tests run on.

    Where only the way to Memcached is different, one kind of database is enough.
    """

    VENDOR = "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.database = cls.enterClassContext(databases(cls.VENDOR))

    def check(self, chosen):
        """Run the faults that are `chosen` one after the other, on one stage."""
        faults = [f for f in FAULTS.values() if f.vendor in ("", self.VENDOR) and chosen(f)]

        @contextmanager
        def in_turn(on, history):
            for fault in faults:
                seen = len(history.pages)
                with fault.do(on, history):
                    time.sleep(FAULTY)
                with self.subTest(fault.name):
                    self.check_pages(fault, history.pages[seen:])
                time.sleep(BETWEEN)
            yield

        found = run(replace(faults[0], do=in_turn), self.database, SHORT)
        broken = {name: text for name, text in found.broken().items() if name in KEPT}
        self.assertEqual(broken, {}, found.examples())

    def check_pages(self, fault, pages):
        allowed = {0} if fault.kills else set()
        if not fault.breaks_database:
            errors = [p for p in pages if p.status >= 500 or p.status == 0]
            self.assertEqual([p for p in errors if p.status not in allowed], [])

    def test_it_sees_what_stands_in_the_cache(self):
        with stage(self.database) as on:
            (row, *_) = self.database.versions()
            self.assertEqual(on.entries([row]), {})
            Visitor(on.port).get("car", f"/cars/{row}/")
            ((kind, data),) = on.entries([row])[row]
        self.assertEqual(kind, "row")
        self.assertIn(model_of(self.database.versions()[row]).encode(), data)

    def test_a_page_says_how_long_it_waited_for_the_server(self):
        with stage(self.database) as on:
            visitor, (server,) = Visitor(on.port), on.memcached
            (row, *_) = self.database.versions()
            answer, page = visitor.get("car", f"/cars/{row}/")
            self.assertEqual((page.process, page.waited), (answer.process, 0))
            server.freeze()
            try:
                _, page = visitor.get("car", f"/cars/{row}/")
            finally:
                server.thaw()
            self.assertGreater(page.waited, 0)

    def test_the_server_fails(self):
        special = ("by_proxy", "absent", "kills", "breaks_database")
        self.check(lambda f: f.servers == 1 and not any(getattr(f, name) for name in special))

    @tag("any-database")
    def test_the_server_is_not_there_at_the_start(self):
        self.check(lambda fault: fault.absent)

    @tag("any-database")
    def test_the_network_fails(self):
        self.check(lambda fault: fault.by_proxy)

    @tag("any-database")
    def test_one_of_two_servers_fails(self):
        self.check(lambda fault: fault.servers == 2)

    @tag("any-database")
    def test_two_of_three_servers_fail(self):
        self.check(lambda fault: fault.servers == 3)

    def test_a_process_is_killed(self):
        with mock.patch.object(breaking, "STRIDE", STRIDE):
            self.check(lambda fault: fault.kills)

    def test_the_database_fails(self):
        self.check(lambda fault: fault.breaks_database)
