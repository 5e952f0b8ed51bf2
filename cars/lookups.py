"""Where the objects of a page came from: the cache or the database."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from .caching import events


class Lookups:
    """The lookups of one request, as its pages show them."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.seconds = 0.0

    def record(self, event: events.Event) -> None:
        """Remember a hit or a miss; the listener of `events.listen`."""
        if event.outcome in (events.HIT, events.MISS):
            self.outcomes[event.key] = event.outcome

    @property
    def hits(self) -> int:
        """How many objects came from the cache."""
        return list(self.outcomes.values()).count(events.HIT)

    @property
    def misses(self) -> int:
        """How many objects had to be read from the database."""
        return len(self.outcomes) - self.hits


class LookupsMiddleware:
    """Give every request its `lookups`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.lookups = Lookups()
        with events.listen(request.lookups.record):
            return self.get_response(request)
