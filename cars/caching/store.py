"""Reading, filling and expiring objects in the cache."""

from collections.abc import Collection
from time import perf_counter
from typing import Any

from django.core.cache import cache
from django.db.models import Manager, Model

from . import events
from .keys import key_of

TIMEOUT = 3600  # seconds that an object stays, if nobody writes it


def read_many(manager: Manager, pks: Collection[Any]) -> dict[Any, Model]:
    """Return the objects `pks`, by pk in the order asked for; what doesn't exist is left out.

    One multi-get for the hits, one SELECT for the misses, one multi-set to fill them.
    """
    model = manager.model
    keys = {pk: key_of(model, pk) for pk in pks}
    started = perf_counter()
    hits = cache.get_many(keys.values()) if keys else {}
    for key in keys.values():
        events.tell(events.HIT if key in hits else events.MISS, key, model, started)
    misses = [pk for pk, key in keys.items() if key not in hits]
    found = manager.in_bulk(misses) if misses else {}
    if found:
        fill(found.values())
    objects = {pk: hits[key] if key in hits else found.get(pk) for pk, key in keys.items()}
    return {pk: instance for pk, instance in objects.items() if instance is not None}


def fill(instances: Collection[Model]) -> None:
    """Put `instances` into the cache."""
    started = perf_counter()
    cache.set_many({key_of(type(i), i.pk): i for i in instances}, TIMEOUT)
    for instance in instances:
        events.tell(events.FILLED, key_of(type(instance), instance.pk), type(instance), started)


def expire(model: type[Model], pks: Collection[Any]) -> None:
    """Take the objects `pks` out of the cache."""
    started = perf_counter()
    keys = [key_of(model, pk) for pk in pks]
    if keys:
        cache.delete_many(keys)
    for key in keys:
        events.tell(events.EXPIRED, key, model, started)
