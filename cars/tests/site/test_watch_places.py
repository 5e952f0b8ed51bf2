"""A page that watches, at a real web server: its place, and the thread that it occupies."""

import os
import socket
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from subprocess import run
from unittest import skipUnless
from urllib.error import HTTPError

from django.conf import settings
from django.test import SimpleTestCase, tag
from pymemcache.client.base import Client

from cars.lab import servers
from cars.tests.support.watching import logged_in

DEADLINE = 30  # seconds for a place to be free again; much more than it takes
EVENTS = 2_000  # of the log
BUFFER = 4096  # bytes of each of the sockets' two buffers, so that the events don't fit
SET_UP = (
    "from django.core.management import call_command;"
    "from cars.management.commands.demo import make_account;"
    "call_command('migrate', verbosity=0); make_account()"
)


@tag("any-database")
@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class PlaceTests(SimpleTestCase):
    def setUp(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.memcached = self.enterContext(servers.memcached())
        environ = {
            "DJANGO_DEBUG": "on",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "MEMCACHED_SERVERS": self.memcached,
            "WATCH_FROM_START": "on",
        }
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "shell", "-c", SET_UP]
        run(command, check=True, capture_output=True, env={**os.environ, **environ})
        self.log = folder / "log"
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER
        )  # accepted ones have it too
        self.address = listener.getsockname()
        self.root = "http://{}:{}".format(*self.address)
        self.url = f"{self.root}/watch/events"
        # One place: a quarter of the threads that the command line names.
        options = ("--config", "python:carsite.gunicorn", "--threads", "4")
        with self.log.open("wb") as log:
            site = servers.site(listener, command=servers.gunicorn(*options), log=log, **environ)
            self.enterContext(site)

    def status(self, browser):
        """Return the status of one more page that begins to watch, and leaves at once."""
        try:
            with browser.open(self.url) as answer:
                return answer.status
        except HTTPError as error:
            with error:
                return error.code

    def wait_until(self, browser, status):
        deadline = time.monotonic() + DEADLINE
        while (found := self.status(browser)) != status:
            self.assertLess(time.monotonic(), deadline, f"still {found}: {self.log.read_text()}")
            time.sleep(0.1)

    def log_much(self, browser):
        """Let so much happen that what a page gets at first doesn't fit into the buffers."""
        with closing(Client(self.memcached)) as client:
            for n in range(EVENTS):
                client.set(f"{settings.CACHE_KEY_PREFIX}:1:Car.{n}", b"")
        size = 0
        with browser.open(self.url) as answer:
            while size < 10 * BUFFER:
                self.assertTrue(piece := answer.read1(), f"only {size} bytes")
                size += len(piece)

    def watch_without_reading(self, cookie):
        """Begin to watch, and read the status line only."""
        request = f"GET /watch/events HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
        deadline = time.monotonic() + DEADLINE
        status = b""
        while not status.endswith(b"200") and time.monotonic() < deadline:
            client = self.enterContext(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            client.settimeout(DEADLINE)
            client.connect(self.address)
            client.sendall(request.encode())
            status = client.recv(len("HTTP/1.1 200"))
        self.assertEqual(status, b"HTTP/1.1 200")

    def test_a_browser_that_does_not_read_loses_its_place_and_the_log_has_no_traceback(self):
        browser, cookie = logged_in(self.root)
        self.log_much(browser)
        self.watch_without_reading(cookie)
        self.assertEqual(self.status(browser), 503)
        self.wait_until(browser, 200)
        self.assertNotIn("Traceback", self.log.read_text())
