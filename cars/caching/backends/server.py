"""What this process knows of a Memcached server: whether it answers.

All threads share it. After a time-out the server is left alone, and once a second one thread asks
whether it is back. So a server that is away costs one thread a moment, and no other thread waits.

A server that answers only now and then would be found out anew each second. So a process that has
waited for an answer that didn't come is wary for a while: no server may be silent for longer than a
moment.
"""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

logger = logging.getLogger(__name__)

LEFT_ALONE = 1  # seconds between two questions whether a server is back
MOMENT = 0.02  # seconds: the least that a server has to answer
WARY = 10  # seconds after a time-out in which no server has longer than a MOMENT


class LeftAlone(ConnectionError):
    """The server didn't answer a moment ago, and isn't asked."""


class Server:
    """One server, which every client of this process with the same address shares."""

    wary_until = 0.0  # by `monotonic`; of the class, since it counts for all servers

    def __init__(self, address: Any) -> None:
        self.name = ":".join(map(str, address)) if isinstance(address, tuple) else str(address)
        self.away = ""  # why it is left alone; "" if it answers
        self._next_question = 0.0  # by `monotonic`

    def lose(self, reason: str, was_silent: bool = False) -> None:
        """Leave the server alone from now on, because of `reason`; say so if it is news.

        If it is news and the server `was_silent`, the process is wary of all servers.
        """
        now = monotonic()
        self._next_question = now + LEFT_ALONE
        if not self.away:
            # What was lost after a MOMENT may only be slow: it doesn't prolong this.
            if was_silent and now >= Server.wary_until:
                Server.wary_until = now + WARY
            logger.warning(
                "Memcached at %s doesn't answer (%s): objects are read from the database",
                self.name,
                reason,
            )
        self.away = reason

    def ask_again(self, question: Callable[[], object]) -> None:
        """Call `question` if it is this thread's turn, to see whether the server is back.

        Raises LeftAlone if it is another's, or not yet, and what `question` raises.
        """
        now = monotonic()
        if now < self._next_question:
            raise LeftAlone(f"{self.name} is left alone: {self.away}")
        # A time stamp, not a lock: a thread that is killed while it asks blocks no other.
        self._next_question = now + LEFT_ALONE
        question()
        self.away = ""
        logger.warning("Memcached at %s answers again", self.name)


def patience(seconds: float) -> float:
    """Return how long a server may be silent: `seconds`, or a MOMENT while this process is wary."""
    return min(seconds, MOMENT) if monotonic() < Server.wary_until else seconds


_servers: dict[Any, Server] = {}


def server_at(address: Any) -> Server:
    """Return what this process knows of the server at `address`."""
    return _servers.setdefault(address, Server(address))
