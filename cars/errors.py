"""The site's own "not found" page, with debug on too."""

from collections.abc import Callable

from csp.constants import HEADER
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 404 in the site's style."""
    response = render(request, "404.html", status=404)
    # With debug on django-csp leaves 404 out, for the sake of Django's technical page.
    response[HEADER] = build_policy()
    return response


class NotFoundMiddleware:
    """Show the site's own 404 page in place of the technical one that debug brings."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == 404 and settings.DEBUG:
            return page_not_found(request)
        return response
