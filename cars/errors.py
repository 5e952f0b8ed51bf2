"""The site's 404 page, also while DEBUG is on."""

from collections.abc import Callable

from csp.constants import HEADER
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the site's 404 page."""
    response = render(request, "404.html", status=404)
    # django-csp adds no policy to a 404 while DEBUG is on, for Django's technical page.
    response[HEADER] = build_policy()
    return response


class NotFoundMiddleware:
    """Replaces Django's technical 404 page, which DEBUG brings, with the site's page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == 404 and settings.DEBUG:
            return page_not_found(request)
        return response
