"""Finds cars: the search, filters, order and pages of the list."""

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import F, Q, QuerySet
from django.http import QueryDict

from .alphabet import BY_NAME
from .forms import FindForm
from .models import Car

PER_PAGE = 25


def find(query: QueryDict) -> tuple[FindForm, Page]:
    """Return the form with its values, and the page of pks (not cars) that `query` asks for.

    Invalid values are ignored. A page number out of range gives the last page.
    """
    origins = list(_origins())
    form = FindForm(query, origins=origins)
    form.is_valid()
    chosen = form.cleaned_data  # without the fields whose value is invalid
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
    if not sort or sort == "name":
        return list(BY_NAME)
    field = F(sort.removeprefix("-"))
    # Cars without a value come last in both directions; databases differ in their default.
    first = field.desc(nulls_last=True) if sort.startswith("-") else field.asc(nulls_last=True)
    return [first, *BY_NAME]
