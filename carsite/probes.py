"""What other programs ask: is the site alive, is it ready, what are its metrics?"""

import hmac
import logging
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pymemcache.client.base import Client, normalize_server_spec

from . import metrics

logger = logging.getLogger(__name__)

TIMEOUT = 0.5  # seconds for a Memcached to connect, and to answer


class ProbesMiddleware:
    """Answers /healthz, /readyz and, with METRICS_TOKEN, /metrics.

    It is the first middleware, since probes come without HTTPS, and name any host.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.answers = {"/healthz": healthz, "/readyz": readyz}
        if settings.METRICS_TOKEN:
            self.answers["/metrics"] = show_metrics

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self.answers.get(request.path_info)
        if answer is None or request.method not in ("GET", "HEAD"):
            return self.get_response(request)
        response = answer(request)
        response["Cache-Control"] = "no-store"
        return response


def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200: this process is alive. It asks neither the database nor the cache."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if pages can be served, else 503.

    The database must be reachable. Without the cache, or with some of its servers, the status is
    "degraded": pages are served, but slower.
    """
    database = database_answers()
    away = [server for server in settings.MEMCACHED_SERVERS if not memcached_answers(server)]
    status = "unavailable" if not database else "degraded" if away else "ready"
    parts = {
        "database": "reachable" if database else "unreachable",
        "cache": f"{len(away)} of {len(settings.MEMCACHED_SERVERS)} servers are away"
        if away
        else "reachable",
    }
    return JsonResponse({"status": status, **parts}, status=200 if database else 503)


def database_answers() -> bool:
    """Does the database answer a query?"""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        logger.warning("Not ready: the database doesn't answer: %s", error)
        return False
    return True


def memcached_answers(server: str) -> bool:
    """Does the Memcached at `server` (host:port) answer within TIMEOUT?"""
    client = Client(normalize_server_spec(server), connect_timeout=TIMEOUT, timeout=TIMEOUT)
    try:
        client.version()
    except Exception as error:  # pymemcache raises whatever its parser does on a malformed answer
        logger.warning("Degraded: Memcached at %s doesn't answer: %s", server, error)
        return False
    finally:
        client.close()
    return True


def show_metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics, to who knows the token; to others 401."""
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode()):
        return HttpResponse(
            "The metrics need the header: Authorization: Bearer METRICS_TOKEN\n",
            content_type="text/plain",
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
    return HttpResponse(metrics.as_text(), content_type=CONTENT_TYPE_LATEST)
