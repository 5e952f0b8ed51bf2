"""A row's values, packed and unpacked.

A packed row is its fingerprint and then the values of its fields as MessagePack: small, fast to
read, and nothing that comes from the network can run code. Fields of Django's own whose values have
a type that msgspec knows are stored as that type, and checked when they are read. A value of any
other field is stored as it is, if MessagePack has its type, or else as an extension: the text that
its field writes for a serialiser and can read again.

A row is packed only if it is read back as it was, in depth and with types.
"""

import datetime
import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

import msgspec
from django.db import connections, models
from django.db.models import Field, GeneratedField, JSONField, Model

from ..entries import Row
from ..registry import CachedModel, cached_model, cached_models
from .fingerprint import SIZE, fingerprint_of
from .instances import make_instance

logger = logging.getLogger(__name__)

FIRST_CODE = 128  # MessagePack's extension codes go from -128 to 127

# Types that msgspec writes and reads itself, by the field whose values have them.
TYPES: list[tuple["type[Field[Any, Any]]", Any]] = [
    (models.BooleanField, bool),
    (models.IntegerField, int),
    (models.FloatField, float),
    (models.DecimalField, Decimal),
    (models.CharField, str),
    (models.TextField, str),
    (models.BinaryField, bytes),
    (models.DateTimeField, datetime.datetime),
    (models.DateField, datetime.date),
    (models.TimeField, datetime.time),
    (models.DurationField, datetime.timedelta),
    (models.UUIDField, uuid.UUID),
]

_encode = msgspec.msgpack.Encoder().encode


def pack(cached: CachedModel, values: Sequence[Any]) -> Row:
    """Return the row of `cached` with these values, as `values_list(*cached.names)` gives them.

    Raises Unpackable for a value that can't be read back as it was, or what its field raises.
    """
    row_format = _format_of(cached)
    cached.key(row_format.pk_of(values))  # raises for a pk that no writer could hold
    return Row(fingerprint_of(cached) + row_format.pack(values))


def unpack(
    cached: CachedModel, fingerprint: bytes, key: str, value: Any, pk: Any = None
) -> Model | None:
    """Return the instance of `cached` whose row is `value`, which stands under `key`.

    None for another value, and for a row that can't be used. `fingerprint` is that of `cached`
    now, and `pk` what the key was made from.
    """
    if type(value) is Row and value[:SIZE] == fingerprint:
        return _format_of(cached).instance(value, key, pk)
    return None


def unpack_many(cached: CachedModel, entries: Mapping[str, Any]) -> dict[str, Model]:
    """Return, by key, the instances of `cached` whose rows are among `entries`, by their keys.

    Other values are left out, and rows that can't be used.
    """
    fingerprint, row_format = fingerprint_of(cached), _format_of(cached)
    found = {
        key: row_format.instance(value, key)
        for key, value in entries.items()
        if type(value) is Row and value[:SIZE] == fingerprint
    }
    return {key: instance for key, instance in found.items() if instance is not None}


def unpack_any(row: Row) -> Model | None:
    """Return the instance that `row` holds, of any cached model, or None if it can't be used."""
    fingerprint = row[:SIZE]
    for model in cached_models():
        for alias in connections:
            cached = cached_model(model, alias)
            if fingerprint_of(cached) == fingerprint:
                try:
                    return make_instance(cached, _format_of(cached).unpack(row[SIZE:]))
                except Exception as error:
                    logger.warning("A row of %s can't be unpacked: %s", model._meta.label, error)
                    return None
    return None


def pk_in(cached: CachedModel, row: Row) -> Any:
    """Return the pk that `row`, which has the fingerprint of `cached`, is of.

    Raises an error of msgspec or of a field for a row that can't be unpacked.
    """
    row_format = _format_of(cached)
    return row_format.pk_of(row_format.unpack(row[SIZE:]))


class Unpackable(TypeError):
    """A value of `field` that can't be read back as it was."""

    def __init__(self, field: "Field[Any, Any]", message: str) -> None:
        super().__init__(message)
        self.field = field


class _Format:
    """How the values of a cached model's rows are packed."""

    def __init__(self, cached: CachedModel) -> None:
        self._cached = cached
        meta = cached.model._meta
        self._fields = meta.concrete_fields
        self.pk_of = itemgetter(*(self._fields.index(field) for field in meta.pk_fields))
        types = [_type_of(field) for field in self._fields]
        self._typed = [kind is not Any for kind in types]
        self._from_text = [_from_text(field) for field in self._fields]
        row_type: Any = tuple[tuple(types)]  # type: ignore[misc]  # known at run time only
        decoder = msgspec.msgpack.Decoder(row_type, ext_hook=self._read_extension)
        self._decode: Callable[[bytes], tuple[Any, ...]] = decoder.decode
        self._moments = [n for n, field in enumerate(self._fields) if _has_moments(field)]
        self.unpack = self._unpack_moments if self._moments else self._decode

    def pack(self, values: Sequence[Any]) -> bytes:
        data = _encode(
            [
                value if typed or _is_native(value) else self._write(number, value)
                for number, (value, typed) in enumerate(zip(values, self._typed, strict=True))
            ]
        )
        for field, value, again in zip(self._fields, values, self.unpack(data), strict=True):
            if not is_same(value, again):
                raise Unpackable(field, f"{field} is read back as {again!r}, not as {value!r}.")
        return data

    def _unpack_moments(self, data: bytes) -> Sequence[Any]:
        values = list(self._decode(data))
        zone = connections[self._cached.alias].timezone
        for number in self._moments:
            values[number] = _in_zone(values[number], zone)
        return values

    def instance(self, row: Row, key: str, pk: Any = None) -> Model | None:
        """Return the instance of `row`; None if it is damaged, or of another pk than `key`."""
        try:
            values = self.unpack(row[SIZE:])
            found = self.pk_of(values)
            # Mostly the pk is a number. To compare it is faster than to make its key again.
            if (type(pk) is int and found == pk) or self._cached.key(found) == key:
                return make_instance(self._cached, values)
        except Exception as error:
            logger.warning("The row %s can't be unpacked: %s", key, error)
        return None

    # Values of other fields that MessagePack doesn't have: the code is the number of the field.

    def _write(self, number: int, value: Any) -> msgspec.msgpack.Ext:
        # Some fields write a Decimal or a date. `pack` checks whether its string is read back.
        text = str(_text(self._fields[number], value))
        return msgspec.msgpack.Ext(number - FIRST_CODE, text.encode())

    def _read_extension(self, code: int, data: memoryview) -> Any:
        return self._from_text[code + FIRST_CODE](str(data, "utf-8"))


def _has_moments(field: "Field[Any, Any]") -> bool:
    """Are the values of `field` moments, or arrays or ranges of moments?"""
    kind = _kind(field)
    while base := getattr(kind, "base_field", None):
        kind = base
    return isinstance(kind, models.DateTimeField)


def _in_zone(value: Any, zone: datetime.tzinfo | None) -> Any:
    """Return `value` with its moments as a SELECT gives them: in the connection's time zone."""
    if isinstance(value, list):
        return [_in_zone(item, zone) for item in value]
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(zone)
    return value


def _format_of(cached: CachedModel) -> _Format:
    known: _Format | None = cached.__dict__.get("format")  # no call for each hit
    if known is None:
        known = cached.__dict__["format"] = _Format(cached)
    return known


def _type_of(field: "Field[Any, Any]") -> Any:
    """Return the type of the values of `field`, None too, or Any if its class isn't Django's."""
    kind = _kind(field)
    if type(kind).__module__.startswith("django.db.models."):
        for field_class, value_type in TYPES:
            if isinstance(kind, field_class):
                return value_type | None
    return Any


def _is_native(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    return value is None or kind in (bool, float, str, bytes)


def is_same(one: Any, other: Any) -> bool:
    """Are two values equal in depth, with their types, time zones and the scale of decimals?"""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return is_same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, (datetime.datetime, datetime.time)):
        zones = bool(one.tzinfo == other.tzinfo and one.fold == other.fold)
        return zones and bool(one.isoformat() == other.isoformat())
    if isinstance(one, (float, Decimal)):
        return repr(one) == repr(other)  # NaN is the same as NaN, 1.0 is not 1.00
    names = [*getattr(one, "__dict__", ()), *getattr(type(one), "__slots__", ())]
    parts = [name for name in names if not name.startswith("__")]
    if parts:  # for example psycopg's ranges
        return all(is_same(getattr(one, name), getattr(other, name, None)) for name in parts)
    return bool(one == other)


def _text(field: "Field[Any, Any]", value: Any) -> Any:
    kind = _kind(field)
    if isinstance(kind, JSONField):
        return json.dumps(value, cls=kind.encoder)
    instance: Any = SimpleNamespace(**{field.attname: value})
    return field.value_to_string(instance)


def _from_text(field: "Field[Any, Any]") -> Callable[[str], Any]:
    """Return the function that makes a value of `field` from its text."""
    kind = _kind(field)
    return partial(json.loads, cls=kind.decoder) if isinstance(kind, JSONField) else kind.to_python


def _kind(field: "Field[Any, Any]") -> "Field[Any, Any]":
    """Return the field that the values of `field` are of: the target of a foreign key."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field.output_field or field if isinstance(field, GeneratedField) else field
