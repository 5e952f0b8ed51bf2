"""When the debug toolbar is shown."""

from django.conf import settings
from django.http import HttpRequest

LEFT_ALONE = {"/healthz", "/watch/events"}


def show_toolbar(request: HttpRequest) -> bool:
    """Show it to everybody while debug is on: in a container the browser's address is not local.

    Not to health checks and streams: they see no toolbar, and every few seconds they would push the
    panels of a page that somebody looks at out of the toolbar's store.
    """
    return settings.DEBUG and request.path not in LEFT_ALONE
