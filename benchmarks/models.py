"""The model of all contestants. Only its manager differs."""

from django.conf import settings
from django.db import models
from django.utils.module_loading import import_string


class Car(models.Model):
    """A row of the site's own table, field by field as in cars.models.

    Not that class itself, because its signals would also run for the other contestants.
    """

    make = models.CharField(max_length=255)
    model = models.CharField(max_length=255, blank=True)
    year = models.PositiveSmallIntegerField(null=True, blank=True)
    body = models.CharField(max_length=20, blank=True)
    origin = models.CharField(max_length=60, blank=True)
    mileage = models.PositiveIntegerField(null=True, blank=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, null=True, blank=True)

    objects = import_string(settings.BENCHMARKS_MANAGER)()

    class Meta:
        managed = False  # the site's migrations create it
        db_table = "cars_car"
