"""The key of a row, made from its pk."""

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from django.db.models import Field

LONGEST = 100  # characters of a pk in a key; Memcached takes keys of 250 bytes in all


def text_of(field: Field, pk: Any) -> str:
    """Return the pk as it is written in a key: printable ASCII, at most LONGEST characters.

    Equal pks have the same text: "1" and 1 are one row, and so have one key. Raises what Django
    raises for an invalid pk, and ValueError for None.
    """
    text = _text(field, pk)
    return text if len(text) <= LONGEST else f"sha256:{sha256(text.encode()).hexdigest()}"


def _text(field: Field, pk: Any) -> str:
    if parts := getattr(field, "fields", None):  # a composite primary key
        if not isinstance(pk, (list, tuple)):
            raise ValueError(f"A pk of {len(parts)} columns is a tuple, not {pk!r}.")
        return ",".join(_text(*pair) for pair in zip(parts, pk, strict=True))
    value = field.get_prep_value(pk)
    if value is None:
        raise ValueError("None is not a valid pk.")
    if isinstance(value, Decimal):
        value = value.normalize()
    elif isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC)
    return quote(str(value), safe="")
