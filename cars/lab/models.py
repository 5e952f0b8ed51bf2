"""The row that all schedules work on, cached by either recipe."""

from django.db import models

from cars import caching
from cars.recipes import set_on_save


class Counted(models.Model):
    """A row with one number: that of its last writer."""

    number = models.IntegerField(default=0)

    objects = caching.CacheManager()

    class Meta:
        app_label = "lab"


class Counted2009(models.Model):
    """The same row, cached by the recipe of 2009."""

    number = models.IntegerField(default=0)

    objects = set_on_save.CacheManager()

    class Meta:
        app_label = "lab"
