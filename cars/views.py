"""The views of the site's pages."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.contrib.messages.views import SuccessMessageMixin
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import CreateView, DeleteView, UpdateView

from . import documents, listing
from .caching.inspection import inspect
from .forms import CarForm
from .insight import source, writes
from .lab.storm import results
from .models import Car


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the start page: the claim with its figures, four lines of code, and what to try."""
    storms = results.recorded()
    return render(
        request,
        "home.html",
        {
            "car": Car.objects.first(),
            "snippets": source.snippets(),
            "before": storms["2009"],
            "today": storms["today"],
            "debug": settings.DEBUG,
        },
    )


@require_safe
def documentation(request: HttpRequest) -> HttpResponse:
    """List the pages of the documentation."""
    return render(request, "documents.html", {"documents": documents.listed()})


@require_safe
def picture(request: HttpRequest, name: str) -> FileResponse:
    """Send a picture of the documentation."""
    if name not in documents.pictures():
        raise Http404(f"There is no picture {name!r} in the documentation.")
    return FileResponse(documents.pictures()[name].open("rb"))


@require_safe
def document(request: HttpRequest, name: str) -> HttpResponse:
    """Show a page of the documentation."""
    try:
        text = documents.text(name)
    except KeyError:
        raise Http404(f"There is no page {name!r} in the documentation.") from None
    return render(request, "document.html", {"text": text})


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List cars: the pks come from the database, the cars from the cache."""
    form, page = listing.find(request.GET)
    pks = list(page.object_list)
    cars = Car.objects.cache_many(pks)
    return render(
        request,
        "cars/list.html",
        {
            "form": form,
            "page": page,
            "pages": page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
            "rows": [(car, request.lookups.of(car)) for car in cars.values()],
        },
    )


@require_safe
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a car, read through the cache."""
    try:
        car = Car.objects.cache(pk)
    except Car.DoesNotExist:
        raise Http404(f"There is no car {pk}.") from None
    lookup, standing = request.lookups.of(car), inspect(car)
    return render(request, "cars/detail.html", {"car": car, "lookup": lookup, "standing": standing})


@permission_required("cars.change_car", raise_exception=True)
@require_POST
def forget(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a car from the cache, so that the next read is a miss. Only for staff."""
    if not request.user.is_staff:
        raise PermissionDenied
    if Car.objects.forget([pk]):
        messages.success(request, "The car was removed from the cache.")
    else:
        messages.warning(request, "There was no row to remove, or the cache does not answer.")
    return redirect("cars:detail", pk)


class CarChange(PermissionRequiredMixin, SuccessMessageMixin):
    """The base of the views that add, edit and delete: checks a permission, shows a message.

    These views read the car from the database, because a write must not be based on cached values.
    """

    model = Car
    done = ""

    def get_success_message(self, cleaned_data: dict[str, Any]) -> str:
        return writes.described(self.request, f"{self.object} {self.done}")


class CarAdd(CarChange, CreateView):
    """Add a car."""

    form_class = CarForm
    template_name = "cars/form.html"
    permission_required = "cars.add_car"
    done = "was added"


class CarEdit(CarChange, UpdateView):
    """Edit a car."""

    form_class = CarForm
    template_name = "cars/form.html"
    permission_required = "cars.change_car"
    done = "was saved"


class CarDelete(CarChange, DeleteView):
    """Delete a car after a confirmation."""

    template_name = "cars/confirm_delete.html"
    success_url = reverse_lazy("cars:list")
    permission_required = "cars.delete_car"
    done = "was deleted"
