"""Servers started for a while on this machine: by the demo, the tests and the benchmarks."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def has_memcached() -> bool:
    """Is there a `memcached` program on the PATH?"""
    return shutil.which("memcached") is not None


@contextmanager
def memcached(*options: str, port: int = 0) -> Iterator[str]:
    """Run a Memcached of 64 MB on the loopback interface; yield its host:port, stop it at the end.

    Raises RuntimeError if it doesn't answer within 10 seconds.
    """
    port = port or free_port()
    command = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64", *options]
    if os.geteuid() == 0:
        command += ["-u", "root"]  # it refuses to run as root unless told to
    # In a session of its own: a Ctrl-C in the terminal is for us, and we stop it when we end.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        _wait_until_it_answers(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(process: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no answer from: {' '.join(process.args)}") from None
            time.sleep(0.01)
