"""The recipe of 2009, ported to Python 3, to compare `cars.caching` with.

From "Caching and signals" by Andy McKay (djangozen.com, 2009). It is short, and it serves stale
objects: `manage.py storm --recipe 2009` counts them. Don't use it; use `cars.caching`.
"""

from typing import Any

from django.core.cache import cache
from django.db import models
from django.db.models.signals import post_delete, post_save


def key(instance: models.Model) -> str:
    """Return the key of `instance` in the cache."""
    return f"{type(instance).__name__}.{instance.pk}"


def put(instance: models.Model, **kwargs: Any) -> None:
    """Store `instance`: a receiver of `post_save`."""
    cache.set(key(instance), instance)


def remove(instance: models.Model, **kwargs: Any) -> None:
    """Delete the entry of `instance`: a receiver of `post_delete`."""
    cache.delete(key(instance))


class CacheManager(models.Manager):
    """A manager that reads rows through the cache, and stores each row that is saved."""

    def contribute_to_class(self, cls: type[models.Model], name: str) -> None:
        super().contribute_to_class(cls, name)
        cls.key = key
        post_save.connect(put, sender=cls)
        post_delete.connect(remove, sender=cls)

    def cache(self, pk: Any) -> models.Model:
        """Return the row `pk` from the cache, or from the database; raise what `get()` raises."""
        found = cache.get(f"{self.model.__name__}.{pk}")
        if found is None:
            found = self.get(pk=pk)
            put(found)
        return found
