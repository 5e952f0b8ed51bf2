"""Stands between the site and a Memcached: it passes everything on, or does what a fault says.

It is a process of its own, so that it doesn't slow down the visitors. `Proxy` starts and controls
it from outside.
"""

import asyncio
import json
import os
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psutil

from cars.lab.servers import free_port

# Commands with a block of data, and which word of the line has its length in bytes.
LENGTHS = {name: 4 for name in (b"set", b"add", b"replace", b"append", b"prepend", b"cas")}
LENGTHS[b"ms"] = 2
LONGEST_LINE = 1 << 20  # bytes
CHUNK = 65536  # bytes


@dataclass(frozen=True)
class Mode:
    """What the proxy does with commands and answers; `pass` passes them on.

    Instead of passing a command on:
        silent        no answer
        garbage       an answer of random bytes
        error         `ERROR`
        out of memory `SERVER_ERROR` to commands that store; others are passed on
        reset         the connection is reset
        endless       an answer that doesn't end, until the mode changes
    With the answer of the server:
        late          it comes `seconds` later
        drip          one byte each `seconds`
        cut           half of it, then the connection is closed
        lost          it is not passed on: the command was done, but its sender isn't told

    Only a `share` of the commands or answers, from 0 to 1, and only on connections from the process
    `pid`, unless that is 0.
    """

    name: str = "pass"
    share: float = 1
    seconds: float = 0
    pid: int = 0


class Proxy:
    """Controls the process of a proxy in front of the Memcached at `port`."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", __name__, str(self.port), str(port)]

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Run the process for the block."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, text=True, start_new_session=True
        ) as self._process:
            try:
                self._wait()
                yield self
            finally:
                self._process.kill()

    @contextmanager
    def doing(self, mode: Mode) -> Iterator[None]:
        """Do what `mode` says within the block."""
        self._set(mode)
        try:
            yield
        finally:
            self._set(Mode())

    def _set(self, mode: Mode) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(mode)) + "\n")
        self._process.stdin.flush()
        self._wait()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "done\n":
            raise RuntimeError("the proxy has ended")


class _Connection:
    """One connection of a client, and that to the server which belongs to it."""

    def __init__(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.commands, self.client = client
        self._pid: int | None = None

    async def serve(self, port: int) -> None:
        """Pass everything on between the client and the server at `port` until either closes."""
        try:
            self.answers, self.server = await asyncio.open_connection(
                "127.0.0.1", port, limit=LONGEST_LINE
            )
        except OSError:
            self.client.transport.abort()
            return
        both = [asyncio.create_task(task) for task in (self._commands(), self._answers())]
        _, running = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        self.client.close()
        self.server.close()

    async def _commands(self) -> None:
        while command := await self._command():
            stores = command.split(None, 1)[0] in LENGTHS
            match self._mode().name:
                case "silent":
                    continue
                case "garbage":
                    self.client.write(os.urandom(60) + b"\r\n")
                case "error":
                    self.client.write(b"ERROR\r\n")
                case "out of memory" if stores:
                    self.client.write(b"SERVER_ERROR out of memory storing object\r\n")
                case "reset":
                    linger = struct.pack("ii", 1, 0)  # closing sends RST
                    raw = self.client.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.client.transport.abort()
                    return
                case "endless":
                    self.client.write(b"VALUE x 0 1000000000\r\n")
                    while self._mode().name == "endless":
                        self.client.write(b"x" * 1000)
                        await self.client.drain()
                        await asyncio.sleep(0.01)
                    return
                case _:
                    self.server.write(command)
                    await self.server.drain()

    async def _command(self) -> bytes:
        """Return the next command with its data, b"" if there is none."""
        line = await self.commands.readline()
        words = line.split()
        if words and (at := LENGTHS.get(words[0])):
            return line + await self.commands.readexactly(int(words[at]) + 2)
        return line

    async def _answers(self) -> None:
        while answer := await self.answers.read(CHUNK):
            mode = self._mode()
            match mode.name:
                case "late":
                    await asyncio.sleep(mode.seconds)
                case "drip":
                    for byte in answer[:-1]:
                        self.client.write(bytes([byte]))
                        await asyncio.sleep(self._mode().seconds)
                    answer = answer[-1:]
                case "cut":
                    self.client.write(answer[: len(answer) // 2])
                    await self.client.drain()
                    return
                case "lost":
                    continue
            self.client.write(answer)
            await self.client.drain()

    def _mode(self) -> Mode:
        """Return what to do with this command or answer."""
        if mode.pid and mode.pid != self._process():
            return Mode()
        return mode if random.random() < mode.share else Mode()

    def _process(self) -> int:
        """Return the id of the process that the client is in, 0 if it can't be found."""
        if self._pid is None:
            port = self.client.get_extra_info("peername")[1]
            try:
                found = psutil.Process(mode.pid).net_connections("tcp")
            except psutil.NoSuchProcess:
                return 0
            mine = any(connection.laddr.port == port for connection in found)
            self._pid = mode.pid if mine else 0
        return self._pid


mode = Mode()  # of the process of the proxy


async def main(port: int, target: int) -> None:
    """Serve at `port` what the Memcached at `target` answers; take modes from stdin."""
    global mode

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection((reader, writer)).serve(target)

    async with await asyncio.start_server(serve, "127.0.0.1", port, limit=LONGEST_LINE):
        print("done", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            mode = Mode(**json.loads(line))
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
