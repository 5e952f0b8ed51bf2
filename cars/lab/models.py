"""The row that all schedules work on, cached by each recipe."""

from django.db import models

from cars import caching
from cars.recipes import delete_on_commit, none_on_save, set_on_commit, set_on_save


class Numbered(models.Model):
    """A row with one number: that of its last writer."""

    number = models.IntegerField(default=0)

    class Meta:
        abstract = True
        app_label = "lab"


class Counted(Numbered):
    """The row, cached by this project's recipe."""

    objects = caching.CacheManager()


class Counted2009(Numbered):
    """The same row, cached by the recipe of 2009."""

    objects = set_on_save.CacheManager()


class CountedNoneOnSave(Numbered):
    """The same row, cached by `none_on_save`."""

    objects = none_on_save.CacheManager()


class CountedSetOnCommit(Numbered):
    """The same row, cached by `set_on_commit`."""

    objects = set_on_commit.CacheManager()


class CountedDeleteOnCommit(Numbered):
    """The same row, cached by `delete_on_commit`."""

    objects = delete_on_commit.CacheManager()
