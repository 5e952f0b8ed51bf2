"""Helpers for the tests of /watch/."""

import json
import re
from http.cookiejar import CookieJar
from threading import BoundedSemaphore
from unittest import skipUnless
from unittest.mock import patch
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from django.contrib.auth.models import User
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TestCase, override_settings

from cars.caching.backends import base
from cars.insight.watch import recorder, stream, views
from cars.lab import servers

from .caches import empty_cache, on_servers

PLACES = 3  # for pages that watch at once


class Events:
    """The server-sent events of a response, in the order of their arrival."""

    def __init__(self, response):
        self.response = response
        self._blocks = iter(response.streaming_content)
        self.id = ""  # of the last event that has one
        self.seconds = {0: (0, 0)}  # fetches that found something, and nothing

    def __iter__(self):
        """Yield the name and the data of each event; a heartbeat has the name "heartbeat"."""
        for block in self._blocks:
            fields = dict(line.split(": ", 1) for line in block.decode().strip().splitlines())
            if "" in fields:
                yield "heartbeat", fields[""]
            elif "retry" in fields:
                yield "retry", int(fields["retry"])
            else:
                data = json.loads(fields["data"])
                self.id = fields.get("id", self.id)
                if fields["event"] == "log":
                    self.seconds |= {second: each for second, *each in data["seconds"]}
                yield fields["event"], data

    def next(self, wanted):
        """Return the data of the next event with the name `wanted`."""
        return next(data for name, data in self if name == wanted)

    def lines(self, is_last):
        """Return the events of the log until one of which `is_last` is true, with it."""
        lines = []
        for name, data in self:
            for event in data["events"] if name == "log" else []:
                lines.append(event)
                if is_last(event):
                    return lines
        raise AssertionError(f"the stream has ended: {lines}")

    def fetches(self, count):
        """Return how many fetches found something, and nothing, as soon as they are `count`."""
        for _ in self:
            found, missing = (sum(each) for each in zip(*self.seconds.values(), strict=True))
            if found + missing >= count:
                return found, missing
        raise AssertionError(f"the stream has ended: {self.seconds}")

    def texts(self, key, *wanted):
        """Return the log lines of `key` until lines begin with each of `wanted`, in this order."""
        texts, left = [], list(wanted)
        for name, data in self:
            for event in data["events"] if name == "log" else []:
                if event["key"] == key:
                    texts.append(event["text"])
                    if left and texts[-1].startswith(left[0]):
                        del left[0]
            if not left:
                return texts
        raise AssertionError(f"the stream has ended without {left}: {texts}")


def close(response):
    """Close the stream as a server does, but keep the connection that the test needs."""
    with patch.object(BaseDatabaseWrapper, "close_if_unusable_or_obsolete"):
        response.close()


def logged_in(root: str) -> tuple[OpenerDirector, str]:
    """Log in to the demo at the URL `root`; return a browser, and the Cookie that it sends."""
    cookies = CookieJar()
    browser = build_opener(HTTPCookieProcessor(cookies))
    form = browser.open(f"{root}/accounts/login/", timeout=10).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)[1]
    data = {"csrfmiddlewaretoken": token, "username": "demo", "password": "demo"}
    browser.open(f"{root}/accounts/login/", urlencode(data).encode(), timeout=10).close()
    return browser, "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies)


@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class WatchTestCase(TestCase):
    """Tests with a new server, whose log and totals show only what the test does."""

    @classmethod
    def setUpClass(cls):
        cls.enterClassContext(on_servers([cls.enterClassContext(servers.memcached())]))
        super().setUpClass()

    @classmethod
    def setUpTestData(cls):
        cls.staff = User.objects.create_user("staff", is_staff=True)
        cls.visitor = User.objects.create_user("visitor")

    def setUp(self):
        empty_cache()
        # The log shows the keys of the site, which have no namespace of a test.
        self.enterContext(patch.object(base, "test_namespace", return_value=""))
        self.client.force_login(self.staff)
        self.client.defaults["wsgi.multithread"] = True
        self.enterContext(patch.multiple(stream, LENGTH=10))
        # A recorder ends with its test; its thread needs no database.
        self.enterContext(patch.multiple(recorder, UNUSED=5, OFTEN=0.02, SECOND=0.2, SELDOM=0.2))
        self.enterContext(patch.object(views, "places", BoundedSemaphore(PLACES)))
        self.enterContext(override_settings(WATCH_PLACES=PLACES))

    def watch(self):
        """Return the events of a new stream, once it watches all servers."""
        response = self.client.get("/watch/events")
        self.assertEqual(response.status_code, 200)
        self.addCleanup(close, response)
        events = Events(response)
        while not all(each["watching"] for each in events.next("totals")["servers"]):
            pass
        return events
