"""Catching the writes: which signals of which classes hold and release, and the end of a request.

Writes are caught by database table, not by class: a proxy, a parent, a child or the historical
model of a migration writes the same rows. So every class on a cached table is connected as soon as
it is prepared.
"""

from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from django.core.cache import close_caches
from django.core.signals import request_finished
from django.db import close_old_connections, models, router
from django.db.models.fields.related import lazy_related_operation
from django.db.models.options import Options
from django.db.models.signals import (
    class_prepared,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)
from django.dispatch import receiver
from django.utils.functional import cached_property

from . import transactions
from .manager import CacheManager, has_own_queryset
from .registry import cached_model, concrete, is_cached, register, written_by

ModelClass = type[models.Model]


# Every class on a cached table, as soon as it is prepared


@receiver(class_prepared)
def _prepare(sender: ModelClass, **kwargs: Any) -> None:
    _connect_referring(sender)
    if sender.__module__ == "__fake__":  # a historical model of a migration
        if is_cached(sender):
            _adopt(sender)
        return
    manager = next((m for m in sender._meta.managers if isinstance(m, CacheManager)), None)
    owner: Any = concrete(sender)
    register(owner, manager.config if manager else None)
    if manager and not hasattr(owner, "key"):
        owner.key = _key
    # Parents and their proxies were prepared before it was known that they share cached rows.
    for root in (owner, *owner._meta.all_parents):
        for model in _with_subclasses(root):
            if is_cached(model):
                _connect(model)
                _give_base_manager(model)


def _key(instance: models.Model) -> str:
    """Return the key of this row in the cache."""
    model = type(instance)
    alias = router.db_for_write(model, instance=instance)
    return cached_model(concrete(model), alias).key(instance.pk)


def _give_base_manager(model: ModelClass) -> None:
    meta: Any = model._meta
    meta.__class__ = HoldingOptions
    meta._expire_cache()


class HoldingOptions(Options):  # type: ignore[type-arg]  # generic in the stubs only
    """The `_meta` of a class on a cached table, whose base manager holds.

    Django's own writes (SET_NULL, related `add`) go through the base manager. It is none of the
    model's managers: migrations would note that they have changed.
    """

    @cached_property
    def base_manager(self) -> models.Manager[Any]:
        """Return the one that is named or inherited, or else a CacheManager."""
        manager: models.Manager[Any] = Options.base_manager.func(self)  # type: ignore[attr-defined]
        if manager.name != "_base_manager":
            return manager
        holding = CacheManager()
        holding.name, holding.model = manager.name, self.model
        holding.auto_created = True
        return holding


def _adopt(model: ModelClass) -> None:
    """Give a historical model a CacheManager, unless it has one, so that its writes hold too."""
    meta: Any = model._meta
    manager = next((own for own in meta.managers if isinstance(own, CacheManager)), None)
    if manager is None or has_own_queryset(manager):
        meta.local_managers = [own for own in meta.local_managers if own.name != "objects"]
        manager = CacheManager()
        model.add_to_class("objects", manager)
        meta.default_manager_name = "objects"
    meta.base_manager_name = manager.name
    meta._expire_cache()

    # Django refers to receivers weakly. These are kept on the class, so that they go with it.
    def before_delete(**kwargs: Any) -> None:
        transactions.before_delete(**kwargs)

    def after_delete(**kwargs: Any) -> None:
        transactions.after_delete(**kwargs)

    meta.caching_deletes = (before_delete, after_delete)
    pre_delete.connect(before_delete, sender=model)
    post_delete.connect(after_delete, sender=model)
    _connect_fields(model)


# Saves and deletes. Saves of all models are listened to: migrations make thousands of historical
# classes, and to connect each of them takes time with the square of their number. For deletes
# this would take Django's fast path from every model of the project.

pre_save.connect(transactions.before_save)
post_save.connect(transactions.after_save)

_connected: WeakSet[ModelClass] = WeakSet()


def _connect(model: ModelClass) -> None:
    """Catch the deletes of `model`, a class on a cached table."""
    if model in _connected:
        return
    _connected.add(model)
    pre_delete.connect(transactions.before_delete, sender=model)
    post_delete.connect(transactions.after_delete, sender=model)
    _connect_fields(model)


def _connect_fields(model: ModelClass) -> None:
    for field in model._meta.local_fields:
        if field.remote_field and _is_written_past_querysets(field.remote_field):
            lazy_related_operation(_connect_target, model, field.remote_field.model, field=field)


# Foreign keys that a delete of their target sets to a default, or to what a function returns:
# Django writes them by SQL that goes past every QuerySet.

BY_QUERYSETS = {models.CASCADE, models.DO_NOTHING, models.PROTECT, models.RESTRICT}


def _is_written_past_querysets(relation: Any) -> bool:
    on_delete = relation.on_delete
    # Django writes those of `lazy_sub_objs`, as SET_NULL, by `update()`.
    return on_delete not in BY_QUERYSETS and not getattr(on_delete, "lazy_sub_objs", False)


def _connect_target(model: ModelClass, target: ModelClass, field: "models.Field[Any, Any]") -> None:
    def hold_referring(instance: models.Model, using: str, **kwargs: Any) -> None:
        if written_by(model, using):
            rows = model._base_manager.using(using).filter(**{field.name: instance})
            pks = list(rows.order_by().values_list("pk", flat=True))
            if pks:
                transactions.hold(model, pks, using)

    # Kept on the class of the target, so that it goes when a historical class goes.
    owner: Any = concrete(target)
    owner._caching_receivers = [*getattr(owner, "_caching_receivers", ()), hold_referring]
    for sender in _with_subclasses(owner):
        _connect_referring(sender)


def _connect_referring(target: ModelClass) -> None:
    """Let the deletes of `target`, which may be a proxy that was prepared late, hold such rows."""
    for hold_referring in getattr(target, "_caching_receivers", ()):
        pre_delete.connect(hold_referring, sender=target)


def _with_subclasses(model: ModelClass) -> Iterator[ModelClass]:
    """Yield `model`, its proxies and its children, and theirs."""
    yield model
    for subclass in model.__subclasses__():
        if not subclass._meta.abstract:
            yield from _with_subclasses(subclass)


# The end of a request


def settle_before_connections_close() -> None:
    """Settle the transactions of a request at its end, before Django closes connections.

    A closed connection can't tell how its transaction ended; and settling after the caches are
    closed would open theirs again.
    """
    for end in (close_old_connections, close_caches):
        request_finished.disconnect(end)
    for end in (transactions.settle_all, close_old_connections, close_caches):
        request_finished.connect(end)
