"""Connects receivers of Django's signals for the time of a block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db.models import Model
from django.dispatch import Signal


@contextmanager
def connected(signal: Signal, receiver: Callable, sender: type[Model]) -> Iterator[None]:
    """Connect `receiver` to `signal` of `sender` inside the block, after other receivers."""
    signal.connect(receiver, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=sender)
