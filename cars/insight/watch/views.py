"""The page /watch/, and the stream that it shows."""

from collections.abc import Generator, Iterator
from threading import BoundedSemaphore

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.template.defaultfilters import pluralize
from django.views.decorators.http import require_GET

from cars.caching.registry import config_of
from cars.models import Car

from . import plug, server, words
from .recorder import recorder
from .stream import stream
from .table import cached

# Each stream occupies a thread of the web server; the rest must be left for the pages.
places = BoundedSemaphore(settings.WATCH_PLACES)

NO_THREADS = (
    "An open page would occupy one of the web server’s threads for as long as it is open. This "
    "server has too few of them to watch live: it needs four threads for each page."
)


@staff_member_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show the cache live. Only for staff, because keys reveal what other people look at."""
    limits = {kind: words.duration(seconds) for kind, seconds in words.longest().items()}
    found = {address: server.items(address) for address in settings.MEMCACHED_SERVERS}
    key = request.GET.get("key", "").strip()
    return render(
        request,
        "watch/page.html",
        {
            "servers": settings.MEMCACHED_SERVERS,
            "no_threads": "" if _has_places(request) else NO_THREADS,
            "key": key,
            "debug": settings.DEBUG,
            "is_demo": bool(settings.DEMO_PID),
            "runs": bool(settings.DEMO_PID) and plug.runs(),
            "marks": words.MARKS,
            "cached": cached(found, words.site_prefix(), key),
            "prefix": words.site_prefix(),
            "limits": limits,
            "row": words.duration(config_of(Car).timeout),
        },
    )


def _has_places(request: HttpRequest) -> bool:
    """Can this web server serve other pages beside a stream?"""
    return settings.WATCH_PLACES > 0 and bool(request.META.get("wsgi.multithread"))


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
    if not _has_places(request):
        return _refuse(NO_THREADS, status=503)
    if not places.acquire(blocking=False):
        count = settings.WATCH_PLACES
        return _refuse(
            f"{count} page{pluralize(count, ' is,s are')} watching already, which is the limit. "
            "This page tries again every few seconds.",
            status=503,
        )
    shown = stream(
        recorder(settings.MEMCACHED_SERVERS),
        request.GET.get("key", ""),
        _last_event(request),
        request.META.get("gunicorn.socket"),
    )
    response = StreamingHttpResponse(LimitedStream(shown), content_type="text/event-stream")
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"  # nginx would buffer it
    return response


def _last_event(request: HttpRequest) -> float:
    """Return the time of the last event that a browser has got before it reconnected, or 0."""
    try:
        return float(request.headers.get("Last-Event-ID", ""))
    except ValueError:
        return 0.0


def _refuse(reason: str, status: int = 403) -> HttpResponse:
    return HttpResponse(f"{reason}\n", status=status, content_type="text/plain; charset=utf-8")


class LimitedStream:
    """A stream that occupies one of the places until it is closed, even if it was never read."""

    def __init__(self, events: Generator[str]) -> None:
        self._stream = events
        self._open = True

    def __iter__(self) -> Iterator[str]:
        return self._stream

    def close(self) -> None:
        """End the stream and free its place, once."""
        if self._open:
            self._open = False
            self._stream.close()
            places.release()
