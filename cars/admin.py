"""The admin of the cars: what is cached, and actions to change that."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.cache import cache
from django.db.models import F, QuerySet
from django.db.models.functions import Round
from django.http import HttpRequest

from .models import Car

BATCH = 500  # cars in memory at a time, when "all" are to be put into the cache


def forget(pks: Collection[Any]) -> None:
    """Delete the entries of the cars `pks` from the cache, so that the next read is a miss.

    Not `Car.objects.expire(pks)`: that one tells the recipe of a write, and may fill them again.
    """
    cache.delete_many([Car(pk=pk).key() for pk in pks])


class CarChangeList(ChangeList):
    """The rows of one page, each knowing whether it is cached."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        cached = cache.get_many([car.key() for car in self.result_list])
        for car in self.result_list:
            car.is_cached = car.key() in cached


@admin.register(Car)
class CarAdmin(admin.ModelAdmin):
    """Cars, with a column that says which of them are in the cache."""

    list_display = ["name", "year", "body", "origin", "mileage", "price", "cached"]
    list_filter = ["body", "origin"]
    search_fields = ["make", "model"]
    actions = ["remove_from_cache", "put_into_cache", "mark_down"]

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
        forget(pks)
        self._done(request, len(pks), "removed from the cache")

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
