"""The lab: its page, and the process that plays the runs."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import msgspec
from django.conf import settings
from django.test import SimpleTestCase, TestCase, override_settings, tag

from cars.lab.servers import free_port
from cars.learn import lab as module
from cars.learn import pages, recorded
from cars.learn.lab import Lab, Unavailable, folder_of_site, lab
from cars.learn.process import ENVIRON, Question
from cars.learn.scenarios import MOST_STEPS

SAVE_READ = Question("set-on-save", "save-read")
# On a busy machine, where test runs side by side ask one process.
PATIENT = mock.patch.multiple(module, WAIT=60, LIMIT=60, START=60)
LONG = 9  # seconds: a question may take ten
LOST = ("reader", "reader", "writer", "writer", "reader")


@tag("any-database")
class ProcessTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(PATIENT)
        self.folder = Path(self.enterContext(TemporaryDirectory()))
        self.lab = self.new_lab()

    def new_lab(self):
        lab = Lab(self.folder)
        self.addCleanup(lab.end)
        return lab

    def pid(self):
        return int((self.folder / "lock").read_text())

    def ask(self, *steps, **options):
        return self.lab.ask(Question("set-on-save", "save-read", steps=steps, **options))

    def test_it_plays_a_schedule_as_it_was_recorded(self):
        run = self.ask(*LOST).run
        self.assertEqual(
            [frame.call for frame in run.frames],
            [frame.call for frame in recorded.run("set-on-save").frames],
        )
        self.assertEqual(run.wrong.verdict, "stale")

    def test_a_hint_is_the_next_step_of_the_shortest_run(self):
        self.assertEqual(self.ask(hint=LONG).hint, "reader")
        self.assertEqual(self.ask(*LOST[:3], hint=LONG).hint, "writer")
        self.assertEqual(self.ask("writer", "writer", "reader", hint=LONG).hint, "")

    def test_what_is_not_possible_is_refused_with_a_reason(self):
        self.assertIn("Possible steps: writer, reader", self.ask("visitor").refused)
        self.assertIn("no recipe", self.lab.ask(Question("x", "y")).refused)
        self.assertIn("at most", self.ask(*["reader"] * (MOST_STEPS + 1)).refused)

    def test_with_memcached_away_a_run_is_played_in_local_memory(self):
        with override_settings(MEMCACHED_SERVERS=[f"127.0.0.1:{free_port()}"]):
            answer = self.lab.ask(Question("carsite", "save-read", steps=("reader", "reader")))
        self.assertEqual(answer.run.frames[-1].entry.state, "lease")

    def test_all_processes_of_a_site_ask_one_and_it_ends_with_the_last_of_them(self):
        self.ask()
        other, pid = self.new_lab(), self.pid()
        self.assertTrue(other.ask(SAVE_READ).run)
        self.lab.end()
        self.assertTrue(other.ask(SAVE_READ).run)
        self.assertEqual(self.pid(), pid)
        other.end()
        self.assertEqual(self.lab._process.wait(timeout=20), 0)

    def test_when_the_process_that_started_it_is_killed_others_go_on_with_it(self):
        code = (
            "import sys; from pathlib import Path; from django.conf import settings; "
            "settings.configure(MEMCACHED_SERVERS=[], BASE_DIR=Path.cwd()); "
            "from cars.learn.lab import Lab, Question; lab = Lab(Path(sys.argv[1])); "
            "lab.ask(Question('set-on-save', 'save-read')); print('asked', flush=True); input()"
        )
        command = [sys.executable, "-c", code, str(self.folder)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=settings.BASE_DIR) as other:
            self.assertEqual(other.stdout.readline(), b"asked\n")
            pid = self.pid()
            self.ask()
            other.kill()
        self.ask()
        self.assertEqual(self.pid(), pid)

    def test_a_killed_process_is_started_again(self):
        self.ask()
        self.lab._process.kill()
        self.lab._process.wait()
        self.assertTrue(self.ask().run)

    def test_a_process_that_is_killed_while_it_is_asked_is_started_again(self):
        self.ask()
        pid = self.pid()
        os.kill(pid, signal.SIGSTOP)
        killer = threading.Timer(0.2, os.kill, [pid, signal.SIGKILL])
        killer.start()
        self.assertTrue(self.ask().run)
        killer.join()

    def test_a_process_that_hangs_is_ended_and_the_next_question_gets_another_one(self):
        self.ask()
        hung, other = self.lab._process, self.new_lab()
        other.ask(SAVE_READ)
        os.kill(hung.pid, signal.SIGSTOP)
        with mock.patch.object(module, "LIMIT", 0.2), self.assertRaises(Unavailable):
            other.ask(SAVE_READ)
        self.assertEqual(hung.wait(timeout=20), -signal.SIGKILL)
        self.assertTrue(self.ask().run)
        self.assertTrue(other.ask(SAVE_READ).run)

    def test_while_it_is_busy_a_visitor_waits_and_then_is_told_so(self):
        self.ask()
        with self.new_lab()._turn(self.folder), mock.patch.object(module, "WAIT", 0.1):
            with self.assertRaisesMessage(Unavailable, "busy"):
                self.ask()
        self.assertTrue(self.ask().run)

    def test_a_folder_that_another_account_could_open_is_refused(self):
        with mock.patch("tempfile.tempdir", str(self.folder)):
            folder_of_site().chmod(0o777)
            with self.assertRaisesMessage(Unavailable, "another account"):
                Lab().ask(SAVE_READ)

    def test_many_threads_get_the_answers_to_their_own_questions(self):
        wrong = []

        def ask(count):
            for _ in range(5):
                answer = self.ask(*LOST[:count])
                if answer.run.steps != LOST[:count]:
                    wrong.append(answer)

        threads = [threading.Thread(target=ask, args=[count]) for count in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def start(self, change):
        """Return a process in which the statement `change` was executed, and a connection."""
        listener = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        code = f"import time; from cars.learn import process; {change}; process.main()"
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            cwd=settings.BASE_DIR,
            env={**os.environ, **ENVIRON, "DJANGO_SETTINGS_MODULE": "carsite.settings"},
        )
        return child, self.enterContext(socket.create_connection(listener.getsockname()))

    def test_it_ends_itself_when_a_question_takes_too_long(self):
        child, asker = self.start("process.SECONDS = 1; process.answer = lambda _: time.sleep(600)")
        asker.sendall(b'{"recipe": "carsite", "case": "save-read"}\n')
        self.assertEqual(child.wait(timeout=60), -signal.SIGALRM)

    def test_it_ends_itself_when_nothing_is_asked_for_long(self):
        child, _ = self.start("process.IDLE = 0.1")
        self.assertEqual(child.wait(timeout=60), 0)


@override_settings(LAB=True)
class LabPageTests(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.enterClassContext(PATIENT)
        cls.addClassCleanup(lab.end)

    def get(self, **query):
        return self.client.get("/learn/lab/", query)

    def test_it_opens_with_the_recipe_of_2009(self):
        page = self.get()
        self.assertContains(page, '<option value="set-on-save" selected>')
        self.assertContains(page, "Who goes on?")

    def test_the_links_lead_to_a_stale_read_and_undo_goes_back(self):
        page = self.get()
        for step in LOST:
            links = {choice.id: url for choice, url in page.context["choices"]}
            page = self.client.get(links[step])
        self.assertContains(page, "You broke it")
        self.assertContains(page, "The next visitor is shown 0, although 1 is committed.")
        back = self.client.get(page.context["undo"])
        self.assertEqual(back.context["run"].steps, LOST[:-1])

    def test_a_hint_marks_a_step(self):
        self.assertContains(self.get(recipe="set-on-save", case="save-read", hint="on"), "hinted")

    def test_this_recipe_is_said_to_be_right_in_how_many_schedules(self):
        cell = recorded.grid()["carsite", "save-read", ""]
        page = self.get(recipe="carsite", case="save-read")
        self.assertContains(page, f"has run the {cell.schedules} schedules")
        self.assertNotContains(page, ">Hint<")

    def test_a_rule_can_be_switched_off(self):
        run = recorded.run("without-compare-the-token")
        url = pages.lab_url(run.recipe, run.case, run.without, run.steps)
        self.assertContains(self.client.get(url), "You broke it")

    def test_the_recorded_run_without_a_rule_is_the_hint_where_a_search_is_too_long(self):
        run = recorded.run("without-never-a-plain-delete")
        query = {"recipe": run.recipe, "case": run.case, "without": run.without}
        page = self.get(**query, steps=".".join(run.steps[:3]), hint="on")
        self.assertContains(page, "hinted")

    def test_where_a_search_is_too_long_the_recorded_shortest_run_is_the_hint(self):
        answer = lab.ask(Question("set-on-save", "save-read", steps=LOST[:2]))
        unknown = msgspec.structs.replace(answer, hint="unknown")
        with mock.patch.object(lab, "ask", return_value=unknown):
            page = self.get(recipe="set-on-save", case="save-read", steps="reader.reader")
        self.assertEqual(page.context["hint"], LOST[2])

    def test_a_schedule_that_is_not_possible_is_refused(self):
        page = self.get(recipe="set-on-save", case="save-read", steps="reader2")
        self.assertContains(page, "Possible steps: writer, reader.", status_code=400)
        self.assertContains(page, "Start this race again", status_code=400)

    def test_any_parameters_get_a_page(self):
        random = Random(2009)
        names = ["recipe", "case", "without", "steps", "hint"]
        values = [
            "",
            "set-on-save",
            "carsite",
            "save-read",
            "luck",
            "\0",
            "é" * 50,
            "reader." * 200,
        ]
        values += ["<script>alert(1)</script>", "reader..writer", "kill-writer", "fresh SELECT"]
        values += ["reader.lost.later", "../../etc", "x" * 5000]
        for _ in range(60):
            query = {name: random.choice(values) for name in names if random.random() < 0.8}
            with self.subTest(query):
                page = self.get(**query)
                self.assertIn(page.status_code, (200, 400))
                self.assertNotContains(page, "<script>alert", status_code=page.status_code)

    def test_a_post_is_not_allowed(self):
        self.assertEqual(self.client.post("/learn/lab/").status_code, 405)

    def test_a_process_that_gives_no_answer_is_a_503_with_a_way_on(self):
        busy = mock.patch.object(lab, "ask", side_effect=Unavailable("The lab is busy."))
        with busy, self.assertLogs("django.request", "ERROR"):
            self.assertContains(self.get(), "The lab is busy.", status_code=503)

    def test_with_the_lab_switched_off_the_page_leads_to_recorded_runs(self):
        with override_settings(LAB=False):
            page = self.get()
        self.assertContains(page, "recorded runs")
        self.assertContains(page, "LEARN_LAB=on")

    def test_the_address_holds_the_whole_schedule(self):
        page = self.get(recipe="set-on-save", case="save-read", steps="reader.reader")
        for choice, url in page.context["choices"]:
            query = parse_qs(urlsplit(url).query)
            self.assertEqual(query["steps"], [f"reader.reader.{choice.id}"])
            self.assertEqual((query["recipe"], query["case"]), (["set-on-save"], ["save-read"]))
