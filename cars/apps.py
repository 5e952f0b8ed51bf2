from django.apps import AppConfig


class CarsConfig(AppConfig):
    """The demonstration: cars on a lot, cached."""

    name = "cars"
