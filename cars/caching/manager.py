"""What a model uses: `objects = CacheManager()`."""

from collections.abc import Iterable
from typing import Any

from django.db import models, transaction

from . import signals, store
from .keys import key_of


class CacheQuerySet(models.QuerySet):
    """A QuerySet whose `update()`, which sends no signals, expires what it changed."""

    def update(self, **values: Any) -> int:
        """Update as Django does, and expire the objects it changed when that is committed."""
        with transaction.atomic(using=self.db):
            pks = list(self.order_by().values_list("pk", flat=True))
            rows = super().update(**values)
            transaction.on_commit(lambda: store.expire(self.model, pks), using=self.db)
        return rows

    update.alters_data = True


class CacheManager(models.Manager.from_queryset(CacheQuerySet)):
    """A manager that reads objects through the cache, and keeps the cache right.

    It gives its model a method `key()`, the key of the object in the cache.
    """

    def contribute_to_class(self, cls: type[models.Model], name: str) -> None:
        super().contribute_to_class(cls, name)
        if not hasattr(cls, "key"):
            cls.key = lambda instance: key_of(cls, instance.pk)
        signals.connect(cls)

    def cache(self, pk: Any) -> models.Model:
        """Return the object `pk`, from the cache if it is there; else put it there.

        Raises what `get(pk=pk)` raises: DoesNotExist, and ValueError for what is no pk.
        """
        pk = self.model._meta.pk.get_prep_value(pk)
        return self.cache_many([pk]).get(pk) or self.get(pk=pk)

    def cache_many(self, pks: Iterable[Any]) -> dict[Any, models.Model]:
        """Return the objects `pks` by pk, in the order asked for; what doesn't exist is missing."""
        return store.read_many(self, list(pks))

    def expire(self, pks: Iterable[Any]) -> None:
        """Take the objects `pks` out of the cache, after writes that Django has not seen."""
        store.expire(self.model, list(pks))
