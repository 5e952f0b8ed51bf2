"""A row's values, packed and unpacked.

A packed row is its fingerprint and then the values of its fields as MessagePack: small, fast to
read, and nothing that comes from the network can run code. Values that MessagePack has itself
(None, booleans, numbers, strings, bytes) are stored as they are. Any other value is stored as an
extension: the text that its field writes for a serialiser and can read again.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache as memoize
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
from django.db import connections
from django.db.models import Field, GeneratedField, JSONField, Model

from ..entries import Row
from ..registry import CachedModel, cached_model, cached_models
from .fingerprint import SIZE, fingerprint_of
from .instances import make_instance

logger = logging.getLogger(__name__)

NATIVE = {type(None), bool, int, float, str, bytes}
FIRST_CODE = 128  # MessagePack's go from -128 to 127

_encode = msgspec.msgpack.Encoder().encode


def pack(cached: CachedModel, values: Sequence[Any]) -> Row:
    """Return the row of `cached` with these values, as `values_list(*cached.names)` gives them.

    Raises TypeError, or what the field raises, for a value that can't be read back as it was.
    """
    return Row(fingerprint_of(cached) + _format_of(cached).pack(values))


def unpack(row: Row) -> Model | None:
    """Return the instance that `row` holds, or None if it can't be used."""
    fingerprint = row[:SIZE]
    row_format = _formats.get(fingerprint)
    # Only in tests a fingerprint can stop being valid: their databases change names.
    if row_format is None or (
        "django.test.testcases" in sys.modules and fingerprint_of(row_format.cached) != fingerprint
    ):
        row_format = _format_with(fingerprint)
        if row_format is None:
            return None
        _formats[fingerprint] = row_format
    cached = row_format.cached
    try:
        instance = make_instance(cached, row_format.unpack(row[SIZE:]))
    except Exception as error:
        logger.warning("A row of %s can't be unpacked: %s", cached.model._meta.label, error)
        return None
    instance._state.caching_row = _UNPACKED
    return instance


def _format_with(fingerprint: bytes) -> "_Format | None":
    for model in cached_models():
        for alias in connections:
            cached = cached_model(model, alias)
            if fingerprint_of(cached) == fingerprint:
                return _format_of(cached)
    return None


class _Format:
    """How the values of a cached model's rows are packed."""

    def __init__(self, cached: CachedModel) -> None:
        self.cached = cached
        self._fields = cached.model._meta.concrete_fields
        self._from_text = [_from_text(field) for field in self._fields]
        self._decode = msgspec.msgpack.Decoder(list, ext_hook=self._read_extension).decode

    def pack(self, values: Sequence[Any]) -> bytes:
        return _encode(
            [
                value if _is_native(value) else self._write(number, value)
                for number, value in enumerate(values)
            ]
        )

    def unpack(self, data: bytes) -> list[Any]:
        values = self._decode(data)
        if len(values) != len(self._fields):
            raise ValueError(f"{len(values)} values for {len(self._fields)} fields")
        return values

    # Values that MessagePack doesn't have: an extension, whose code is the number of the field

    def _write(self, number: int, value: Any) -> msgspec.msgpack.Ext:
        field = self._fields[number]
        text = _text(field, value)
        again = self._read(number, text)
        if _exact(again) != _exact(value):
            raise TypeError(f"{field} writes {value!r} as {text!r}, and reads that as {again!r}.")
        return msgspec.msgpack.Ext(number - FIRST_CODE, text.encode())

    def _read_extension(self, code: int, data: memoryview) -> Any:
        return self._read(code + FIRST_CODE, str(data, "utf-8"))

    def _read(self, number: int, text: str) -> Any:
        value = self._from_text[number](text)
        if type(value) is datetime and value.tzinfo:
            # As a SELECT gives it: in the connection's time zone. The text has only the offset.
            value = value.astimezone(connections[self.cached.alias].timezone)
        return value


_format_of = memoize(_Format)
_formats: dict[bytes, _Format] = {}  # by the fingerprints of their rows


def _is_native(value: Any) -> bool:
    return type(value) in NATIVE and (type(value) is not int or -(2**63) <= value < 2**64)


def _exact(value: Any) -> tuple[Any, ...]:
    return type(value), value, getattr(value, "tzinfo", None)


def _text(field: Field, value: Any) -> str:
    kind = _kind(field)
    if isinstance(kind, JSONField):
        return json.dumps(value, cls=kind.encoder)
    return field.value_to_string(SimpleNamespace(**{field.attname: value}))


def _from_text(field: Field) -> Callable[[str], Any]:
    """Return the function that makes a value of `field` from its text."""
    kind = _kind(field)
    return partial(json.loads, cls=kind.decoder) if isinstance(kind, JSONField) else kind.to_python


def _kind(field: Field) -> Field:
    return field.output_field if isinstance(field, GeneratedField) else field


# Telling rows from other values that the application may have stored under a key


class _Unpacked:
    """The mark of an instance that was unpacked here; it doesn't survive pickling and copying."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


_UNPACKED = _Unpacked()


def was_unpacked(value: Any, model: type[Model]) -> bool:
    """Is `value` a row of `model`, and not an instance that the application has stored?"""
    return type(value) is model and getattr(value._state, "caching_row", None) is _UNPACKED
