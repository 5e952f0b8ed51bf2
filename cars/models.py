"""The model of the demo: a car on the lot."""

from datetime import date

from django.core.validators import (
    MaxValueValidator,
    MinValueValidator,
    ProhibitNullCharactersValidator,
)
from django.db import models
from django.urls import reverse

from .alphabet import BY_NAME, Alphabetical
from .caching import CacheManager

FIRST_YEAR = 1886  # of the Benz Patent-Motorwagen
MOST_KM = 9_999_999  # about twice the record, of a Volvo P1800

# PostgreSQL can't store null characters. Forms reject them, but an import uses no form.
no_null_characters = ProhibitNullCharactersValidator()


def next_year() -> int:
    """Return the latest allowed year: next year's models are sold this year."""
    return date.today().year + 1


class Car(models.Model):
    """A car on the lot. Only the make is required."""

    class Body(models.TextChoices):
        CABRIOLET = "cabriolet", "Cabriolet"
        COUPE = "coupe", "Coupé"
        ESTATE = "estate", "Estate"
        HATCHBACK = "hatchback", "Hatchback"
        MPV = "mpv", "MPV"
        PICKUP = "pickup", "Pickup"
        SALOON = "saloon", "Saloon"
        SUV = "suv", "SUV"
        VAN = "van", "Van"

    make = models.CharField(
        max_length=255,
        validators=[no_null_characters],
        help_text="The manufacturer, for example Toyota.",
    )
    model = models.CharField(
        max_length=255,
        blank=True,
        validators=[no_null_characters],
        help_text="The name of the model, for example Avensis.",
    )
    year = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        db_index=True,
        validators=[
            MinValueValidator(FIRST_YEAR, "The year must be %(limit_value)s or later."),
            MaxValueValidator(next_year, "The year must be %(limit_value)s or earlier."),
        ],
        help_text="The year of construction.",
    )
    body = models.CharField(
        max_length=20, blank=True, choices=Body, db_index=True, help_text="The body style."
    )
    origin = models.CharField(
        max_length=60,
        blank=True,
        db_index=True,
        validators=[no_null_characters],
        help_text="The country of the manufacturer.",
    )
    mileage = models.PositiveIntegerField(
        null=True,
        blank=True,
        db_index=True,
        validators=[
            MinValueValidator(0, "A mileage can't be negative."),
            MaxValueValidator(MOST_KM, "The mileage must be %(limit_value)s km or less."),
        ],
        help_text="In kilometres.",
    )
    price = models.DecimalField(
        max_digits=10,
        decimal_places=2,
        null=True,
        blank=True,
        db_index=True,
        validators=[MinValueValidator(0, "A price can't be negative.")],
        help_text="In euros.",
    )

    objects = CacheManager()

    class Meta:
        ordering = BY_NAME
        indexes = [
            models.Index(Alphabetical("make"), Alphabetical("model"), "id", name="car_by_name")
        ]

    def __str__(self) -> str:
        return f"{self.make} {self.model}".strip()

    def get_absolute_url(self) -> str:
        return reverse("cars:detail", args=[self.pk])
