from django.apps import AppConfig


class CarsConfig(AppConfig):
    """The demo app: a lot of cars, cached in Memcached."""

    name = "cars"
