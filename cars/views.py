"""The pages."""

from django.http import HttpRequest, HttpResponse
from django.views import generic

from .models import Car


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("carsite")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse("404", status=404)


def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


def detail(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(str(Car.objects.cache(pk)))


class CarList(generic.ListView):
    model = Car


class CarAdd(generic.CreateView):
    model = Car


class CarEdit(generic.UpdateView):
    model = Car


class CarDelete(generic.DeleteView):
    model = Car
