"""The hot rows, cached by either recipe. Only a storm's own processes have these models."""

from django.db import models

from cars.caching import CacheManager
from cars.recipes import set_on_save


class Hot(models.Model):
    """A row that all read and write, with the number of its last write."""

    number = models.BigIntegerField()

    class Meta:
        abstract = True
        app_label = "storm"


class HotToday(Hot):
    """Cached by the recipe of today."""

    objects = CacheManager()


class Hot2009(Hot):
    """Cached by the recipe of 2009."""

    objects = set_on_save.CacheManager()


RECIPES = {"today": HotToday, "2009": Hot2009}
