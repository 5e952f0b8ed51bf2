"""A repair of the recipe of 2009: fill by `add`, and keep None under the key after a save.

From Mike Malone's talk "Scaling Django" (EuroDjangoCon 2009). For 5 seconds after a save no reader
can fill, and a reader never replaces an entry. It serves stale objects if a reader or a transaction
takes longer than that. Don't use it; use `cars.caching`.
"""

from typing import Any

from django.core.cache import cache
from django.db import models
from django.db.models.signals import post_delete, post_save

SECONDS = 5  # that None stands under the key


def key(instance: models.Model) -> str:
    """Return the key of `instance` in the cache."""
    return f"{type(instance).__name__}.{instance.pk}"


def block(instance: models.Model, **kwargs: Any) -> None:
    """Store None, so that nothing can be added: a receiver of `post_save` and `post_delete`."""
    cache.set(key(instance), None, SECONDS)


class CacheManager(models.Manager):
    """A manager that reads rows through the cache, and stores what it reads in the database."""

    def contribute_to_class(self, cls: type[models.Model], name: str) -> None:
        super().contribute_to_class(cls, name)
        cls.key = key
        post_save.connect(block, sender=cls)
        post_delete.connect(block, sender=cls)

    def cache(self, pk: Any) -> models.Model:
        """Return the row `pk` from the cache, or from the database; raise what `get()` raises."""
        found = cache.get(f"{self.model.__name__}.{pk}")
        if found is None:
            found = self.get(pk=pk)
            cache.add(key(found), found)
        return found
