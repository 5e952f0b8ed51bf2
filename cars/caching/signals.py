"""Keeping the cache right: a save fills, a delete expires."""

from typing import Any

from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from . import store


def connect(model: type[Model]) -> None:
    """Let the saves and deletes of `model` reach the cache."""
    post_save.connect(_saved, sender=model)
    post_delete.connect(_deleted, sender=model)


def _saved(instance: Model, **kwargs: Any) -> None:
    store.fill([instance])


def _deleted(instance: Model, **kwargs: Any) -> None:
    store.expire(type(instance), [instance.pk])
