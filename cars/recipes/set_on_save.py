"""The recipe of 2009, as it was, in today's Python: what ours is compared with.

From "Caching and signals" by Andy McKay (djangozen.com, 2009). It is short, and it serves stale
objects: `manage.py storm --recipe 2009` counts them. Use `cars.caching`.
"""

from typing import Any

from django.core.cache import cache
from django.db import models
from django.db.models.signals import post_delete, post_save


def key(instance: models.Model) -> str:
    return f"{type(instance).__name__}.{instance.pk}"


def put(instance: models.Model, **kwargs: Any) -> None:
    cache.set(key(instance), instance)


def remove(instance: models.Model, **kwargs: Any) -> None:
    cache.delete(key(instance))


class CacheManager(models.Manager):
    def contribute_to_class(self, cls: type[models.Model], name: str) -> None:
        super().contribute_to_class(cls, name)
        cls.key = key
        post_save.connect(put, sender=cls)
        post_delete.connect(remove, sender=cls)

    def cache(self, pk: Any) -> models.Model:
        found = cache.get(f"{self.model.__name__}.{pk}")
        if found is None:
            found = self.get(pk=pk)
            put(found)
        return found
