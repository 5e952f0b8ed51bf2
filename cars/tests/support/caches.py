"""The cache of the tests: a new Memcached, or unused keys on a running one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import getpid
from secrets import token_hex
from unittest import SkipTest

from django.conf import settings
from django.test import override_settings

from cars.caching.backends.server import Server
from cars.caching.backends.server import _servers as known_servers
from cars.lab import servers
from carsite import settings as site

RUN = token_hex(4)
_generation = 0


def make_key(key: str, key_prefix: str, version: int) -> str:
    """Return a key that no site, no other process and no earlier test uses (a `KEY_FUNCTION`)."""
    return f"test-{RUN}.{getpid()}.{_generation}:{version}:{key}"


def empty_cache() -> None:
    """Let the tests see an empty cache, without touching other entries on the same server."""
    global _generation
    _generation += 1
    # What was known of a server that a test has stopped: another may get its port.
    for server in list(known_servers.values()):
        server.away = ""
    Server.wary_until = 0.0


@contextmanager
def test_cache() -> Iterator[None]:
    """Use Memcached in the block if there is one, else local memory."""
    with ExitStack() as stack:
        addresses = settings.MEMCACHED_SERVERS
        if not addresses and servers.has_memcached():
            addresses = [stack.enter_context(servers.memcached())]
        with on_servers(addresses):
            yield


def on_servers(addresses: list[str]) -> override_settings:
    """Return the settings to use these servers as the site does; without any, local memory."""
    caches = site.caches(addresses)
    caches["default"]["KEY_FUNCTION"] = make_key
    # Longer than a busy machine takes to answer: a time-out would look like a miss.
    caches["default"]["OPTIONS"] |= {"timeout": 10, "connect_timeout": 10}
    return override_settings(MEMCACHED_SERVERS=addresses, CACHES=caches)


class MemcachedMixin:
    """Skips its tests if there is no Memcached."""

    @classmethod
    def setUpClass(cls):
        if not settings.MEMCACHED_SERVERS:
            raise SkipTest("no Memcached: set MEMCACHED_SERVERS or put `memcached` on the PATH")
        super().setUpClass()
