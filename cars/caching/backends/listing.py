"""What a Memcached server has: its items, and its rows. Reading them doesn't count as an access."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote

from ..entries import ListingError, Row
from .client import SafeClient
from .serde import Serde

CHUNK = 100  # items that are asked for at once: their commands fit into a socket's buffer
BUSY = 10  # seconds that another client's listing is waited for
PAUSE = 0.05  # seconds between two attempts
LONGEST = 4096  # bytes in a line


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a server. Times are in seconds since 1970.

    `expires` is None if the item has no expiry. `accessed` is the time of the last access,
    accurate to the minute, or the time of storing if it has not been `fetched`. `size` is in bytes
    and includes the key and the header.
    """

    key: str
    expires: int | None
    accessed: int
    fetched: bool
    size: int


_item = re.compile(
    r"key=(\S+) exp=(-?\d{1,12}) la=(\d{1,12}) cas=\d+ fetch=(yes|no) cls=\d+ size=(\d{1,12})\b.*",
    re.ASCII,
)
_invalid = re.compile(r"[\0-\x20\x7f]")  # in a key


def parse_item(text: bytes) -> Item | None:
    """Return the item in a line of `lru_crawler metadump`, or None if there is none."""
    match = _item.fullmatch(text.decode("latin-1").rstrip("\r\n"))
    if not match:
        return None
    key, expires, accessed, fetched, size = match.groups()
    expires = int(expires) if int(expires) > 0 else None
    return Item(unquote(key), expires, int(accessed), fetched == "yes", int(size))


def items(client: SafeClient, busy: float = BUSY) -> Iterator[Item]:
    """Yield the items of the server of `client`, which is used for nothing else meanwhile.

    While the server lists its items for another client, wait `busy` seconds at most. Raises
    ListingError if it doesn't answer, or refuses.

    This uses `metadump`, which neither counts as an access nor appears in the server's log.
    """
    try:
        with client.opened() as lines:
            text = _start(client, lines, busy)
            while item := parse_item(text):
                yield item
                text = lines.readline(LONGEST)
    except OSError as error:
        raise ListingError(f"{client.address} doesn't answer: {error}.") from error
    if text.strip() != b"END":
        raise ListingError(f"{client.address} doesn't list what it has, but answers {text!r}.")


def _start(client: SafeClient, lines: BinaryIO, busy: float) -> bytes:
    """Ask for the items; return the first line of the answer."""
    deadline = time.monotonic() + busy
    walk = b"hash"  # `all`, the only one of older servers, can miss an item that moves meanwhile
    while True:
        client.send(b"lru_crawler metadump %s\r\n" % walk)
        text = lines.readline(LONGEST)
        if text.startswith(b"BADCLASS") and walk == b"hash":
            walk = b"all"
        elif text.startswith(b"BUSY") and time.monotonic() < deadline:
            time.sleep(PAUSE)
        else:
            return text


def rows(new_client: Callable[[], SafeClient]) -> Iterator[tuple[str, Row]]:
    """Yield the rows of the server of `new_client()`, with their names on it.

    Raises as `items` does.
    """
    client = new_client()
    try:
        with client.opened() as lines:
            names: list[str] = []
            for item in items(new_client()):
                if not _invalid.search(item.key):
                    names.append(item.key)
                if len(names) == CHUNK:
                    yield from _rows(client, lines, names)
                    names = []
            yield from _rows(client, lines, names)
    except OSError as error:
        raise ListingError(f"{client.address} doesn't answer: {error}.") from error


def _rows(client: SafeClient, lines: BinaryIO, names: list[str]) -> Iterator[tuple[str, Row]]:
    # First without the values, which can be large, and another application's.
    is_row = f"f{Serde.ROW}".encode()
    found = [name for name, flags, _ in _look(client, lines, names, b"f") if is_row in flags]
    for name, flags, value in _look(client, lines, found, b"f v"):
        if is_row in flags:
            yield name, Row(value)


def _look(
    client: SafeClient, lines: BinaryIO, names: list[str], wanted: bytes
) -> Iterator[tuple[str, list[bytes], bytes]]:
    """Yield the name, the flags and the value of each of `names` that the server still has.

    The flag `u` of `mg` leaves the item's place among those to be evicted as it is.
    """
    client.send(b"".join(b"mg %s u %s\r\n" % (name.encode(), wanted) for name in names))
    for name in names:
        text = lines.readline(LONGEST)
        word, *flags = text.split() or [b""]
        if word == b"VA":
            size = int(flags.pop(0))
            yield name, flags, lines.read(size + 2)[:size]
        elif word == b"HD":
            yield name, flags, b""
        elif word != b"EN":
            raise ListingError(f"{client.address} doesn't show what it has, but answers {text!r}.")
