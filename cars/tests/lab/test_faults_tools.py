"""The tools of a run of a fault: what measures waits, holds locks, kills, and fails the network."""

import socket
import time
from os import getpid, getppid
from types import SimpleNamespace
from unittest import mock, skipUnless

from django.test import SimpleTestCase, tag

from cars.lab import servers
from cars.lab.faults import breaking, waits
from cars.lab.faults.history import History
from cars.lab.faults.killed import Steps
from cars.lab.faults.proxy import Mode, Proxy


@tag("any-database")
class WaitsTests(SimpleTestCase):
    """How long the page of this thread waits for a server."""

    def connected(self, server):
        """Return a client's socket, connected to `server`, and the other end."""
        client = self.enterContext(waits.socket(socket.AF_INET, socket.SOCK_STREAM))
        client.settimeout(0.02)
        client.connect(server.getsockname())
        return client, self.enterContext(server.accept()[0])

    def test_a_page_waits_for_an_answer_that_does_not_come(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            client, end = self.connected(server)
            waits.begin()
            client.sendall(b"version\r\n")
            end.sendall(b"VERSION 1\r\n")
            client.recv(11)
            self.assertEqual(waits.seconds(), 0)
            with self.assertRaises(TimeoutError):
                client.recv(11)
            self.assertGreater(waits.seconds(), 0)
            waits.begin()
            self.assertEqual(waits.seconds(), 0)

    def test_a_page_waits_for_a_connection_that_is_refused(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
        waits.begin()
        with waits.socket(waits.AF_INET, waits.SOCK_STREAM) as client:
            with self.assertRaises(ConnectionRefusedError):
                client.connect(address)
        self.assertGreater(waits.seconds(), 0)


@tag("any-database")
class LockTests(SimpleTestCase):
    """What a fault says of the lock that it holds. The clock moves in its pauses only."""

    def test_it_says_how_long_it_has_locked_the_database(self):
        clock = SimpleNamespace(monotonic=lambda: clock.now, now=0.0)

        def sleep(seconds):
            clock.now += seconds

        clock.sleep = sleep
        history, stage = History({1: 1}, begun=0), mock.MagicMock()
        deadline = time.monotonic() + 10
        with (
            mock.patch.object(breaking, "time", clock),
            breaking.restarted_under_open_writes(stage, history),
        ):
            while not history.locks:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
        self.assertAlmostEqual(history.locks[0], 0.2 + 0.4)


@tag("any-database")
class StepsTests(SimpleTestCase):
    """At which step a writer is killed."""

    def test_there_is_a_step_before_and_after_each_call_and_the_last_one_kills(self):
        for last, calls in ((1, 0), (2, 1), (3, 1)):
            done = []
            steps = Steps(last)
            with self.subTest(last), mock.patch("os.kill", side_effect=InterruptedError):
                with self.assertRaises(InterruptedError):
                    steps.around(done.append)("first")
                    steps.around(lambda what: None)("second")
                self.assertEqual(len(done), calls)


@tag("any-database")
@skipUnless(servers.has_memcached(), "no memcached on the PATH")
class ProxyTests(SimpleTestCase):
    """What a client gets from the proxy."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        port = int(cls.enterClassContext(servers.memcached()).split(":")[1])
        cls.proxy = cls.enterClassContext(Proxy(port).running())

    def answer(self, mode, command=b"set a 0 0 1\r\nx\r\n", length=8, timeout=10):
        """Return `length` bytes of what comes back, or less if no more come in `timeout` s."""
        with (
            self.proxy.doing(mode),
            socket.create_connection(("127.0.0.1", self.proxy.port), timeout=timeout) as client,
        ):
            client.sendall(command)
            answer = b""
            try:
                while len(answer) < length and (more := client.recv(length - len(answer))):
                    answer += more
            except TimeoutError:
                pass
            return answer

    def test_it_passes_commands_with_data_and_their_answers_on(self):
        commands = b"set a 0 0 5\r\nget\r\n\r\nget a\r\n"
        answer = b"STORED\r\nVALUE a 0 5\r\nget\r\n\r\nEND\r\n"
        self.assertEqual(self.answer(Mode(), commands, len(answer)), answer)

    def test_it_answers_wrong(self):
        self.assertEqual(self.answer(Mode("error"), length=7), b"ERROR\r\n")
        self.assertEqual(self.answer(Mode("out of memory"), length=12), b"SERVER_ERROR")
        self.assertEqual(self.answer(Mode("out of memory"), b"get none\r\n", 5), b"END\r\n")
        self.assertEqual(len(self.answer(Mode("garbage"), length=62)), 62)
        self.assertEqual(len(self.answer(Mode("endless"), length=9_000)), 9_000)

    def test_it_closes_or_resets_the_connection(self):
        self.assertEqual(self.answer(Mode("cut")), b"STOR")
        with self.assertRaises(ConnectionResetError):
            self.answer(Mode("reset"))

    def test_a_silent_one_and_a_late_one_give_no_answer_in_time(self):
        self.assertEqual(self.answer(Mode("silent"), timeout=0.1), b"")
        self.assertEqual(self.answer(Mode("late", seconds=60), timeout=0.1), b"")

    def test_a_lost_answer_is_that_of_a_command_that_was_done(self):
        self.assertEqual(self.answer(Mode("lost"), b"set lost 0 0 1\r\nx\r\n", timeout=0.1), b"")
        answer, deadline = b"END\r\n", time.monotonic() + 10
        while answer == b"END\r\n" and time.monotonic() < deadline:
            answer = self.answer(Mode(), b"get lost\r\n", 5)
        self.assertEqual(answer, b"VALUE")

    def test_late_answers_and_single_bytes_come_in_the_end(self):
        self.assertEqual(self.answer(Mode("late", seconds=0.1)), b"STORED\r\n")
        self.assertEqual(self.answer(Mode("drip", seconds=0.02)), b"STORED\r\n")

    def test_it_can_be_wrong_to_one_process_only(self):
        this, another = getpid(), getppid()
        self.assertEqual(self.answer(Mode("error", pid=this), length=7), b"ERROR\r\n")
        self.assertEqual(self.answer(Mode("error", pid=another)), b"STORED\r\n")
