"""Counts what the recipe tells of the rows that requests read and write, for Prometheus.

With PROMETHEUS_MULTIPROC_DIR set, as the image does, the counts are of all workers together.
"""

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from cars.caching import events

seconds = Histogram(
    "carsite_cache_seconds",
    "How each lookup, fill and write of a row ended, and how long it took.",
    ["model", "outcome"],
    buckets=[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
)


def record(event: events.Event) -> None:
    """Count `event`; a listener for `events.listen()`."""
    seconds.labels(event.model._meta.label, event.outcome).observe(event.seconds)


def as_text() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class MetricsMiddleware:
    """Records the events of each request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with events.listen(record):
            return self.get_response(request)
