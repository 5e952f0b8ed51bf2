"""A Memcached that doesn't answer, and what is owed then."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from cars.caching import owed
from cars.caching.backends.client import UNANSWERED, SafeClient
from cars.caching.entries import NO_ANSWER
from cars.caching.models import Owed


@contextmanager
def unreachable(answers_lost: bool = False) -> Iterator[None]:
    """Let no thread of this process get an answer; with `answers_lost` what it asks is done."""
    exchange = SafeClient.exchange

    def unanswered(client, swaps, look):
        if answers_lost:
            exchange(client, swaps, look)
        return set(), dict.fromkeys(look, NO_ANSWER)

    with (
        patch.object(SafeClient, "_fetch_cmd", return_value=UNANSWERED),
        patch.object(SafeClient, "exchange", unanswered),
    ):
        yield


@contextmanager
def owing() -> Iterator[None]:
    """Let writers owe in the block, as outside of tests, and forget all at its end."""
    with patch.object(owed, "in_tests", True), another_process():
        yield


@contextmanager
def another_process() -> Iterator[None]:
    """Know in the block what a new process knows of what is owed: nothing."""
    trust_no_more()
    with patch.dict(owed._ledgers, clear=True):
        try:
            yield
        finally:
            trust_no_more()
            for ledger in owed._ledgers.values():
                ledger.close()


def trust_no_more() -> None:
    """Let the next reader of each cached model ask what is known of what is owed."""
    for ledger in (*owed._ledgers.values(), owed.NO_LEDGER):
        ledger.trusted_until = 0.0


def records() -> list[tuple[str, bool]]:
    """Return the names of the entries and "under way" of each record."""
    return list(Owed.objects.order_by("pk").values_list("names", "under_way"))
