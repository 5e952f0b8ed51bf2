"""What the site has more in a run: a page that saves many cars in one transaction."""

import os
import time
from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from cars.models import Car
from carsite.urls import handler404, urlpatterns

from . import waits

__all__ = ["describe_answer", "handler404", "save_all", "urlpatterns"]


def describe_answer(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Say which process answers, and how long it waited for the cache: a middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        waits.begin()
        response = get_response(request)
        response["X-Process"] = str(os.getpid())
        response["X-Waited"] = f"{waits.seconds():.6f}"
        return response

    return middleware


@csrf_exempt
@require_POST
def save_all(request: HttpRequest) -> HttpResponse:
    """Save the cars `pk` with the model `model` in one transaction.

    It stays open for `seconds` more, and is rolled back if `undo` is given.
    """
    with transaction.atomic():
        for pk in request.POST.getlist("pk"):
            car = Car.objects.get(pk=pk)
            car.model = request.POST["model"]
            car.save()
        time.sleep(float(request.POST.get("seconds", 0)))
        if "undo" in request.POST:
            transaction.set_rollback(True)
    return HttpResponse(status=204)


urlpatterns = [*urlpatterns, path("save-all/", save_all)]
