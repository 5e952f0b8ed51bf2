"""What the address of the lab can hold."""

from typing import Any

from django import forms

from .cases import CASES
from .scenarios import HERE, MOST_STEPS, RECIPES, RULE_CASES


class LabForm(forms.Form):
    """A scenario and a schedule."""

    recipe = forms.ChoiceField(
        choices=[(recipe.slug, recipe.title) for recipe in RECIPES.values()],
    )
    case = forms.ChoiceField(choices=[(case.slug, case.title) for case in CASES.values()])
    without = forms.ChoiceField(
        label="Without the rule",
        choices=[("", "none: with all rules"), *((rule, rule) for rule in RULE_CASES)],
        required=False,
    )
    steps = forms.CharField(required=False, max_length=1000, widget=forms.HiddenInput)
    hint = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def clean_steps(self) -> tuple[str, ...]:
        """Return the schedule as a tuple of the ids of choices; the lab says which are possible."""
        steps = tuple(filter(None, self.cleaned_data["steps"].split(".")))
        if len(steps) > MOST_STEPS:
            raise forms.ValidationError(f"A schedule has at most {MOST_STEPS} steps.")
        return steps

    def clean(self) -> dict[str, Any]:
        """Refuse a rule with a recipe that has none."""
        data = super().clean() or self.cleaned_data
        if data.get("without") and data.get("recipe", HERE.slug) != HERE.slug:
            self.add_error("without", "Only this site’s recipe has rules that can be switched off.")
        return data
