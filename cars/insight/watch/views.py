"""The page /watch/, and the stream that it shows."""

from collections.abc import Iterator
from threading import BoundedSemaphore

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from cars.caching.registry import config_of
from cars.models import Car

from . import words
from .stream import stream

# Each stream occupies one of the web server's 16 threads; the rest must be left for the pages.
PLACES = 4

places = BoundedSemaphore(PLACES)


@staff_member_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show the cache live. Only for staff, because keys reveal what other people look at."""
    limits = {kind: words.duration(seconds) for kind, seconds in words.longest().items()}
    return render(
        request,
        "watch.html",
        {
            "servers": settings.MEMCACHED_SERVERS,
            "prefix": words.site_prefix(),
            "limits": limits,
            "row": words.duration(config_of(Car).timeout),
        },
    )


@require_GET
def events(request: HttpRequest) -> HttpResponseBase:
    """Stream what happens in the cache, as server-sent events.

    A refusal is a status with a text for the page to show, not a redirect to the login page:
    the page's script could not follow that.
    """
    if not (request.user.is_active and request.user.is_staff):
        return _refuse("You are not logged in as staff. Log in and open this page again.")
    if not settings.MEMCACHED_SERVERS:
        return _refuse("The cache is in local memory, which keeps no log to watch.", status=503)
    if not places.acquire(blocking=False):
        return _refuse(
            f"{PLACES} pages are watching already, which is the limit. "
            "This page tries again every few seconds.",
            status=503,
        )
    response = StreamingHttpResponse(
        LimitedStream(settings.MEMCACHED_SERVERS), content_type="text/event-stream"
    )
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"  # nginx would buffer it
    return response


def _refuse(reason: str, status: int = 403) -> HttpResponse:
    return HttpResponse(f"{reason}\n", status=status, content_type="text/plain; charset=utf-8")


class LimitedStream:
    """A stream that occupies one of the places until it is closed, even if it was never read."""

    def __init__(self, addresses: list[str]) -> None:
        self._stream = stream(addresses)
        self._open = True

    def __iter__(self) -> Iterator[str]:
        return self._stream

    def close(self) -> None:
        """End the stream and free its place, once."""
        if self._open:
            self._open = False
            self._stream.close()
            places.release()
