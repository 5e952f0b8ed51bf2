"""The pk of a row, and its text in a key."""

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from django.db.models import Field, ForeignKey, Model, QuerySet
from django.db.models.expressions import DatabaseDefault

LONGEST = 100  # characters of a pk in a key; Memcached takes keys of 250 bytes in all


def text_of(field: "Field[Any, Any]", pk: Any) -> str:
    """Return the pk as it is written in a key: printable ASCII, at most LONGEST characters.

    Equal pks have the same text: "1" and 1 are one row, and so have one key. Raises what Django
    raises for an invalid pk, and ValueError for None.
    """
    text = _text(field, pk)
    return text if len(text) <= LONGEST else f"sha256:{sha256(text.encode()).hexdigest()}"


def _text(field: "Field[Any, Any]", pk: Any) -> str:
    if parts := getattr(field, "fields", None):  # a composite primary key
        if not isinstance(pk, (list, tuple)):
            raise ValueError(f"A pk of {len(parts)} columns is a tuple, not {pk!r}.")
        return ",".join(_text(*pair) for pair in zip(parts, pk, strict=True))
    if isinstance(pk, Model) and isinstance(field, ForeignKey):  # Django takes an instance too
        pk = getattr(pk, field.target_field.attname)
    # A field need not take None: Django doesn't give it a pk that the database will choose.
    value = None if pk is None else field.get_prep_value(pk)
    if value is None:
        raise ValueError("None is not a valid pk.")
    if isinstance(value, Decimal):
        value = value.normalize()
    elif isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC)
    elif isinstance(value, memoryview):
        value = bytes(value)
    elif isinstance(value, float):
        value += 0.0  # -0.0 equals 0.0
    elif isinstance(value, str):  # an Enum of strings is what it stands for
        value = str.__str__(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = int(value)
    return quote(str(value), safe="")


def pks_of(instance: Model, alias: str) -> list[Any]:
    """Return the pks of the rows that a save of `instance` may write; None for one not known yet.

    For an expression, the pks that it matches. With multi-table inheritance Django copies the pk
    of a parent later, so the parents' count too.
    """
    meta = instance._meta
    pks: list[Any] = []
    for model in (type(instance), *meta.all_parents):
        fields = model._meta.pk_fields
        values = [getattr(instance, field.attname) for field in fields]
        if any(isinstance(value, DatabaseDefault) for value in values):
            continue  # Django only INSERTs
        if any(hasattr(value, "resolve_expression") for value in values):
            named = {field.attname: value for field, value in zip(fields, values, strict=True)}
            rows: QuerySet[Model] = QuerySet(model, using=alias).filter(**named)
            pks += rows.order_by().values_list("pk", flat=True)
        else:
            pks.append(values[0] if len(values) == 1 else tuple(values))
    return pks
