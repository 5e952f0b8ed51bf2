"""From the values of a row to its instance, as `Model.from_db` does it, but faster."""

from collections.abc import Sequence
from functools import cache as memoize
from inspect import getattr_static
from typing import Any

from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

from ..registry import CachedModel

# Methods that take part in making an instance, whichever class defines them.
PARTS = ("__new__", "__init__", "__setattr__", "from_db")

# Descriptors of fields that only store what is set on a new instance.
ONLY_STORED = (DeferredAttribute, ForeignKeyDeferredAttribute)


def make_instance(cached: CachedModel, values: Sequence[Any]) -> Model:
    """Return the instance of `cached` with these values, one for each of `cached.names`."""
    model = cached.instance_class or cached.model
    # Mostly no model has listeners, and that is cheaper to check than whether this one has.
    is_listened_to = (pre_init.receivers or post_init.receivers) and _is_listened_to(model)
    if is_listened_to or not _is_plain(model):
        return model.from_db(cached.alias, cached.names, values)
    # What `from_db` and `Model.__init__` do for a plain model, in less than half the time.
    instance = object.__new__(model)
    attributes = instance.__dict__
    state = attributes["_state"] = ModelState()
    state.adding = False
    state.db = cached.alias
    attributes.update(zip(cached.names, values))  # noqa: B905 (`strict` costs time)
    return instance


def _parts(model: type[Model]) -> list[Any]:
    return [vars(cls)[part] for cls in model.__mro__[:-1] for part in PARTS if part in vars(cls)]


DJANGOS = _parts(Model)


@memoize
def _is_plain(model: type[Model]) -> bool:
    """Does Django alone make its instances, with attributes that are only stored?

    The answer is kept from the first row on: a class that is patched later isn't noticed.
    """
    if type(model).__call__ is not type.__call__ or _parts(model) != DJANGOS:
        return False
    fields = model._meta.concrete_fields
    attributes = (getattr_static(model, field.attname, None) for field in fields)
    return all(type(attribute) in ONLY_STORED for attribute in attributes)


def _is_listened_to(model: type[Model]) -> bool:
    return pre_init.has_listeners(model) or post_init.has_listeners(model)
