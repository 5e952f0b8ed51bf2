"""Those who use the site in a run: readers, an editor, and one who watches the database."""

import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from typing import NamedTuple
from urllib.parse import urlencode

from cars.management.commands.demo import ACCOUNT, PASSWORD

from .database import MAKE, UNAVAILABLE, Database, model_of, versions
from .history import History, Page, Read

LIST = f"/cars/?q={MAKE}"

READERS = 4
READ_PAUSE = 0.04  # seconds between two pages of a reader
WRITE_PAUSE = 0.06  # seconds between two saves of the editor
LOOK_PAUSE = 0.01  # seconds between two looks at the database
PATIENCE = 60  # seconds that a visitor waits for an answer
MANY = 20  # rows in one transaction

# The pages of the editor, in this order, again and again.
SAVES = ["edit", "admin", "add", "undone", "edit", "admin", "many", "edit", "admin", "delete"]


class Answer(NamedTuple):
    """The answer to a request; status 0 stands for none."""

    status: int
    body: str = ""
    process: str = ""
    location: str = ""
    waited: float = 0  # seconds, for a Memcached that didn't answer


class Visitor:
    """Requests pages of the site at `port`, and notes them in the history, if there is one."""

    def __init__(self, port: int, history: History | None = None) -> None:
        self.port = port
        self.history = history
        self.cookies: dict[str, str] = {}

    def get(self, kind: str, path: str) -> tuple[Answer, Page]:
        """Request a page."""
        return self._request(kind, "GET", path, None)

    def post(self, kind: str, path: str, **fields: object) -> tuple[Answer, Page]:
        """Send a form."""
        token = self.cookies.get("csrftoken", "")
        return self._request(kind, "POST", path, {"csrfmiddlewaretoken": token, **fields})

    def log_in(self) -> None:
        """Log in with the account of the demo."""
        self.get("login", "/accounts/login/")
        self.post("login", "/accounts/login/", username=ACCOUNT, password=PASSWORD)
        if "sessionid" not in self.cookies:
            raise RuntimeError("the site doesn't let the editor in")

    def _request(
        self, kind: str, method: str, path: str, fields: dict[str, object] | None
    ) -> tuple[Answer, Page]:
        headers = {"Host": "localhost", "Cookie": "; ".join(map("=".join, self.cookies.items()))}
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        page = Page(kind, time.monotonic())
        try:
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
                connection.request(method, path, urlencode(fields or {}, doseq=True), headers)
                response = connection.getresponse()
                body = response.read().decode()
        except (OSError, HTTPException):
            answer = Answer(0)
        else:
            for cookie in response.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            process, location = (response.getheader(h, "") for h in ("X-Process", "Location"))
            waited = float(response.getheader("X-Waited", 0))
            answer = Answer(response.status, body, process, location, waited)
        page.ended, page.status = time.monotonic(), answer.status
        page.process, page.waited = answer.process, answer.waited
        if self.history:
            self.history.pages.append(page)
        return answer, page


class Reader(Visitor):
    """Reads cars and lists, mostly cars that were written lately."""

    history: History

    def __init__(self, port: int, history: History, lately: deque[int]) -> None:
        super().__init__(port, history)
        self.lately = lately
        self.rows = list(history.commits)

    def visit(self) -> None:
        """Read one page, and then wait a little."""
        if random.random() < 0.2:
            self.read_list()
        else:
            known = self.rows if random.random() < 0.4 else self.lately
            self.read(random.choice(list(known) or self.rows))
        time.sleep(READ_PAUSE)

    def read(self, row: int) -> Read | None:
        """Read the page of a car; None if it is an error page."""
        answer, page = self.get("car", f"/cars/{row}/")
        if answer.status == 404:
            version = self.history.version_when_missing(row)
        elif answer.status == 200:
            (version,) = map(int, re.findall(rf"<h1>{MAKE} v(\d+)</h1>", answer.body))
        else:
            return None
        hit = 'class="badge hit"' in answer.body
        read = Read(row, version, page.begun, page.ended, hit, answer.process)
        self.history.reads.append(read)
        return read

    def read_list(self) -> None:
        """Read a page of the list."""
        answer, page = self.get("list", f"{LIST}&page={random.choice((1, 2))}")
        if answer.status == 200:
            for row, version in re.findall(rf'"/cars/(\d+)/">{MAKE} v(\d+)<', answer.body):
                read = Read(int(row), int(version), page.begun, page.ended, False, answer.process)
                self.history.reads.append(read)


class Editor(Visitor):
    """Saves, adds and deletes cars, each way in turn, in autocommit and in transactions."""

    history: History

    def __init__(self, port: int, history: History, lately: deque[int], database: Database) -> None:
        super().__init__(port, history)
        self.lately = lately
        self.database = database
        self.rows = sorted(history.commits.keys() - set(history.rows_of_others))
        self.added: list[int] = []
        self.pause = WRITE_PAUSE
        self.ways = cycle(SAVES)

    def visit(self) -> None:
        """Write once, and then wait a little."""
        way = next(self.ways)
        {"delete": self.delete, "add": self.add}.get(way, self.save)(way)
        time.sleep(self.pause)

    def save(self, way: str) -> None:
        """Save one row by the form of the site ("edit") or the admin, or many."""
        rows = random.sample(self.rows, MANY if way == "many" else 1)
        version = self.history.new_version()
        self.lately.extend(rows[:3])
        form = {"make": MAKE, "model": model_of(version)}
        if way == "edit":
            answer, _ = self.post(way, f"/cars/{rows[0]}/edit/", **form)
        elif way == "admin":
            answer, _ = self.post(way, f"/admin/cars/car/{rows[0]}/change/", **form)
        elif way == "undone":
            answer, _ = self.post(way, "/save-all/", pk=rows, undo="", seconds=0.05, **form)
            return
        else:
            answer, _ = self.post(way, "/save-all/", pk=rows, **form)
        self.check(answer, version, rows)

    def delete(self, way: str) -> None:
        """Delete a row that the editor has added."""
        if not self.added:
            return
        row = self.added.pop(0)
        self.rows.remove(row)
        version = self.history.deletes(row)
        self.lately.append(row)
        answer, _ = self.post(way, f"/cars/{row}/delete/")
        if answer.status == 302:
            self.check(answer, version, [row])

    def add(self, way: str) -> None:
        """Add a row."""
        version = self.history.new_version()
        answer, _ = self.post(way, "/cars/add/", make=MAKE, model=model_of(version))
        if answer.status == 302:
            row = int(answer.location.split("/")[-2])
            self.rows.append(row)
            self.added.append(row)
            self.lately.append(row)
            self.check(answer, version, [row])

    def check(self, answer: Answer, version: int, rows: list[int]) -> None:
        """Note which writes were answered as done, but are not in the database."""
        if answer.status == 200:
            raise RuntimeError("a form of the editor was not accepted")
        if answer.status not in (204, 302):
            return
        self.history.answered.add(version)
        found = self._versions()
        for row in rows:
            if found.get(row, self.history.deleted.get(row, 0)) < version:
                self.history.lost.append(f"version {version} of row {row}: {found.get(row)}")

    def _versions(self) -> dict[int, int]:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.database.versions()
            except UNAVAILABLE:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


class Watcher:
    """Looks at the database all the time, to know when each version was committed."""

    def __init__(self, history: History, database: Database) -> None:
        self.history = history
        self.database = database

    def watch(self, is_over: Callable[[], bool]) -> None:
        """Look again and again until `is_over`."""
        while not is_over():
            try:
                with self.database.connection() as connection:
                    while not is_over():
                        begun = time.monotonic()
                        rows = versions(connection)
                        self.history.looked(rows, begun, time.monotonic())
                        time.sleep(LOOK_PAUSE)
            except UNAVAILABLE:
                time.sleep(0.1)


@dataclass
class Crowd:
    """All visitors of a run, each in a thread."""

    history: History
    editor: Editor
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._writing, self._reading = threading.Event(), threading.Event()

    def stop_writing(self) -> None:
        """Wait for the end of the editor's last save."""
        self._writing.set()
        self._editing.join()
        self.check()

    def check(self) -> None:
        """Raise RuntimeError if a visitor has met something unexpected."""
        if self.errors:
            raise RuntimeError("a visitor has failed") from self.errors[0]

    def _thread(self, do: Callable[[], None]) -> threading.Thread:
        def work() -> None:
            try:
                do()
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _until(self, stop: threading.Event, visit: Callable[[], None]) -> Callable[[], None]:
        def repeat() -> None:
            while not stop.is_set():
                visit()

        return repeat

    @contextmanager
    def at_work(self, readers: list[Reader], watcher: Watcher) -> Iterator[None]:
        """Let all of them work within the block."""
        threads = [self._thread(lambda: watcher.watch(self._reading.is_set))]
        threads += [self._thread(self._until(self._reading, reader.visit)) for reader in readers]
        self._editing = self._thread(self._until(self._writing, self.editor.visit))
        try:
            yield
        finally:
            self._writing.set()
            self._reading.set()
            for thread in [*threads, self._editing]:
                thread.join()


def crowd(port: int, history: History, database: Database) -> tuple[Crowd, list[Reader], Watcher]:
    """Return the visitors of a run; the editor is logged in."""
    lately: deque[int] = deque(maxlen=10)
    editor = Editor(port, history, lately, database)
    editor.log_in()
    readers = [Reader(port, history, lately) for _ in range(READERS)]
    return Crowd(history, editor), readers, Watcher(history, database)
