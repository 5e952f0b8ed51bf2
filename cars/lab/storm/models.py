"""The rows of a storm, cached by either recipe. Only the processes of a storm load this module."""

from collections.abc import Callable

from django.db import models

from cars.caching import CacheManager
from cars.recipes import set_on_save


class Hot(models.Model):
    """A row that all processes read and write, with the number of its last write."""

    number = models.BigIntegerField()

    key: Callable[[], str]  # added by the managers

    class Meta:
        abstract = True
        app_label = "storm"


class HotToday(Hot):
    """Cached by this project's recipe."""

    objects = CacheManager()


class Hot2009(Hot):
    """Cached by the recipe of 2009."""

    objects = set_on_save.CacheManager()


HotModel = type[HotToday] | type[Hot2009]
RECIPES: dict[str, HotModel] = {"today": HotToday, "2009": Hot2009}
