from django.apps import AppConfig


class CachingConfig(AppConfig):
    """The recipe as an app of its own, under whatever name its folder has."""

    name = __package__
    label = "caching"

    def ready(self) -> None:
        """Register the checks, and look after the ends of requests."""
        from . import checks, signals  # noqa: F401

        signals.settle_before_connections_close()
