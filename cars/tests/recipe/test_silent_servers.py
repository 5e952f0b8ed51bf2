"""How long a server may be silent: less after one was silent for the whole time-out."""

import socket
from unittest import mock

from django.test import SimpleTestCase

from cars.caching.backends import client, server, timed
from cars.caching.backends.client import SafeClient, SafeHashClient
from cars.caching.backends.server import LEFT_ALONE, MOMENT, WARY, Server
from cars.caching.backends.timed import LARGE

USUAL = 0.25
VALUE = b"VALUE a 0 1\r\nx\r\nEND\r\n"
SILENCE = None  # in place of an answer


class Network:
    """A socket module for pymemcache; its servers answer with one of `answers` after the other.

    `waits` has the seconds that each wait for a server could have taken. After each step
    `busy` seconds pass, in which the thread doesn't run.
    """

    AF_UNIX, SOCK_STREAM = socket.AF_UNIX, socket.SOCK_STREAM

    def __init__(self):
        self.answers, self.waits, self.now, self.busy = [], [], 1000.0, 0.0
        self.refuses = False

    def monotonic(self):
        return self.now

    def socket(self, *args):
        return Connection(self)


class Connection:
    """One connection to a server of `network`."""

    def __init__(self, network):
        self.network = network

    def settimeout(self, seconds):
        self.seconds = seconds

    def connect(self, address):
        self.network.waits.append(("connect", self.seconds))
        if self.network.refuses:
            raise ConnectionRefusedError

    def sendall(self, data):
        self.network.waits.append(("send", self.seconds))
        self.network.now += self.network.busy

    def recv(self, size):
        self.network.waits.append(("receive", self.seconds))
        answer = self.network.answers.pop(0)
        self.network.now += self.seconds if answer is SILENCE else self.network.busy
        if answer is SILENCE:
            raise TimeoutError
        return answer

    def close(self):
        pass


class SilentServerTests(SimpleTestCase):
    """The seconds that servers get. The clock stands still, except while one is silent."""

    def setUp(self):
        self.network = Network()
        for module in (client, server, timed):
            self.enterContext(mock.patch.object(module, "monotonic", self.network.monotonic))
        self.enterContext(mock.patch.object(server, "_servers", {}))
        self.enterContext(mock.patch.object(Server, "wary_until", 0.0))
        self.first, self.second = self.new("/first"), self.new("/second")

    def new(self, path, seconds=USUAL):
        times = {"timeout": seconds, "connect_timeout": seconds}
        return SafeClient(path, ignore_exc=True, socket_module=self.network, **times)

    def get(self, client, *answers):
        """Let `client` get a value, with these parts of an answer; return it, and each wait."""
        self.network.answers, self.network.waits = list(answers), []
        return client.get("a"), [seconds for _, seconds in self.network.waits]

    def lose_first(self):
        with self.assertLogs("cars.caching", "WARNING"):
            self.get(self.first, SILENCE)

    def waits(self, client):
        """Return the longest wait of a new command of `client`."""
        value, waits = self.get(client, VALUE)
        self.assertEqual(value, b"x")
        return max(waits)

    def test_a_server_has_the_whole_time_out_at_first(self):
        self.assertEqual(self.waits(self.first), USUAL)
        self.assertEqual(self.waits(self.first), USUAL)

    def test_after_a_silence_another_server_has_a_moment_to_connect_and_to_answer(self):
        self.lose_first()
        self.assertEqual(self.get(self.second, VALUE), (b"x", [MOMENT] * 3))

    def test_after_a_silence_a_connection_that_was_open_before_has_a_moment(self):
        for _ in range(3):
            self.waits(self.second)
        self.lose_first()
        self.assertEqual(self.waits(self.second), MOMENT)

    def test_the_silent_server_has_a_moment_when_it_answers_again(self):
        self.lose_first()
        self.network.now += LEFT_ALONE
        with self.assertLogs("cars.caching", "WARNING"):
            value, waits = self.get(self.first, b"VERSION 1\r\n", VALUE)
        self.assertEqual((value, max(waits)), (b"x", MOMENT))

    def test_later_servers_have_the_whole_time_out_again(self):
        self.lose_first()
        self.waits(self.second)
        self.network.now += WARY
        for _ in range(3):
            self.assertEqual(self.waits(self.second), USUAL)
        self.second.close()
        self.assertEqual(self.get(self.second, VALUE), (b"x", [USUAL] * 3))

    def test_a_server_that_is_slower_than_a_moment_does_not_prolong_this(self):
        self.lose_first()
        self.network.now += WARY - 1
        with self.assertLogs("cars.caching", "WARNING"):
            self.get(self.second, SILENCE)
        self.network.now += 1
        self.assertEqual(self.waits(self.new("/third")), USUAL)

    def test_a_server_that_stays_away_does_not_prolong_this(self):
        self.lose_first()
        self.network.now += WARY
        self.get(self.first, SILENCE)  # to the question whether it is back
        self.assertEqual(self.waits(self.second), USUAL)

    def test_a_refused_connection_is_no_silence(self):
        self.network.refuses = True
        with self.assertLogs("cars.caching", "WARNING"):
            self.get(self.first)
        self.network.refuses = False
        self.assertEqual(self.waits(self.second), USUAL)

    def test_each_part_of_an_answer_has_a_moment_and_all_of_it_the_time_out(self):
        self.lose_first()
        parts = [VALUE[at : at + 1] for at in range(len(VALUE))]
        self.assertEqual(self.get(self.second, *parts), (b"x", [MOMENT] * (2 + len(VALUE))))
        self.network.busy = MOMENT
        with self.assertLogs("cars.caching", "WARNING"):
            value, waits = self.get(self.second, *parts)
        self.assertFalse(value)
        self.assertLess(len(waits), len(VALUE))

    def test_an_answer_that_waits_for_the_thread_to_run_is_no_silence(self):
        self.lose_first()
        self.network.busy = 2 * MOMENT
        self.assertEqual(self.get(self.second, VALUE[:9], VALUE[9:])[0], b"x")

    def test_nor_is_that_of_the_second_server_that_a_page_asks(self):
        times = {"timeout": USUAL, "connect_timeout": USUAL}
        page = SafeHashClient([], ignore_exc=True, socket_module=self.network, **times)
        for each in ("/first", "/second"):
            page.add_server(each)
        with page.one_deadline(), self.assertLogs("cars.caching", "WARNING") as logs:
            self.get(page.clients["/first"], SILENCE)
            self.network.busy = 2 * MOMENT
            self.assertEqual(self.get(page.clients["/second"], VALUE[:9], VALUE[9:])[0], b"x")
        self.assertEqual(len(logs.records), 1)

    def test_a_command_with_much_data_has_the_whole_time_out(self):
        self.waits(self.second)
        self.lose_first()
        self.network.answers, self.network.waits = [b"STORED\r\n"], []
        self.assertTrue(self.second.set("a", b"x" * LARGE, noreply=False))
        self.assertEqual(self.network.waits, [("send", USUAL), ("receive", USUAL)])

    def test_a_time_out_shorter_than_a_moment_stays_as_it_is(self):
        self.lose_first()
        self.assertEqual(self.waits(self.new("/third", MOMENT / 4)), MOMENT / 4)

    def test_no_time_out_stays_none(self):
        self.lose_first()
        self.assertEqual(self.get(self.new("/third", None), VALUE), (b"x", [None] * 3))

    def test_a_listing_keeps_its_own(self):
        self.lose_first()
        with (
            mock.patch.object(Connection, "makefile", create=True),
            self.new("/third", 10).opened(),
        ):
            self.assertEqual(self.network.waits[-1], ("connect", 10))
