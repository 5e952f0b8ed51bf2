"""How each fault begins and ends.

Each is a context manager: it does its work on a Stage at the beginning of the block, or all the
time within it, and undoes it at the end.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import cycle

from pymemcache.client.base import Client

from .database import UNAVAILABLE
from .history import History
from .proxy import Mode
from .stage import Stage

STRIDE = "1"  # a writer is killed at each step; the tests leave some out

Do = Callable[[Stage, History], AbstractContextManager[None]]


@contextmanager
def nothing(stage: Stage, history: History) -> Iterator[None]:
    """Do nothing: what the figures are without a fault."""
    yield


# Memcached itself


def frozen(*numbers: int) -> Do:
    """Freeze these servers."""

    @contextmanager
    def do(stage: Stage, history: History) -> Iterator[None]:
        for number in numbers:
            stage.memcached[number].freeze()
        try:
            yield
        finally:
            for number in numbers:
                stage.memcached[number].thaw()

    return do


def ended(*numbers: int) -> Do:
    """End these servers; they are started again, empty."""

    @contextmanager
    def do(stage: Stage, history: History) -> Iterator[None]:
        for number in numbers:
            stage.memcached[number].end()
        try:
            yield
        finally:
            for number in numbers:
                stage.memcached[number].start()

    return do


@contextmanager
def not_yet_started(stage: Stage, history: History) -> Iterator[None]:
    """Start the servers at the end only."""
    yield
    for server in stage.memcached:
        server.start()


@contextmanager
def restarted(stage: Stage, history: History) -> Iterator[None]:
    """Restart the server once a second, without a pause."""

    def restart() -> None:
        stage.memcached[0].end()
        stage.memcached[0].start()

    with _again_and_again(restart, pause=1):
        yield


def started_with(*options: str) -> Do:
    """Restart the server with these options, and at the end without them."""

    @contextmanager
    def do(stage: Stage, history: History) -> Iterator[None]:
        (server,) = stage.memcached
        server.end()
        server.start(*options)
        try:
            yield
        finally:
            server.end()
            server.start()

    return do


@contextmanager
def full(stage: Stage, history: History) -> Iterator[None]:
    """Give the server very little memory, and fill it all the time, so that it evicts."""
    with ExitStack() as stack:
        stack.enter_context(started_with("-m", "1", "-I", "512k")(stage, history))
        (server,) = stage.memcached
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        # Made before, since the readers run in this process: they must not wait for it.
        commands = cycle([_filling(range(first, first + 500)) for first in range(0, 20_000, 500)])

        def fill() -> None:
            connection.sendall(next(commands))

        stack.enter_context(_again_and_again(fill, pause=0.02))
        yield


def _filling(numbers: range) -> bytes:
    """Return commands that store entries as large as rows: they compete for the same memory."""
    value = b"x" * 150
    return b"".join(b"set filling-%d 0 0 150 noreply\r\n%s\r\n" % (n, value) for n in numbers)


@contextmanager
def flushed(stage: Stage, history: History) -> Iterator[None]:
    """Flush the server every 50 ms."""
    flush = partial(_client(stage).flush_all, noreply=False)
    with _again_and_again(flush, pause=0.05):
        yield


@contextmanager
def restarted_under_open_writes(stage: Stage, history: History) -> Iterator[None]:
    """Restart the server while a save waits for the database, and then let the save go on."""
    lock = "BEGIN; LOCK cars_car IN EXCLUSIVE MODE" if stage.database.program else "BEGIN IMMEDIATE"

    def once() -> None:
        with stage.database.connection() as connection:
            connection.execute(lock)
            locked = time.monotonic()
            time.sleep(0.2)  # now the editor's next save holds, and waits for the lock
            stage.memcached[0].end()
            stage.memcached[0].start()
            time.sleep(0.4)  # now readers have filled the rows again
            connection.execute("COMMIT")
            history.locks.append(time.monotonic() - locked)

    with _again_and_again(once, pause=0.2):
        yield


def _client(stage: Stage) -> Client:
    (server,) = stage.memcached
    return Client(("127.0.0.1", server.port), timeout=5)


# The network


def by_proxy(mode: Mode) -> Do:
    """Let the proxy do what `mode` says."""

    @contextmanager
    def do(stage: Stage, history: History) -> Iterator[None]:
        with stage.proxy.doing(mode):
            yield

    return do


@contextmanager
def cut_for_one(stage: Stage, history: History) -> Iterator[None]:
    """Cut the network between the server and one process of the site."""
    worker = stage.workers()[0]
    with stage.proxy.doing(Mode("silent", pid=worker.pid)):
        yield


# Processes of the site


@contextmanager
def worker_killed(stage: Stage, history: History) -> Iterator[None]:
    """Kill a process of the site by SIGKILL once a second; gunicorn starts another one."""

    def kill() -> None:
        if workers := stage.workers():
            workers[0].kill()

    with _again_and_again(kill, pause=1.5):
        yield


def writer_killed(*options: str) -> Do:
    """Kill another process that saves, at each step of the save, and yield when that is done."""

    @contextmanager
    def do(stage: Stage, history: History) -> Iterator[None]:
        rows = map(str, history.rows_of_others)
        version = history.new_version(1000)
        killed = "cars.lab.faults.killed", *options, "--stride", STRIDE
        stage.run(*killed, str(version), *rows)
        yield

    return do


@contextmanager
def writer_killed_with_the_server_frozen(stage: Stage, history: History) -> Iterator[None]:
    """The same while the server is frozen."""
    with frozen(0)(stage, history), writer_killed()(stage, history):
        yield


# The database


@contextmanager
def database_restarted(stage: Stage, history: History) -> Iterator[None]:
    """End PostgreSQL as by a crash, and start it again half a second later."""
    program = stage.database.program
    assert program
    program.end()
    time.sleep(0.5)
    program.start()
    _wait_for_database(stage)
    yield


@contextmanager
def database_frozen(stage: Stage, history: History) -> Iterator[None]:
    """Freeze PostgreSQL."""
    program = stage.database.program
    assert program
    program.freeze()
    try:
        yield
    finally:
        program.thaw()


@contextmanager
def database_locked(stage: Stage, history: History) -> Iterator[None]:
    """Keep SQLite's only lock for writing."""
    with stage.database.connection() as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("COMMIT")


def _wait_for_database(stage: Stage) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            stage.database.versions()
            return
        except UNAVAILABLE:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def _again_and_again(do: Callable[[], object], pause: float) -> Iterator[None]:
    """Call `do` in another thread again and again within the block."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def repeat() -> None:
        try:
            while not stop.is_set():
                do()
                stop.wait(pause)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise RuntimeError("the fault could not be made") from errors[0]
