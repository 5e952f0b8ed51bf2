"""Counts cache commands at the servers, round trips and bytes at their sockets, and queries."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from unittest import SkipTest

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from pymemcache.client.base import Client, normalize_server_spec

from cars.lab import servers
from carsite import settings as site

# The names of the commands in Memcached's `stats`; a `get` of many keys counts once for each key.
COMMANDS = {
    "get": ["cmd_get"],
    "set": ["cmd_set"],  # add and cas too
    "other": ["cmd_touch", "cmd_flush", "cmd_meta", "get_flushed"]
    + [f"{name}_{end}" for name in ("delete", "incr", "decr") for end in ("hits", "misses")],
}


@dataclass
class Cost:
    """Queries (SQL), cache commands by name (one for each key), and round trips to the cache."""

    queries: list[str] = field(default_factory=list)
    commands: dict[str, int] = field(default_factory=dict)
    round_trips: int = 0
    sent: int = 0  # bytes
    received: int = 0  # bytes

    @property
    def selects(self) -> int:
        return sum(sql.startswith("SELECT") for sql in self.queries)

    @property
    def total(self) -> int:
        """The number of cache commands."""
        return sum(self.commands.values())


class _Socket(socket.socket):
    """Counts, for all sockets together, the calls of `sendall`, and bytes."""

    calls = sent = received = 0

    def sendall(self, data, *args):
        _Socket.calls += 1
        _Socket.sent += len(data)
        return super().sendall(data, *args)

    def recv(self, *args):
        data = super().recv(*args)
        _Socket.received += len(data)
        return data


_sockets = ModuleType("counting_sockets")
vars(_sockets).update(vars(socket) | {"socket": _Socket})


class CostMixin:
    """Starts Memcached servers for its tests alone, so that they can count."""

    SERVERS = 1

    @classmethod
    def setUpClass(cls):
        if not servers.has_memcached():
            raise SkipTest("no Memcached: put `memcached` on the PATH")
        super().setUpClass()
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        addresses = [stack.enter_context(servers.memcached()) for _ in range(cls.SERVERS)]
        caches = site.caches(addresses)
        # Longer than a busy machine takes to answer: a time-out would count no round trip.
        times = {"timeout": 10, "connect_timeout": 10}
        caches["default"]["OPTIONS"] |= {"socket_module": _sockets, **times}
        stack.enter_context(override_settings(CACHES=caches))
        # These use sockets that are not counted.
        cls.servers = [Client(normalize_server_spec(address)) for address in addresses]
        for server in cls.servers:
            stack.callback(server.close)

    def empty(self):
        """Empty the cache."""
        for server in self.servers:
            server.flush_all(noreply=False)

    @contextmanager
    def counted(self) -> Iterator[Cost]:
        """Yield a Cost that is filled in at the end of the block."""
        cost = Cost()
        commands = self._commands()
        calls, sent, received = _Socket.calls, _Socket.sent, _Socket.received
        with CaptureQueriesContext(connection) as captured:
            yield cost
        cost.queries = [query["sql"] for query in captured]
        cost.round_trips = _Socket.calls - calls
        cost.sent, cost.received = _Socket.sent - sent, _Socket.received - received
        cost.commands = {name: now - commands[name] for name, now in self._commands().items()}

    def _commands(self) -> dict[str, int]:
        stats = [server.stats() for server in self.servers]
        return {
            name: sum(of_server.get(field.encode(), 0) for of_server in stats for field in fields)
            for name, fields in COMMANDS.items()
        }
