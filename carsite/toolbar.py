"""Which requests show the debug toolbar."""

from django.conf import settings
from django.http import HttpRequest


def show_toolbar(request: HttpRequest) -> bool:
    """Return whether to show the toolbar: to every client, while debug is on.

    The toolbar's default is local clients only, but in a container the browser's IP address is not
    local. Streams don't show it, and every few seconds their panels would replace those of an open
    page in the toolbar's store.
    """
    return settings.DEBUG and request.path != "/watch/events"
