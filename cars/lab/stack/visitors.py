"""Visitors of the stack: readers and writers that come through nginx.

Each writer has cars of its own, and writes a higher mileage each time. So a page is stale if its
mileage is lower than one whose write was answered before the page was asked for.
"""

import re
import secrets
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode

from .containers import Stack

CARS_OF_A_WRITER = 5


@dataclass
class Record:
    """What the writers have written, and what the readers have seen."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    # By car: the time at which each mileage was answered.
    written: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    counts: Counter[str] = field(default_factory=Counter)
    oldest: float = 0  # seconds since the write that a stale page should have had

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def latest(self, car: int) -> int:
        """Return the highest mileage whose write was answered."""
        with self.lock:
            return max(self.written[car], default=0)

    def wrote(self, car: int, mileage: int) -> None:
        with self.lock:
            self.written[car][mileage] = time.monotonic()
            self.counts["writes"] += 1

    def saw(self, car: int, mileage: int, hit: bool, latest: int, asked: float) -> None:
        """Note a page that was asked for at `asked`, when `latest` had been written."""
        with self.lock:
            self.counts["reads"] += 1
            self.counts["hits"] += hit
            if mileage < latest:
                missed = min(at for each, at in self.written[car].items() if each > mileage)
                self.counts["stale"] += 1
                self.oldest = max(self.oldest, asked - missed)

    def __str__(self) -> str:
        counts = self.counts
        share = counts["hits"] / max(counts["reads"], 1)
        text = f"{counts['reads']} reads ({share:.0%} hits), {counts['writes']} writes, "
        text += f"{counts['failed']} without an answer, {counts['stale']} stale"
        return text + (f", at most {self.oldest:.2f} s old" if counts["stale"] else "")


class Visitor(threading.Thread):
    """A thread with a connection to nginx, until `leave` is set."""

    def __init__(self, stack: Stack, record: Record, leave: threading.Event) -> None:
        super().__init__(daemon=True)
        self.connection = HTTPConnection("127.0.0.1", stack.port, timeout=20)
        self.record, self.leave = record, leave

    def run(self) -> None:
        while not self.leave.is_set():
            try:
                self.visit()
            except (OSError, HTTPException):
                self.connection.close()
                self.record.count("failed")
        self.connection.close()

    def visit(self) -> None:
        raise NotImplementedError

    def ask(
        self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
    ) -> str:
        """Return the page; raise OSError unless its status is below 400."""
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        page = response.read().decode()
        if response.status >= 400:
            time.sleep(0.05)  # a site that is away must not be asked all the time
            raise OSError(response.status)
        return page


class Reader(Visitor):
    """Reads the pages of the writers' cars, one after the other."""

    def __init__(self, *args: object, cars: list[int]) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.cars = cars
        self.turn = secrets.randbelow(len(cars))

    def visit(self) -> None:
        self.turn += 1
        car = self.cars[self.turn % len(self.cars)]
        latest, asked = self.record.latest(car), time.monotonic()
        page = self.ask("GET", f"/cars/{car}/")
        shown = re.search(r"<dt>Mileage</dt><dd>([\d,]+) km", page)
        mileage = int(shown[1].replace(",", "")) if shown else 0
        self.record.saw(car, mileage, "<strong>1 hit, " in page, latest, asked)


class Writer(Visitor):
    """Raises the mileage of its cars, by the form of the site."""

    def __init__(self, *args: object, cars: list[int], session: str) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.cars = cars
        token = secrets.token_hex(16)  # of a form, and of its cookie
        self.form = {"csrfmiddlewaretoken": token, "make": "Stack"}
        self.headers = {
            "Cookie": f"sessionid={session}; csrftoken={token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self.mileage = 0

    def visit(self) -> None:
        self.mileage += 1
        car = self.cars[self.mileage % len(self.cars)]
        body = urlencode({**self.form, "mileage": self.mileage})
        self.ask("POST", f"/cars/{car}/edit/", body, self.headers)
        self.record.wrote(car, self.mileage)
        self.leave.wait(0.02)  # leaves the readers time for hits


@contextmanager
def visitors(stack: Stack, record: Record, readers: int = 6, writers: int = 2) -> Iterator[None]:
    """Let readers and writers visit `stack` during the block, and note all in `record`."""
    leave, session = threading.Event(), stack.log_in()
    found = re.findall(r'href="/cars/(\d+)/"', stack.page("/cars/"))
    cars = sorted(set(map(int, found)))[: writers * CARS_OF_A_WRITER]
    threads: list[Visitor] = [
        Writer(stack, record, leave, cars=cars[number::writers], session=session)
        for number in range(writers)
    ]
    threads += [Reader(stack, record, leave, cars=cars) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        leave.set()
        for thread in threads:
            thread.join(30)


@contextmanager
def slow_clients(stack: Stack, count: int = 100) -> Iterator[None]:
    """Keep `count` requests open during the block, of which only the first half was sent."""
    with ExitStack() as connections:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", stack.port), timeout=10)
            connections.enter_context(closing(connection))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        yield
