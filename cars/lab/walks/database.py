"""The database of a walk: a test database with the lab's models."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.test import override_settings
from django.test.utils import setup_databases, teardown_databases


@contextmanager
def test_database() -> Iterator[None]:
    """Within the block, install the lab and use a test database beside that of DATABASE_URL."""
    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "cars.lab"], DEBUG=False):
        databases = setup_databases(verbosity=0, interactive=False, aliases={"default": False})
        try:
            yield
        finally:
            teardown_databases(databases, verbosity=0)
