"""What the backends have in common: they show rows as objects, and hide leases and holds."""

import sys
from collections.abc import Collection, Iterable
from secrets import token_hex
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.db import connections

from ..entries import ABSENT, Holds, Lease, Row, SwapCache
from ..registry import is_key
from ..rows import unpack_any

HIDDEN = (Lease, Holds)
Blocks = list[Any]  # of Atomic, whose `_from_testcase` the stubs don't have

AS_STORED: Any = object()  # in place of a default or a version: show what is stored as it is


class SwapMixin(SwapCache):
    """For a Django cache backend that implements the contract of SwapCache.

    `get`, `get_many` and `has_key` see the object of a row, and a miss where there is a lease, a
    hold or a row that can't be used.
    """

    _pickle: bool  # OPTIONS["pickle"]

    def make_and_validate_key(self, key: str, version: int | None = None) -> str:
        """Return the key on the server: inside a TestCase, the recipe's keys have its namespace."""
        namespace = test_namespace() if "django.test.testcases" in sys.modules else ""
        if namespace and is_key(str(key)):
            key = f"{namespace}{key}"
        name = self.make_key(key, version)
        # Django checks character by character; this accepts most keys at once.
        if not (len(name) <= 250 and name.isascii() and name.isprintable() and " " not in name):
            self.validate_key(name)
        return name

    # By `get` and `get_many`, so that what watches these, as django-debug-toolbar does, sees them.

    def look(self, key: str) -> Any:
        value = self.get(key, AS_STORED)
        return None if value is AS_STORED else value

    def look_many(self, keys: Collection[str]) -> dict[str, Any]:
        return self.get_many(keys, AS_STORED)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        value = super().get(key, default, version)
        return value if default is AS_STORED else shown(value, default)

    def get_many(self, keys: Iterable[str], version: Any = None) -> dict[str, Any]:
        if version is AS_STORED:
            return super().get_many(keys)
        found = super().get_many(keys, version)
        visible = {key: shown(value, ABSENT) for key, value in found.items()}
        return {key: value for key, value in visible.items() if value is not ABSENT}

    def has_key(self, key: str, version: int | None = None) -> bool:
        return self.get(key, self._missing_key, version) is not self._missing_key

    def add(
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        self._refuse_pickle(value)
        return super().add(key, value, timeout, version)

    def set(
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        self._refuse_pickle(value)
        super().set(key, value, timeout, version)

    def set_many(
        self, data: dict[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        for value in data.values():
            self._refuse_pickle(value)
        return super().set_many(data, timeout, version)

    def _refuse_pickle(self, value: Any) -> None:
        if not self._pickle and type(value) not in (int, Row, Lease, Holds):
            refuse_unless_plain(value)


def test_namespace() -> str:
    """Return the namespace of the keys of the innermost open TestCase block; "" outside of one.

    It is random and belongs to that block alone. So what a test leaves in the cache is a miss for
    every other test, and is never seen again once the test has ended.
    """
    for connection in connections.all(initialized_only=True):
        blocks: Blocks = connection.atomic_blocks
        for block in reversed(blocks):
            if block._from_testcase:
                if not hasattr(block, "caching_namespace"):
                    block.caching_namespace = f"{token_hex(8)}."
                namespace: str = block.caching_namespace
                return namespace
    return ""


def shown(value: Any, default: Any) -> Any:
    """Return what `get` shows of a stored `value`; `default` for what it hides."""
    if type(value) is Row:
        value = unpack_any(value)
        return default if value is None else value
    return default if type(value) in HIDDEN else value


def refuse_unless_plain(value: Any) -> None:
    """Raise TypeError unless `value` is plain data: what comes back is what was stored."""
    if type(value) is list:
        for item in value:
            refuse_unless_plain(item)
    elif type(value) is dict:
        for name, item in value.items():
            if type(name) is not str:
                raise TypeError(f"{name!r} can't be stored as a key of a dict: {PLAIN_ONLY}")
            refuse_unless_plain(item)
    elif type(value) is int and not -(2**63) <= value < 2**64:
        raise TypeError(f"{value!r} can't be stored inside a list or a dict: {PLAIN_ONLY}")
    elif value is not None and type(value) not in (bool, int, float, str, bytes):
        raise TypeError(f"{value!r} can't be stored: {PLAIN_ONLY}")


PLAIN_ONLY = (
    "only strings, bytes, numbers, booleans, None, and lists and dicts of those can be, "
    "with strings as keys and numbers of 64 bits, because OPTIONS['pickle'] is False."
)
