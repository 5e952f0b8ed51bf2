"""CacheManager in place of Django's Manager, in this process only.

Django's Manager is replaced under every name by which Django and its tests know it. So it is also
the manager of a model that declares none, and the class that custom managers and those of
`from_queryset()` and `as_manager()` derive from. Managers that derive from BaseManager stay.
"""

from typing import Any

from django.apps import AppConfig
from django.db import models
from django.db.models import base, manager, options

from cars.caching import CacheManager, hooks
from cars.caching.registry import Config


class Replacement(CacheManager):
    """A CacheManager whose keys begin with the app's label: Django's tests repeat model names."""

    @property
    def config(self) -> Config:
        """What a CacheManager is given; computed, as some managers skip Manager.__init__."""
        return Config(3600, f"{self.model._meta.app_label}.", "default")

    @config.setter
    def config(self, value: Config) -> None:
        """Ignore what CacheManager.__init__ sets: the model isn't known then."""


class CachingConfig(AppConfig):
    """The recipe as an app without its checks, which refuse what some of the tests' models do."""

    name = "cars.caching"
    label = "caching"

    def ready(self) -> None:
        """Settle transactions at the end of each request."""
        hooks.settle_before_connections_close()


def replace() -> None:
    """Replace Django's Manager. To be called before any model is defined."""
    # So that migrations find it by its name, as they find Django's.
    Replacement.__module__ = manager.__name__
    Replacement.__name__ = Replacement.__qualname__ = "Manager"
    modules: list[Any] = [models, base, manager, options]
    for module in modules:
        module.Manager = Replacement
