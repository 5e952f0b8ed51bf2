"""Pages per second of the site, with its cache and without, measured by wrk."""

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.request import urlopen

from cars.lab import servers

PAGES = {"detail": "/cars/1/", "list": "/cars/"}
APPLICATIONS = {"this": "carsite.wsgi", "no cache": "benchmarks.uncached"}
CONNECTIONS = 8


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
    """Serve the site twice: with its cache, on a Memcached started for it, and without."""
    with ExitStack() as stack:
        environ = {"DATABASE_URL": database_url}
        environ["PYTHONWARNINGS"] = "ignore::UserWarning"  # static files were not collected
        environ["MEMCACHED_SERVERS"] = stack.enter_context(servers.memcached())
        urls = {}
        for title, application in APPLICATIONS.items():
            listener = socket.create_server(("127.0.0.1", 0))
            urls[title] = f"http://127.0.0.1:{listener.getsockname()[1]}"
            stack.enter_context(servers.site(listener, application, **environ))
        yield Sites(urls)
