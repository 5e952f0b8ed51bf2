"""Which key a row has."""

from typing import Any

from django.db.models import Model


def key_of(model: type[Model], pk: Any) -> str:
    """Return the key of the row `pk` of `model`: model name, dot, pk, as in "Car.1"."""
    return f"{model.__name__}.{pk}"
