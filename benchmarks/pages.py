"""Pages per second of the site: with its cache, without, and with the server away; by wrk."""

import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.request import urlopen

from cars.lab import servers

from . import processes
from .contestants import NoCache, This

PAGES = {"detail": "/cars/1/", "list": "/cars/"}
AWAY = "this, server away"
APPLICATIONS = {
    This.title: "carsite.wsgi",
    NoCache.title: "benchmarks.uncached",
    AWAY: "carsite.wsgi",
}
WORKERS, THREADS = 2, 4  # of gunicorn
CONNECTIONS = WORKERS * THREADS  # of wrk


class Sites:
    """The running sites, by their URLs."""

    def __init__(self, urls: dict[str, str]) -> None:
        self.urls = urls

    def pages_per_second(self, title: str, page: str, seconds: float) -> float:
        """Request `page` of the site `title` for `seconds`, at least one; return the rate.

        Raises RuntimeError if a response is an error.
        """
        url = self.urls[title] + PAGES[page]
        with urlopen(url, timeout=10):  # raises HTTPError for an error; now the page is cached
            pass
        command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{max(1, round(seconds))}s"]
        output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in output or "Socket errors" in output:
            raise RuntimeError(f"wrk got errors from {url}:\n{output}")
        return float(re.search(r"Requests/sec:\s*([\d.]+)", output)[1])


@contextmanager
def sites(database_url: str) -> Iterator[Sites]:
    """Serve the site three times, by their titles in APPLICATIONS."""
    with ExitStack() as stack:
        memcached = stack.enter_context(servers.memcached())
        away = stack.enter_context(_refusing())
        environ = {
            "DATABASE_URL": database_url,
            "STATIC_ROOT": stack.enter_context(tempfile.TemporaryDirectory()),
            "DJANGO_LOG_LEVEL": "ERROR",  # each process warns that its server is away
        }
        collect = ("collectstatic", "--no-input", "--verbosity", "0")
        processes.manage(processes.ROOT, database_url, *collect, **environ)
        urls = {}
        for title, application in APPLICATIONS.items():
            listener = socket.create_server(("127.0.0.1", 0))
            urls[title] = f"http://127.0.0.1:{listener.getsockname()[1]}"
            command = servers.gunicorn(
                "--workers", str(WORKERS), "--threads", str(THREADS), application=application
            )
            environ["MEMCACHED_SERVERS"] = away if title == AWAY else memcached
            stack.enter_context(servers.site(listener, command=command, **environ))
        yield Sites(urls)


@contextmanager
def _refusing() -> Iterator[str]:
    """Yield a host:port that refuses connections, and that no other server can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and doesn't listen
        yield f"127.0.0.1:{bound.getsockname()[1]}"
