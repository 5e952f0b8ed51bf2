"""A row's fingerprint: of which model, schema, database and time zone it is.

A row with another fingerprint can't be used: it is of another database, or of a model that has
changed since.
"""

from functools import cache as memoize
from hashlib import sha256

from django.conf import settings
from django.db import connections
from django.db.models import Model

from ..databases import canonical, identity
from ..registry import CachedModel

SIZE = 8  # bytes


def fingerprint_of(cached: CachedModel) -> bytes:
    """Return the fingerprint of the rows of `cached` as its model and database are now."""
    connection = connections[canonical(cached.alias)]
    database = (*identity(connection), connection.timezone_name, str(settings.USE_TZ))
    return _digest(cached.model, database)


@memoize
def _digest(model: type[Model], database: tuple[str, ...]) -> bytes:
    fields = [(f.attname, f.column, type(f).__qualname__) for f in model._meta.concrete_fields]
    return sha256(repr((model._meta.label, fields, database)).encode()).digest()[:SIZE]
