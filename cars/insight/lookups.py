"""Whether the objects of a page came from the cache or from the database."""

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
    """The total time that a series of spans covers; spans may overlap or contain each other."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, seconds: float) -> None:
        """Add a span of `seconds` that ends now."""
        end = perf_counter()
        start = end - seconds
        while self._spans and self._spans[-1][0] >= start:
            self._spans.pop()
        if self._spans:
            start = max(start, self._spans[-1][1])
        self._spans.append((start, end))

    @property
    def milliseconds(self) -> float:
        """The time covered, in milliseconds; time in several spans counts once."""
        return sum(end - start for start, end in self._spans) * 1000


@dataclass
class Lookup:
    """One object read through the cache: `outcome` is one of `events.LOOKUPS`."""

    outcome: str
    filled: bool = False  # after a miss: the row was put into the cache

    @property
    def hit(self) -> bool:
        """Whether the object came from the cache, at once or after another reader's fill."""
        return self.outcome in (events.HIT, events.WAITED)

    @property
    def held(self) -> bool:
        """Whether a writer held the key, so that the read went to the database."""
        return self.outcome == events.HELD


class Lookups:
    """The lookups of one request, as the page shows them."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._by_key: dict[str, Lookup] = {}
        self._covered = Covered()
        self.milliseconds = 0.0  # spent inside `timed()`

    def record(self, event: events.Event) -> None:
        """Record the outcome of a lookup, or its fill; a listener for `events.listen()`."""
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
        """Return the lookup of `instance`, or None if it wasn't read through the cache."""
        return self._by_key.get(instance.key())

    @property
    def hits(self) -> int:
        """The number of objects that came from the cache."""
        return sum(lookup.hit for lookup in self._by_key.values())

    @property
    def misses(self) -> int:
        """The number of objects that came from the database."""
        return len(self._by_key) - self.hits

    @property
    def page_milliseconds(self) -> float:
        """The time that the request has taken so far, in milliseconds."""
        return (perf_counter() - self._started) * 1000

    @property
    def server_timing(self) -> str:
        """The value of a `Server-Timing` header, which browsers show in their network tab.

        The time covers all lookups and fills, including the SELECTs of the fills.
        """
        counted = in_words(self.hits, self.misses)
        return f'cache;desc="{counted}";dur={self._covered.milliseconds:.2f}'


def in_words(hits: int, misses: int) -> str:
    """Return both numbers with their nouns, for example "3 hits, 1 miss"."""
    return f"{hits} hit{pluralize(hits)}, {misses} miss{pluralize(misses, 'es')}"


class LookupsMiddleware:
    """Add `lookups` to each request and, if DEBUG is on, `Server-Timing` to each response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.lookups = Lookups()
        with events.listen(request.lookups.record):
            response = self.get_response(request)
        if settings.DEBUG:  # in production it would tell visitors what is cached
            timings = [response.get("Server-Timing"), request.lookups.server_timing]
            response["Server-Timing"] = ", ".join(filter(None, timings))
        return response
