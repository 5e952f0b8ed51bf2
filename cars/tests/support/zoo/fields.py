"""Custom fields, whose values MessagePack doesn't have."""

from dataclasses import dataclass

from django.db import models


@dataclass(frozen=True)
class Point:
    """A place on a grid."""

    x: int
    y: int


class PointField(models.CharField):
    """Returns a Point, and defines how it is written and read."""

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        return Point(*map(int, value.split(","))) if isinstance(value, str) else value

    def get_prep_value(self, value):
        return value if value is None else f"{value.x},{value.y}"

    def value_to_string(self, obj):
        return self.get_prep_value(self.value_from_object(obj))


class Word(str):
    """A subclass of str."""


class WordField(models.TextField):
    """Returns a Word; it is written as every field writes its value."""

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        return value if value is None else Word(value)


class Secret:
    """A string that isn't shown."""

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return type(other) is Secret and other.text == self.text


class SecretField(models.TextField):
    """Returns a Secret, and writes stars for a serialiser, so that its value can't be read back."""

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        return Secret(value) if isinstance(value, str) else value

    def get_prep_value(self, value):
        return value.text if isinstance(value, Secret) else value

    def value_to_string(self, obj):
        return "***"


class Label:
    """A string that can't be hashed."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text

    def __eq__(self, other):
        return str(self) == str(other)


class LabelField(models.CharField):
    """Returns a Label, and takes one too."""

    def from_db_value(self, value, expression, connection):
        return Label(value)

    def to_python(self, value):
        return value if isinstance(value, Label) else Label(value)

    def get_prep_value(self, value):
        return str(value)


class LabelAutoField(models.BigAutoField):
    """Returns a Label, but doesn't take one."""

    def from_db_value(self, value, expression, connection):
        return Label(str(value))

    def to_python(self, value):
        return Label(str(value))
