from django.apps import AppConfig


class CachingConfig(AppConfig):
    """The recipe as a Django app, under the name of its folder."""

    name = __package__
    label = "caching"

    def ready(self) -> None:
        """Register the checks, and settle transactions at the end of each request."""
        from . import checks, hooks

        checks.register_all()
        hooks.settle_before_connections_close()
