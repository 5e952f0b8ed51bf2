"""What surrounds the tests: for `manage.py test`, and by conftest.py for pytest."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connections
from django.test import override_settings
from django.test.runner import DiscoverRunner

from .cache import test_cache

ZOO = "cars.tests.zoo"  # the app with the models of the tests' own
ARCHIVE = "archive"  # a second database, for tests that name it in their `databases`


@contextmanager
def surroundings() -> Iterator[None]:
    """Give the tests a cache, models and a second database of their own."""
    default = connections.settings["default"]
    archive = {**default, "NAME": f"{default['NAME']}_archive", "TEST": {**default["TEST"]}}
    connections.settings[ARCHIVE] = archive
    surroundings = {"INSTALLED_APPS": [*settings.INSTALLED_APPS, ZOO]}
    with test_cache():
        if not settings.MEMCACHED_SERVERS:  # debug is off in tests, and local memory refused then
            surroundings["SILENCED_SYSTEM_CHECKS"] = ["caching.E008"]
        with override_settings(**surroundings):
            yield
    del connections.settings[ARCHIVE]


class Runner(DiscoverRunner):
    """Django's runner, in these surroundings."""

    def run_tests(self, *args: Any, **kwargs: Any) -> int:
        with surroundings():
            return super().run_tests(*args, **kwargs)
