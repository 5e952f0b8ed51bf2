"""Whether the objects of a page came from the cache or from the database."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize

from cars.caching import events

from .steps import RESULTS, Steps, result_of

EXPLANATIONS = {
    events.HIT: "read from the cache",
    events.MISS: "read from the database",
    events.HELD: "read from the database, because a writer holds it or owes a withdrawal",
    events.WAITED: "read from the cache at a second look",
    events.GIVEN_UP: "read from the database, because another reader’s fill took too long",
    events.NO_ANSWER: "read from the database: the cache does not answer",
}


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
    def result(self) -> str:
        """The outcome in short: "hit", "miss" or "no answer"."""
        return result_of(self.outcome)

    @property
    def explanation(self) -> str:
        """Where the object came from, and why."""
        if self.filled:
            return "read from the database and put into the cache"
        return EXPLANATIONS[self.outcome]


class Lookups:
    """The lookups of one request, as the page shows them."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._by_key: dict[str, Lookup] = {}
        self.steps = Steps()

    def record(self, event: events.Event) -> None:
        """Record the outcome of a lookup, or a step; a listener for `events.listen()`."""
        self.steps.record(event)
        if event.outcome in events.LOOKUPS:
            self._by_key.setdefault(event.key, Lookup(event.outcome))
        elif event.outcome == events.FILLED and event.key in self._by_key:
            self._by_key[event.key].filled = True

    def of(self, instance: Model) -> Lookup | None:
        """Return the lookup of `instance`, or None if it wasn't read through the cache."""
        return self._by_key.get(instance.key())

    @property
    def counts(self) -> Counter[str]:
        """The number of objects by the result of their lookup."""
        return Counter(lookup.result for lookup in self._by_key.values())

    @property
    def in_words(self) -> str:
        """The same in words; "" if nothing was read through the cache."""
        return in_words(self.counts) if self._by_key else ""

    @property
    def page_milliseconds(self) -> float:
        """The time that the request has taken so far, in milliseconds."""
        return (perf_counter() - self._started) * 1000

    @property
    def server_timing(self) -> str:
        """The value of a `Server-Timing` header, which browsers show in their network tab.

        The time covers all lookups and fills, including the SELECTs of the fills.
        """
        return f'cache;desc="{in_words(self.counts)}";dur={self.steps.milliseconds:.2f}'


def in_words(counts: Mapping[str, int]) -> str:
    """Return these numbers, by result, with their nouns, for example "3 hits, 1 miss".

    Hits and misses are left out if the cache didn't answer at all.
    """
    hits, misses, unanswered = (counts.get(each, 0) for each in RESULTS)
    words = [f"{hits} hit{pluralize(hits)}", f"{misses} miss{pluralize(misses, 'es')}"]
    if unanswered:
        words = [*(words if hits or misses else []), f"{unanswered} without an answer"]
    return ", ".join(words)


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
