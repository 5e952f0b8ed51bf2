"""Django's caches, found faster."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from django.core.cache import BaseCache, caches
from django.core.signals import setting_changed
from django.dispatch import receiver

# Of this context, as Django's own are, by their names.
_found: ContextVar[Mapping[str, BaseCache]]


def cache_called(name: str) -> BaseCache:
    """Return `caches[name]`. Django's own way to it takes about a tenth of the time of a hit."""
    found = _found.get()
    if name not in found:
        _found.set(found := {**found, name: caches[name]})
    return found[name]


@receiver(setting_changed)
def _forget(setting: str = "CACHES", **kwargs: Any) -> None:
    global _found
    if setting == "CACHES":
        _found = ContextVar("found", default=MappingProxyType({}))


_forget()
