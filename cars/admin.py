"""The admin for cars: which cars are cached, and actions that change this. Accounts below."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import F, QuerySet
from django.db.models.functions import Round
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from .admin_site import StrictAdmin
from .alphabet import Alphabetical
from .caching.entries import State
from .caching.inspection import inspect, inspect_many
from .insight import writes
from .models import Car

BATCH = 500  # cars that "Put into the cache" has in memory at a time


class CarChangeList(ChangeList):
    """A page of the list, with `standing` on each car: what stands under its key."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        cars = list(self.result_list)
        for car, standing in zip(cars, inspect_many(cars), strict=True):
            car.standing = standing
        self.result_list = cars


class NamedFilter(admin.AllValuesFieldListFilter):
    """A filter by all values of a text field. Names the empty value, whose link would be empty."""

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        for choice in super().choices(changelist):
            yield choice | {"display": choice["display"] or "not given"}


@admin.register(Car)
class CarAdmin(StrictAdmin):
    """Shows which cars are cached: a column in the list, and on each car's page its entry."""

    list_display = ["name", "year", "body", "origin", "mileage", "price", "cached"]
    list_filter = ["body", ("origin", NamedFilter)]
    search_fields = ["make", "model"]
    actions = ["remove_from_cache", "put_into_cache", "mark_down"]
    readonly_fields = ["key", "state", "since", "size"]

    # The fieldset "In the cache": `standing` is the entry under the car's key.

    def get_object(self, *args: Any, **kwargs: Any) -> Car | None:
        car = super().get_object(*args, **kwargs)
        if car:
            car.standing = inspect(car)
        return car

    def get_fieldsets(self, request: HttpRequest, obj: Car | None = None) -> Any:
        """Return the form's fields and, for a car that exists, the fieldset "In the cache"."""
        fields = [f for f in self.get_fields(request, obj) if f not in self.readonly_fields]
        in_the_cache = ("In the cache", {"fields": self.readonly_fields})
        return [(None, {"fields": fields}), *([in_the_cache] if obj else [])]

    @admin.display
    def key(self, car: Car) -> str:
        key = car.standing.key
        return format_html('{} (<a href="{}?key={}">watch it</a>)', key, reverse("watch:page"), key)

    @admin.display
    def state(self, car: Car) -> str:
        return str(car.standing)

    # A form of the admin ignores `empty_value`: it would show None as "None".

    @admin.display(description="put")
    def since(self, car: Car) -> str:
        age = car.standing.age
        if age is None:
            return "–"
        put = timezone.now() - timedelta(seconds=age)
        return f"{put:%Y-%m-%d %H:%M:%S} UTC ({age:.0f} s ago)"

    @admin.display
    def size(self, car: Car) -> str:
        size = car.standing.size
        return "–" if size is None else f"{size} bytes"

    # The views that write: their response is made when the transaction has ended.

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().changeform_view(request, *args, **kwargs)
        if request.method == "POST" and response.status_code == HTTPStatus.OK:
            self.message_user(request, "Not saved: nothing was held or written.", messages.WARNING)
        self._tell(request, "The save")
        return response

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().delete_view(request, *args, **kwargs)
        self._tell(request, "The delete")
        return response

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().changelist_view(request, *args, **kwargs)
        self._tell(request, "The action")
        return response

    def _tell(self, request: HttpRequest, what: str) -> None:
        """Add a message with the steps of a POST, if it has changed anything."""
        if request.method == "POST" and request.lookups.steps.summary:
            self.message_user(request, writes.described(request, what), messages.INFO)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CarChangeList

    @admin.display(description="car", ordering=Alphabetical("make"))
    def name(self, car: Car) -> str:
        return str(car)

    @admin.display(description="in the cache")
    def cached(self, car: Car) -> str:
        return car.standing.state

    @admin.action(description="Remove from the cache", permissions=["change"])
    def remove_from_cache(self, request: HttpRequest, queryset: QuerySet) -> None:
        pks = list(queryset.values_list("pk", flat=True))
        count = Car.objects.forget(pks)
        self._done(request, count, "removed from the cache", self._states(pks))

    @admin.action(description="Put into the cache", permissions=["change"])
    def put_into_cache(self, request: HttpRequest, queryset: QuerySet) -> None:
        pks = list(queryset.values_list("pk", flat=True))
        for start in range(0, len(pks), BATCH):
            Car.objects.cache_many(pks[start : start + BATCH])
        states = self._states(pks)
        self._done(request, states[State.ROW], "put into the cache", states)

    @admin.action(description="Reduce the price by 10 %%", permissions=["change"])
    def mark_down(self, request: HttpRequest, queryset: QuerySet) -> None:
        priced = queryset.filter(price__isnull=False)
        # Only some databases round to the column's two decimals by themselves.
        count = priced.update(price=Round(F("price") * Decimal("0.9"), precision=2))
        self._done(request, count, "reduced in price")

    def _states(self, pks: list[int]) -> Counter[State]:
        """Return how many of the cars have which state in the cache."""
        states: Counter[State] = Counter()
        for start in range(0, len(pks), BATCH):
            cars = [Car(pk=pk) for pk in pks[start : start + BATCH]]
            states.update(standing.state for standing in inspect_many(cars))
        return states

    def _done(
        self, request: HttpRequest, count: int, done: str, states: Mapping[State, int] | None = None
    ) -> None:
        """Say how many cars are done, and of how many the cache doesn't say what it has."""
        unknown = (states or {}).get(State.NO_ANSWER, 0)
        if count or not unknown:
            noun = "car was" if count == 1 else "cars were"
            self.message_user(request, f"{count} {noun} {done}.", messages.SUCCESS)
        if unknown:
            noun = "car" if unknown == 1 else "cars"
            text = f"The cache does not answer for {unknown} {noun}: they may not have been {done}."
            self.message_user(request, text, messages.WARNING)


admin.site.unregister([User, Group])


@admin.register(User)
class StrictUserAdmin(StrictAdmin, UserAdmin):
    """The accounts."""


@admin.register(Group)
class StrictGroupAdmin(StrictAdmin, GroupAdmin):
    """The groups of accounts."""
