"""The forms to edit a car and to find cars."""

from collections.abc import Iterable
from typing import Any

from django import forms

from .models import Car

SORTS = {
    "name": "Name",
    "-year": "Newest first",
    "year": "Oldest first",
    "price": "Cheapest first",
    "-price": "Most expensive first",
    "mileage": "Fewest kilometres first",
    "-mileage": "Most kilometres first",
}


class CarForm(forms.ModelForm):
    """Edits all fields of a car."""

    class Meta:
        model = Car
        fields = ["make", "model", "year", "body", "origin", "mileage", "price"]


class FindForm(forms.Form):
    """The search, the filters and the order of the list. All fields are optional."""

    q = forms.CharField(
        label="Make or model",
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search"}),
    )
    origin = forms.ChoiceField(required=False)
    body = forms.ChoiceField(required=False, choices=[("", "Any"), *Car.Body.choices])
    sort = forms.ChoiceField(label="Order", required=False, choices=SORTS)

    def __init__(self, *args: Any, origins: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["origin"].choices = [("", "Any"), *((name, name) for name in origins)]
