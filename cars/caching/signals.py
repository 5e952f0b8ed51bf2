"""Catching the writes: which signals of which classes hold and release.

Writes are caught by table, not by class: a proxy, a parent, a child or the historical model of a
migration writes the same rows. So every class on a cached table is connected as it is prepared.
"""

from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from django.core.cache import close_caches
from django.core.signals import request_finished
from django.db import close_old_connections, models
from django.db.models.fields.related import lazy_related_operation
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from . import transactions
from .keys import is_cached, tables_written_by

Class = type[models.Model]


# Saves and deletes


def _before_save(sender: Class, instance: models.Model, using: str, **kwargs: Any) -> None:
    transactions.saving(tables_written_by(sender, using), instance, using)


def _after_save(sender: Class, instance: models.Model, using: str, **kwargs: Any) -> None:
    transactions.saved(tables_written_by(sender, using), instance, using)


def _before_delete(sender: Class, instance: models.Model, using: str, **kwargs: Any) -> None:
    transactions.deleting(tables_written_by(sender, using), instance.pk, using)


def _after_delete(sender: Class, instance: models.Model, using: str, **kwargs: Any) -> None:
    if is_cached(sender):
        transactions.deleted(using)


_connected: WeakSet[Class] = WeakSet()


def connect(model: Class) -> None:
    """Catch the saves and deletes of `model`, a class on a cached table."""
    if model in _connected:
        return
    _connected.add(model)
    # Django knows senders by id(), and the historical classes of migrations come and go. So each
    # receiver asks again whether its sender's table is a cached one.
    pre_save.connect(_before_save, sender=model)
    post_save.connect(_after_save, sender=model)
    pre_delete.connect(_before_delete, sender=model)
    post_delete.connect(_after_delete, sender=model)
    for field in model._meta.local_fields:
        if field.remote_field and _is_written_past_querysets(field):
            lazy_related_operation(_connect_target, model, field.remote_field.model, field=field)


# Foreign keys that a delete of their target sets to a default, or to what a function returns:
# Django writes them by SQL that no QuerySet sees.

SEEN = {models.CASCADE, models.DO_NOTHING, models.PROTECT, models.RESTRICT}


def _is_written_past_querysets(field: models.Field) -> bool:
    on_delete = field.remote_field.on_delete
    return on_delete not in SEEN and not getattr(on_delete, "lazy_sub_objs", False)


def _connect_target(model: Class, target: Class, field: models.Field) -> None:
    def hold_referring(instance: models.Model, using: str, **kwargs: Any) -> None:
        if isinstance(instance, target):
            rows = model._base_manager.using(using).filter(**{field.name: instance})
            pks = list(rows.order_by().values_list("pk", flat=True))
            if pks:
                transactions.hold(tables_written_by(model, using), pks, using)

    # Kept on the class that it is about: it goes when the historical classes go.
    target = target._meta.concrete_model
    target._caching_receivers = [*getattr(target, "_caching_receivers", ()), hold_referring]
    for sender in with_subclasses(target):
        connect_referring(sender)


def connect_referring(target: Class) -> None:
    """Let the deletes of `target`, which may be a proxy that was prepared late, hold such rows."""
    for receiver in getattr(target, "_caching_receivers", ()):
        pre_delete.connect(receiver, sender=target)


def with_subclasses(model: Class) -> Iterator[Class]:
    """Yield `model`, its proxies and its children, and theirs."""
    yield model
    for subclass in model.__subclasses__():
        if not subclass._meta.abstract:
            yield from with_subclasses(subclass)


# The end of a request


def settle_before_connections_close() -> None:
    """Settle the transactions of a request at its end, ahead of Django's closing of connections.

    A closed connection doesn't tell any more what has become of its transaction; and what is
    settled after the caches are closed would open theirs again.
    """
    for receiver in (close_old_connections, close_caches):
        request_finished.disconnect(receiver)
    for receiver in (_settle, close_old_connections, close_caches):
        request_finished.connect(receiver)


def _settle(**kwargs: Any) -> None:
    transactions.settle_all()
