from django.apps import AppConfig


class CachingConfig(AppConfig):
    """The recipe as an app of its own, under the name that its folder has."""

    name = __package__
    label = "caching"

    def ready(self) -> None:
        """Register the checks, and settle transactions at the end of each request."""
        from . import checks, hooks

        checks.register_all()
        hooks.settle_before_connections_close()
