"""Lets pytest run the very tests that `manage.py test` runs."""

import os
from collections.abc import Iterator

import django
import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carsite.settings")
os.environ.setdefault("DJANGO_DEBUG", "on")  # as manage.py does
django.setup()


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(django_test_environment: None) -> Iterator[None]:
    """Do what cars.tests.runner does for `manage.py test`."""
    from cars.tests.cache import test_cache  # needs the settings, which pytest-django sets up

    with test_cache():
        yield
