"""Fields of somebody's own, whose values MessagePack doesn't have."""

from dataclasses import dataclass

from django.db import models


@dataclass(frozen=True)
class Point:
    """A place on a grid."""

    x: int
    y: int


class PointField(models.CharField):
    """Gives a Point, and says how it is written and read."""

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        return Point(*map(int, value.split(","))) if isinstance(value, str) else value

    def get_prep_value(self, value):
        return value if value is None else f"{value.x},{value.y}"

    def value_to_string(self, obj):
        return self.get_prep_value(self.value_from_object(obj))


class Word(str):
    """A text of a type of its own."""


class WordField(models.TextField):
    """Gives a Word; how it is written is what every field has."""

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        return value if value is None else Word(value)


class Secret:
    """A text that isn't shown."""

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return type(other) is Secret and other.text == self.text


class SecretField(models.TextField):
    """Gives a Secret, and writes stars for a serialiser: what is read again isn't what it was."""

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        return Secret(value) if isinstance(value, str) else value

    def get_prep_value(self, value):
        return value.text if isinstance(value, Secret) else value

    def value_to_string(self, obj):
        return "***"
