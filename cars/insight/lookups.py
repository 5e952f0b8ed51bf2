"""Where the objects of a page came from: the cache or the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize

from cars.caching import events


class Covered:
    """How much time spans cover that have just ended, and may overlap or lie in each other."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, seconds: float) -> None:
        """Add the span of `seconds` that ends now."""
        end = perf_counter()
        start = end - seconds
        while self._spans and self._spans[-1][0] >= start:
            self._spans.pop()
        if self._spans:
            start = max(start, self._spans[-1][1])
        self._spans.append((start, end))

    @property
    def milliseconds(self) -> float:
        """What they cover."""
        return sum(end - start for start, end in self._spans) * 1000


@dataclass
class Lookup:
    """Where one object came from: the outcome of its read, one of those in `events`."""

    outcome: str
    filled: bool = False  # read from the database, and then put into the cache

    @property
    def hit(self) -> bool:
        """Did it come from the cache, at once or as soon as another reader had put it there?"""
        return self.outcome in (events.HIT, events.WAITED)

    @property
    def held(self) -> bool:
        """Was a writer at it, so that nobody was to rely on the cache?"""
        return self.outcome == events.HELD


class Lookups:
    """The lookups of one request, as its pages show them."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._by_key: dict[str, Lookup] = {}
        self._covered = Covered()
        self.milliseconds = 0.0  # spent inside `timed()`

    def record(self, event: events.Event) -> None:
        """Remember what a read came to; the listener of `events.listen`."""
        self._covered.add(event.seconds)
        if event.outcome in events.LOOKUPS:
            self._by_key.setdefault(event.key, Lookup(event.outcome))
        elif event.outcome == events.FILLED and event.key in self._by_key:
            self._by_key[event.key].filled = True

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time that the block takes to `milliseconds`."""
        started = perf_counter()
        try:
            yield
        finally:
            self.milliseconds += (perf_counter() - started) * 1000

    def of(self, instance: Model) -> Lookup | None:
        """Return where `instance` came from, or None if nobody asked for it by its key."""
        return self._by_key.get(instance.key())

    @property
    def hits(self) -> int:
        """How many objects came from the cache."""
        return sum(lookup.hit for lookup in self._by_key.values())

    @property
    def misses(self) -> int:
        """How many objects had to be read from the database."""
        return len(self._by_key) - self.hits

    @property
    def page_milliseconds(self) -> float:
        """How long the request has taken so far."""
        return (perf_counter() - self._started) * 1000

    @property
    def server_timing(self) -> str:
        """What browsers show in their network tab: the value of a `Server-Timing` header.

        Its time is that of all reads and fills, with the SELECTs of the fills.
        """
        counted = in_words(self.hits, self.misses)
        return f'cache;desc="{counted}";dur={self._covered.milliseconds:.2f}'


def in_words(hits: int, misses: int) -> str:
    """Return both numbers with their words, as in "3 hits, 1 miss"."""
    return f"{hits} hit{pluralize(hits)}, {misses} miss{pluralize(misses, 'es')}"


class LookupsMiddleware:
    """Give every request its `lookups`, and with debug every response its `Server-Timing`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.lookups = Lookups()
        with events.listen(request.lookups.record):
            response = self.get_response(request)
        if settings.DEBUG:  # others are told nothing about what is cached
            timings = [response.get("Server-Timing"), request.lookups.server_timing]
            response["Server-Timing"] = ", ".join(filter(None, timings))
        return response
