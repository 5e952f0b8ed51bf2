"""Requests that can't be answered as they are, and the pages of errors, in the site's own style."""

import sys
from collections.abc import Callable
from typing import Any

from csp.constants import HEADER
from csp.utils import build_policy
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.middleware import common
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.datastructures import MultiValueDictKeyError


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the site's 404 page."""
    response = render(request, "404.html", status=404)
    # django-csp adds no policy to a 404 while DEBUG is on, for Django's technical page.
    response[HEADER] = build_policy()
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the 503 page if the database can't be reached, else the 500 page."""
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        return without_queries("503.html", 503, {"Retry-After": "10"})
    return without_queries("500.html", 500)


def too_many_logins(request: HttpRequest, *args: Any) -> HttpResponse:
    """Return the page for an address with too many failed logins."""
    minutes = round(settings.AXES_COOLOFF_TIME.total_seconds() / 60)
    headers = {"Retry-After": str(minutes * 60)}
    return without_queries("429.html", 429, headers, minutes=minutes)


def without_queries(
    template: str, status: int, headers: dict[str, str] | None = None, **context: Any
) -> HttpResponse:
    """Return a page that needs no database: without the request, whose user would be read."""
    return HttpResponse(render_to_string(template, context), status=status, headers=headers)


class ErrorPagesMiddleware:
    """Gives pages to errors that have none: a 405, a missing parameter, a 404 with DEBUG."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == 404 and settings.DEBUG:
            return page_not_found(request)
        if response.status_code == 405:
            allowed = {"Allow": response["Allow"]}
            return without_queries("405.html", 405, allowed, method=request.method, **allowed)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer 400 where a parameter is missing that a page of the toolbar takes for granted."""
        if isinstance(exception, MultiValueDictKeyError):
            return without_queries("400.html", 400)
        return None


class CommonMiddleware(common.CommonMiddleware):
    """Django's, which adds a missing slash to a URL: here only where nothing can be lost by it.

    A browser follows a redirected POST by a GET, without the form's data.
    """

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        return request.method in ("GET", "HEAD") and super().should_redirect_with_slash(request)


class NulMiddleware:
    """Answers 400 to a URL with a NUL, for which a query raises an error on PostgreSQL."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        if "\0" in request.path_info or "\0" in query or "%00" in query:
            return without_queries("400.html", 400)
        return self.get_response(request)


class FormsMiddleware:
    """Lets every form be read as UTF-8, as it is sent.

    A form in another encoding makes Django fail with debug on: its page of an error, and the
    toolbar, try to read the form again. So it comes before all middleware that can raise an error.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.encoding = "utf-8"
        return self.get_response(request)
