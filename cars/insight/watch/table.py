"""The entries under the site's keys, for the table "Cached now"."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import server, words

SHOWN = 100  # entries, the newest

Found = Mapping[str, Sequence[server.Item] | None]


def cached(found: Found, prefix: str, followed: str = "") -> dict[str, Any]:
    """Return the entries among the items of each server, the newest first, at most SHOWN.

    `followed` is a key: its entry is returned too, or None. Of a server whose items are None
    nothing is known.
    """
    now = time.time()
    entries = [
        _described(item, item.key.removeprefix(prefix), now)
        for items in found.values()
        for item in items or ()
        if item.key.startswith(prefix) and (item.expires or now + 1) > now
    ]
    entries.sort(key=lambda each: (each["age"] is None, each["age"], each["key"]))
    return {
        "count": len(entries),
        "items": entries[:SHOWN],
        "followed": next((each for each in entries if each["key"] == followed), None),
        "unknown": [address for address, items in found.items() if items is None],
    }


def _described(item: server.Item, key: str, now: float) -> dict[str, Any]:
    """Return the entry `item`: its times are in seconds, None for what isn't known."""
    state, age = words.OTHER, None
    if item.expires:
        state = words.item_state(key, item.expires - item.accessed, item.fetched)
        if (stored := words.stored_at(key, state, item.expires)) is not None:
            age = max(0, round(now - stored))
    return {
        "key": key,
        "state": state,
        "age": age,
        "left": max(0, round(item.expires - now)) if item.expires else None,
        "used": max(0, round(now - item.accessed)) if item.fetched else None,
    }
