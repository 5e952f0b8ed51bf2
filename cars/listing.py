"""Finding cars: search, filters, order and pages of the list."""

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import F, Q, QuerySet
from django.http import QueryDict

from .forms import FindForm
from .models import Car

PER_PAGE = 25


def find(query: QueryDict) -> tuple[FindForm, Page]:
    """Return the form filled in, and the page of pks (not cars) that `query` asks for.

    What makes no sense is as if it weren't there; a page out of range is the last one.
    """
    origins = list(_origins())
    asked = FindForm(query, origins=origins)
    asked.is_valid()
    chosen = asked.cleaned_data  # without the fields whose value makes no sense
    page = Paginator(_pks(chosen), PER_PAGE).get_page(query.get("page"))
    return FindForm(initial=chosen, origins=origins), page


def _origins() -> QuerySet:
    origins = Car.objects.exclude(origin="").order_by("origin")
    return origins.values_list("origin", flat=True).distinct()


def _pks(chosen: dict[str, Any]) -> QuerySet:
    cars = Car.objects.all()
    for word in chosen.get("q", "").split():
        cars = cars.filter(Q(make__icontains=word) | Q(model__icontains=word))
    for field in ("origin", "body"):
        if value := chosen.get(field):
            cars = cars.filter(**{field: value})
    return cars.order_by(*_order(chosen.get("sort"))).values_list("pk", flat=True)


def _order(sort: str | None) -> list[Any]:
    by_name = ["make", "model", "pk"]
    if not sort or sort == "name":
        return by_name
    field = F(sort.removeprefix("-"))
    # Cars that don't say come last either way; by default the databases disagree.
    first = field.desc(nulls_last=True) if sort.startswith("-") else field.asc(nulls_last=True)
    return [first, *by_name]
