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

__all__ = ["handler404", "name_process", "save_all", "urlpatterns"]


def name_process(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Name the process that answers in the header X-Process: a middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Process"] = str(os.getpid())
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
