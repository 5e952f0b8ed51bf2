"""Lets pytest run the tests that `manage.py test` runs."""

import os
from contextlib import ExitStack

import django
import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carsite.settings")
os.environ.setdefault("DJANGO_DEBUG", "on")  # as manage.py does
django.setup()

_surroundings = ExitStack()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before the collection, do what cars.tests.support.runner does for `manage.py test`."""
    from cars.tests.support.runner import surroundings

    _surroundings.enter_context(surroundings())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers that were started."""
    _surroundings.close()
