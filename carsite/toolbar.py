"""When the debug toolbar is shown."""

from django.conf import settings
from django.http import HttpRequest


def show_toolbar(request: HttpRequest) -> bool:
    """Show it to everybody while debug is on: in a container the browser's address is not local."""
    return settings.DEBUG
