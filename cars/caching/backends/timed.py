"""One deadline for the whole of a command: sent, and answered to the end."""

from time import monotonic
from typing import Any

from pymemcache.client.base import Client

from .server import MOMENT, Server, patience

LARGE = 65_536  # bytes: sending so much can take a while


class TimedSocket:
    """A client's socket, on which a command with all of its answer takes `timeout` at most.

    A socket's own timeout counts for each `recv`: a server that sends a byte now and then would
    hold a page for as long as it likes. While the process is wary (see `server`), each `recv` takes
    a MOMENT at most as well. Waiting for this thread's turn to run is no part of that.
    """

    def __init__(self, sock: Any, client: "TimedClient", ends: float) -> None:
        self._sock, self._send, self._receive = sock, sock.sendall, sock.recv
        self._client = client
        self._seconds = self._silence = self._timeout = client.timeout
        self._ends = ends  # of the first command: connecting is a part of it
        self._was_used = False
        self._is_usual = False  # it was used, and its own timeout is that of a command
        self._is_sent = False  # and the answer has not begun

    def sendall(self, data: bytes) -> None:
        """Send a command, whose time begins now."""
        now = monotonic()
        if self._is_usual and self._client.deadline is None and now >= Server.wary_until:
            self._ends = now + self._seconds
        else:
            self._begin(now, len(data))
        self._send(data)
        self._is_sent = len(data) < LARGE

    def _begin(self, now: float, size: int) -> None:
        if self._was_used:  # what was sent before was answered: else it would be closed
            self._client.has_answered = True
            self._ends = now + self._seconds
        self._was_used = True
        self._silence = self._seconds if size >= LARGE else patience(self._seconds)
        if self._client.deadline is not None and self._silence == self._seconds:
            # A server whose turn comes late isn't taken for one that is away.
            self._ends = max(self._client.deadline, now + MOMENT)
        self._limit(self._ends - now)
        self._is_usual = self._client.has_answered and self._timeout == self._seconds

    def recv(self, size: int) -> bytes:
        """Return what arrives next of the answer; raises TimeoutError when the time is over."""
        if self._is_sent:  # a moment ago: the time is still that of `sendall`
            self._is_sent = False
        else:
            self._limit(self._ends - monotonic())
        data: bytes = self._receive(size)
        return data

    def _limit(self, left: float) -> None:
        """Let the socket wait for `left` seconds at most."""
        if left <= 0:
            raise TimeoutError("timed out")
        # Python asks the kernel at each change, so small differences aren't worth one.
        if left > self._seconds - MOMENT / 2:
            left = self._seconds
        left = min(left, self._silence)
        if abs(left - self._timeout) > MOMENT / 2:
            self._timeout = left
            self._is_usual = False
            self._sock.settimeout(left)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class TimedClient(Client):  # type: ignore[misc]  # pymemcache has no stubs
    """pymemcache's client for one server, with one deadline for the whole of a command."""

    deadline: float | None = None  # of several servers together, by `monotonic`
    has_answered = False  # a whole command, over this connection

    sock: Any
    connect_timeout: float | None

    def _connect(self) -> None:
        began, usual = monotonic(), self.connect_timeout
        self.has_answered = False
        self.connect_timeout = usual and patience(usual)
        try:
            super()._connect()
        finally:
            self.connect_timeout = usual
        if self.timeout is not None:
            self.sock = TimedSocket(self.sock, self, began + self.timeout)
