"""Receivers of Django's signals, for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db.models import Model
from django.dispatch import Signal


@contextmanager
def connected(signal: Signal, receiver: Callable, sender: type[Model]) -> Iterator[None]:
    """Let `receiver` receive `signal` of `sender` inside the block, after those that do already."""
    signal.connect(receiver, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=sender)
