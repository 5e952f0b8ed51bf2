"""The size of a cached row, in bytes, in a server that stores nothing else.

Three sizes: the value alone; the item, with its key and its header; the memory, for which Memcached
rounds up to its next chunk size.
"""

import re
from statistics import mean
from typing import NamedTuple
from urllib.parse import unquote

from pymemcache.client.base import Client
from redis import Redis


class Sizes(NamedTuple):
    """Sizes of one row, in bytes."""

    value: float
    item: float
    memory: float


def of(program: str, server: str, rows: int) -> Sizes:
    """Return the mean sizes of `rows` rows in the server at host:port, which runs `program`."""
    return (_in_memcached if program == "memcached" else _in_redis)(server, rows)


def _in_memcached(server: str, rows: int) -> Sizes:
    client = Client(server)
    items = client.stats()
    slabs = client.stats("slabs")
    memory = 0
    for name, used in slabs.items():
        number, _, what = name.partition(b":")
        if what == b"used_chunks":
            memory += int(used) * int(slabs[number + b":chunk_size"])
    dump = client.raw_command("lru_crawler metadump all", b"END\r\n")
    names = re.findall(r"^key=(\S+) ", dump.decode(), re.MULTILINE)
    values = [client.get(unquote(name)) for name in names[:rows]]
    client.close()
    return Sizes(
        value=mean(len(value) for value in values if value),
        item=int(items[b"bytes"]) / rows,
        memory=memory / rows,
    )


def _in_redis(server: str, rows: int) -> Sizes:
    with Redis.from_url(f"redis://{server}") as client:
        names = list(client.scan_iter(count=1000))
        values = [client.strlen(name) for name in names if client.type(name) == b"string"]
        # Sets too: with them cacheops finds the values to invalidate.
        each = sum(client.memory_usage(name, samples=0) for name in names) / rows
    return Sizes(value=mean(values), item=each, memory=each)
