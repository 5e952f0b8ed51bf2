"""The admin of the cars: what is cached, and actions to change that."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.cache import cache
from django.db.models import F, QuerySet
from django.db.models.functions import Round
from django.http import HttpRequest
from django.utils import timezone

from .caching.inspection import inspect
from .models import Car

BATCH = 500  # cars in memory at a time, when "all" are to be put into the cache


class CarChangeList(ChangeList):
    """The rows of one page, each knowing whether it is cached."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        cached = cache.get_many([car.key() for car in self.result_list])
        for car in self.result_list:
            car.is_cached = car.key() in cached


class NamedFilter(admin.AllValuesFieldListFilter):
    """All values of a text; the empty one has a name too, or its link could not be seen."""

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        for choice in super().choices(changelist):
            yield choice | {"display": choice["display"] or "not given"}


@admin.register(Car)
class CarAdmin(admin.ModelAdmin):
    """Cars: a column says which are cached, and a box on the page of each what stands there."""

    list_display = ["name", "year", "body", "origin", "mileage", "price", "cached"]
    list_filter = ["body", ("origin", NamedFilter)]
    search_fields = ["make", "model"]
    actions = ["remove_from_cache", "put_into_cache", "mark_down"]
    readonly_fields = ["key", "state", "since", "size"]

    # The box: `standing` is what stands under the key of the car.

    def get_object(self, *args: Any, **kwargs: Any) -> Car | None:
        car = super().get_object(*args, **kwargs)
        if car:
            car.standing = inspect(car)
        return car

    def get_fieldsets(self, request: HttpRequest, obj: Car | None = None) -> Any:
        """Return the form's fields and, once there is a car, the box "In the cache"."""
        fields = [f for f in self.get_fields(request, obj) if f not in self.readonly_fields]
        box = ("In the cache", {"fields": self.readonly_fields})
        return [(None, {"fields": fields}), *([box] if obj else [])]

    @admin.display
    def key(self, car: Car) -> str:
        return car.standing.key

    @admin.display
    def state(self, car: Car) -> str:
        return str(car.standing)

    @admin.display(empty_value="–")
    def since(self, car: Car) -> str | None:
        age = car.standing.age
        if age is None:
            return None
        put = timezone.now() - timedelta(seconds=age)
        return f"{put:%Y-%m-%d %H:%M:%S} UTC ({age:.0f} s ago)"

    @admin.display(empty_value="–")
    def size(self, car: Car) -> str | None:
        size = car.standing.size
        return None if size is None else f"{size} bytes"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CarChangeList

    @admin.display(description="car", ordering="make")
    def name(self, car: Car) -> str:
        return str(car)

    @admin.display(description="cached?", boolean=True)
    def cached(self, car: Car) -> bool:
        return car.is_cached

    @admin.action(description="Remove from the cache", permissions=["change"])
    def remove_from_cache(self, request: HttpRequest, queryset: QuerySet) -> None:
        pks = list(queryset.values_list("pk", flat=True))
        self._done(request, Car.objects.forget(pks), "removed from the cache")

    @admin.action(description="Put into the cache", permissions=["change"])
    def put_into_cache(self, request: HttpRequest, queryset: QuerySet) -> None:
        pks = list(queryset.values_list("pk", flat=True))
        for start in range(0, len(pks), BATCH):
            Car.objects.cache_many(pks[start : start + BATCH])
        self._done(request, len(pks), "put into the cache")

    @admin.action(description="Mark down 10 %%", permissions=["change"])
    def mark_down(self, request: HttpRequest, queryset: QuerySet) -> None:
        priced = queryset.filter(price__isnull=False)
        # Rounded by the database: each stores what it computes, and only some round by themselves.
        count = priced.update(price=Round(F("price") * Decimal("0.9"), precision=2))
        self._done(request, count, "marked down")

    def _done(self, request: HttpRequest, count: int, what: str) -> None:
        noun = "car was" if count == 1 else "cars were"
        self.message_user(request, f"{count} {noun} {what}.", messages.SUCCESS)
