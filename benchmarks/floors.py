"""The floors: get the bytes that the recipe stores, and discard them. Hardly anything is faster."""

import socket
from typing import Any

from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient

TIMEOUTS = {"connect_timeout": 0.5, "timeout": 0.5}  # as in the recipe, where they take time too


class RawSocket:
    """A socket that sends the command and reads the response without parsing it."""

    title = "raw socket"

    def __init__(self, server: str, keys: dict[int, str]) -> None:
        host, port = server.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.keys = keys

    def one(self, pk: int) -> bytes:
        """Get one item."""
        return self._get(self.keys[pk])

    def many(self, pks: list[int]) -> bytes:
        """Get many items at once."""
        return self._get(" ".join([self.keys[pk] for pk in pks]))

    def _get(self, names: str) -> bytes:
        self.socket.sendall(f"get {names}\r\n".encode())
        answer = self.socket.recv(65536)
        while not answer.endswith(b"END\r\n"):
            answer += self.socket.recv(65536)
        return answer


class SingleClient:
    """pymemcache's client for one server."""

    title = "Client"

    def __init__(self, server: str, keys: dict[int, str]) -> None:
        self.client = Client(server, no_delay=True, **TIMEOUTS)
        self.keys = keys

    def one(self, pk: int) -> Any:
        """Get one item."""
        return self.client.get(self.keys[pk])

    def many(self, pks: list[int]) -> Any:
        """Get many items at once."""
        return self.client.get_many([self.keys[pk] for pk in pks])


class HashingClient(SingleClient):
    """pymemcache's client for many servers, here with one. Django uses it."""

    title = "HashClient"

    def __init__(self, server: str, keys: dict[int, str]) -> None:
        self.client = HashClient([server], no_delay=True, **TIMEOUTS)
        self.keys = keys


class ConnectingClient(HashingClient):
    """The same without a connection, as Django leaves it at the end of each request."""

    title = "HashClient, connecting"

    def one(self, pk: int) -> Any:
        """Connect and get one item."""
        self.client.disconnect_all()
        return super().one(pk)

    def many(self, pks: list[int]) -> Any:
        """Connect and get many items at once."""
        self.client.disconnect_all()
        return super().many(pks)


FLOORS = {
    floor.title: floor for floor in (RawSocket, SingleClient, HashingClient, ConnectingClient)
}
