from django.apps import AppConfig


class CachingConfig(AppConfig):
    """The recipe as an app of its own, under whatever name its folder has."""

    name = __package__
    label = "caching"
