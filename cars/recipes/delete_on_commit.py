"""A repair of the recipe of 2009: delete the entry after the COMMIT, and let a reader fill it.

Two writers can't put their rows in the wrong order, since writers put nothing. It still serves
stale objects: a reader can put the row that it read before the COMMIT. Don't use it; use
`cars.caching`.
"""

from typing import Any

from django.core.cache import cache
from django.db import models, transaction
from django.db.models.signals import post_delete, post_save


def key(instance: models.Model) -> str:
    """Return the key of `instance` in the cache."""
    return f"{type(instance).__name__}.{instance.pk}"


def remove(instance: models.Model, using: str, **kwargs: Any) -> None:
    """Delete the entry after the COMMIT: a receiver of `post_save` and `post_delete`."""
    name = key(instance)  # a deleted instance loses its pk
    transaction.on_commit(lambda: cache.delete(name), using=using)


class CacheManager(models.Manager):
    """A manager that reads rows through the cache, and stores what it reads in the database."""

    def contribute_to_class(self, cls: type[models.Model], name: str) -> None:
        super().contribute_to_class(cls, name)
        cls.key = key
        post_save.connect(remove, sender=cls)
        post_delete.connect(remove, sender=cls)

    def cache(self, pk: Any) -> models.Model:
        """Return the row `pk` from the cache, or from the database; raise what `get()` raises."""
        found = cache.get(f"{self.model.__name__}.{pk}")
        if found is None:
            found = self.get(pk=pk)
            cache.set(key(found), found)
        return found
