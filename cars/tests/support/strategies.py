"""Hypothesis strategies for the values of every field and for plain data, and how to run them."""

import datetime
import uuid
from decimal import Decimal

import msgspec
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Derandomized: a test that fails does so every time, on every machine.
few = settings(derandomize=True, deadline=None, max_examples=25, database=None)
many = settings(few, max_examples=150, suppress_health_check=[HealthCheck.too_slow])

# Characters that both databases can store.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def each(strategy, check, how=few):
    """Call `check` with values that `strategy` draws, all in the transaction of one test."""

    @how
    @given(strategy)
    def call(value):
        check(value)

    call()


def text(longest):
    return st.text(characters, max_size=longest)


def integers(bits, least=None):
    """Return a strategy for integers of so many bits; it often draws the limits."""
    least, most = -(2 ** (bits - 1)) if least is None else least, 2 ** (bits - 1) - 1
    return st.sampled_from([least, least + 1, most - 1, most]) | st.integers(least, most)


offsets = st.integers(-959, 959).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)
moments = st.datetimes(
    datetime.datetime(2, 1, 1), datetime.datetime(9998, 12, 31), timezones=offsets
)
finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | integers(64) | finite | text(20)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text(10), inner, max_size=5),
    max_leaves=20,
)


def deep(depth):
    document = {"車": 2**70}
    for _ in range(depth):
        document = {"a": [document]}
    return document


# SQLite has 15 digits.
DECIMAL = Decimal("9" * (9 if connection.vendor == "sqlite" else 14) + ".999999")

VALUES = {
    "big": integers(64),
    "binary": st.binary(max_size=300),
    "boolean": st.booleans(),
    "char": text(100),
    "date": st.dates(),
    "moment": moments,
    "decimal": st.decimals(-DECIMAL, DECIMAL, places=6)
    | st.decimals(-10, 10, places=2)
    | st.sampled_from([Decimal("-0"), DECIMAL, Decimal("0.000001")]),
    "duration": st.timedeltas(datetime.timedelta(days=-(10**8)), datetime.timedelta(days=10**8)),
    "email": text(254),
    "file": text(100),
    "path": text(100),
    "float": st.floats() | st.sampled_from([-0.0, float("inf"), 5e-324, 2.0**64, 1.0]),
    "integer": integers(32).filter(lambda number: number < 2**31 - 1),  # `generated` is one more
    "ip": st.ip_addresses().map(str),
    "json": documents | st.sampled_from([deep(100), [], {}, "", 2**64, -(2**63) - 1, [[]]]),
    "positive": integers(32, 0),
    "positive_big": integers(64, 0),
    "positive_small": integers(16, 0),
    "slug": text(50),
    "small": integers(16),
    "text": text(300),
    "time": st.times(),
    "url": text(200),
    "uuid": st.uuids() | st.sampled_from([uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]),
}


def exactly(instance):
    """Return the values of `instance`, so that any two that differ at all are unequal."""
    return {field.attname: exact(getattr(instance, field.attname)) for field in fields_of(instance)}


def exact(value):
    """Return the type of `value` and its repr: True is not 1, 0.0 not -0.0, 1.0 not 1.00."""
    return type(value), repr(bytes(value) if isinstance(value, memoryview) else value)


def fields_of(model):
    return model._meta.concrete_fields


def packed(values):
    return msgspec.msgpack.encode(values)


native = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | text(9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text(5), inner, max_size=3),
    max_leaves=10,
)
