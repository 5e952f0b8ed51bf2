"""`manage.py demo`, run in a subprocess."""

import errno
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from unittest import skipUnless
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.http import HttpRequest
from django.test import SimpleTestCase, TestCase, tag
from django.urls import reverse

from cars.lab import servers
from cars.management.commands.demo import ACCOUNT, PASSWORD, make_account

DEADLINE = 60  # seconds, for a busy machine; a browser would keep its connection open forever


class Demo:
    """A `manage.py demo` process on a free port; `end()` stops it."""

    def __init__(self, options, environ):
        self.process = subprocess.Popen(
            [sys.executable, settings.BASE_DIR / "manage.py", "demo", "--port", "0", *options],
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.output = ""

    def wait_until_it_serves(self):
        while not self.output.endswith("Ctrl-C ends it.\n"):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"it did not start: {self.output}")
            self.output += line
        url = urlsplit(re.search(r"^Site +(\S+)$", self.output, re.M)[1])
        self.address = (url.hostname, url.port)

    def get(self, path):
        """Fetch the page at `path`; return the connection, which stays open."""
        connection = HTTPConnection(*self.address, timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, f"{path}: {response.status}"
        return connection

    def end(self, number=signal.SIGTERM):
        """Send the signal `number`, and wait until the process has ended."""
        self.process.send_signal(number)
        self.output += self.process.communicate(timeout=DEADLINE)[0]


@tag("any-database")
class DemoTests(SimpleTestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.database = self.folder / "db.sqlite3"
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()

    def start(self, *options, **environ):
        demo = Demo(
            options,
            {
                **os.environ,
                "DJANGO_DEBUG": "on",
                "DATABASE_URL": f"sqlite:///{self.database}",
                "MEMCACHED_SERVERS": "",
                "TMPDIR": str(self.temporary),
                **environ,
            },
        )
        # Not communicate(), which waits forever if a leftover process keeps the output open.
        self.addCleanup(demo.process.stdout.close)
        self.addCleanup(demo.process.wait, 20)
        self.addCleanup(demo.process.terminate)
        return demo

    def serve(self, *options, **environ):
        demo = self.start(*options, **environ)
        demo.wait_until_it_serves()
        return demo

    def query(self, sql):
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(sql).fetchall()

    def assertNothingListens(self, address):
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5).close()

    def test_ctrl_c_ends_the_demo_while_a_browser_is_connected(self):
        demo = self.serve(PATH=str(self.temporary))
        self.assertIn("no `memcached` on the PATH", demo.output)
        with closing(demo.get("/cars/1/")):
            demo.end(signal.SIGINT)
        self.assertEqual(demo.process.returncode, 0, demo.output)
        self.assertTrue(demo.output.endswith("Ctrl-C ends it.\n\nStopped.\n"), demo.output)
        self.assertNothingListens(demo.address)
        self.assertEqual(list(self.temporary.iterdir()), [])

    @skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
    def test_sigterm_ends_the_demo_and_its_memcached(self):
        demo = self.serve()
        memcached = re.search(r"Memcached at ([\d.]+):(\d+)", demo.output)
        memcached = (memcached[1], int(memcached[2]))
        socket.create_connection(memcached).close()
        demo.end()
        self.assertEqual(demo.process.returncode, 0, demo.output)
        self.assertNothingListens(demo.address)
        self.assertNothingListens(memcached)

    @skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
    def test_a_signal_stops_the_memcached_and_another_starts_it_at_the_same_address(self):
        demo = self.serve()
        host, port = re.search(r"Memcached at ([\d.]+):(\d+)", demo.output).groups()
        for number, code in ((signal.SIGUSR1, errno.ECONNREFUSED), (signal.SIGUSR2, 0)):
            demo.process.send_signal(number)
            deadline = time.monotonic() + DEADLINE
            found = None
            while found != code and time.monotonic() < deadline:
                with socket.socket() as probe:
                    found = probe.connect_ex((host, int(port)))
                time.sleep(0.05)
            self.assertEqual(found, code, number)
        demo.end()
        self.assertNothingListens((host, int(port)))

    def test_the_demo_uses_the_memcached_in_memcached_servers(self):
        demo = self.serve(MEMCACHED_SERVERS="127.0.0.1:1")
        self.assertIn("Memcached at 127.0.0.1:1, from MEMCACHED_SERVERS", demo.output)

    def test_the_cars_are_loaded_once_and_again_after_a_reset(self):
        self.serve().end()
        [[loaded]] = self.query("SELECT count(*) FROM cars_car")
        self.assertGreaterEqual(loaded, 300)
        self.query("DELETE FROM cars_car WHERE id > 1")
        self.serve().end()
        self.assertEqual(self.query("SELECT count(*) FROM cars_car"), [(1,)])
        self.serve("--reset").end()
        self.assertEqual(self.query("SELECT count(*) FROM cars_car"), [(loaded,)])

    @skipUnless(Path("/proc/self/task").exists(), "finds gunicorn in Linux's /proc")
    def test_the_demo_fails_when_gunicorn_ends(self):
        demo = self.serve(PATH=str(self.temporary))
        pid = demo.process.pid
        gunicorn = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        os.kill(gunicorn, signal.SIGTERM)
        demo.output += demo.process.communicate(timeout=20)[0]
        self.assertEqual(demo.process.returncode, 1, demo.output)
        self.assertIn("gunicorn ended with status 0", demo.output)
        self.assertNotIn("Traceback", demo.output)

    def test_the_demo_fails_if_gunicorn_does_not_start(self):
        demo = self.start(GUNICORN_CMD_ARGS="--no-such-option")
        demo.output += demo.process.communicate(timeout=20)[0]
        self.assertEqual(demo.process.returncode, 1, demo.output)
        self.assertIn("The demo doesn't start: the web server ended with status 2.", demo.output)

    def test_a_port_in_use_gives_one_line_that_says_what_to_do(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            demo = self.start("--port", str(port))
            demo.output += demo.process.communicate(timeout=20)[0]
        self.assertEqual(demo.process.returncode, 1)
        self.assertEqual(
            demo.output,
            f"CommandError: Port {port} of 127.0.0.1 is in use. Stop what uses it, or choose "
            f"another port: manage.py demo --port {port + 1}, or make demo PORT={port + 1}.\n",
        )
        self.assertFalse(self.database.exists())

    def test_the_demo_does_not_run_without_debug(self):
        with self.assertRaisesMessage(CommandError, "doesn't run with DJANGO_DEBUG off"):
            call_command("demo")  # tests have debug off


def log_in(client):
    """Log `client` in with the demo's account; return whether that worked."""
    return client.login(request=HttpRequest(), username=ACCOUNT, password=PASSWORD)


class AccountTests(TestCase):
    def test_the_account_has_all_permissions_for_cars_and_no_others(self):
        make_account()
        self.assertTrue(log_in(self.client))
        self.assertEqual(self.client.get(reverse("admin:index")).status_code, 200)
        user = get_user_model().objects.get(username=ACCOUNT)
        self.assertTrue(user.is_staff)
        self.assertFalse(user.is_superuser)
        self.assertEqual(
            user.get_all_permissions(),
            {f"cars.{action}_car" for action in ("add", "change", "delete", "view")},
        )

    def test_a_changed_password_is_reset_and_an_unchanged_one_keeps_sessions(self):
        make_account()
        log_in(self.client)
        make_account()
        self.assertEqual(self.client.get(reverse("admin:index")).status_code, 200)
        user = get_user_model().objects.get(username=ACCOUNT)
        user.set_password("another")
        user.save()
        make_account()
        self.assertTrue(log_in(self.client))
