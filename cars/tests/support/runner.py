"""The surroundings of the tests: for `manage.py test`, and by conftest.py for pytest."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connections
from django.test import override_settings
from django.test.runner import DiscoverRunner

from .caches import test_cache

APPS = ["cars.lab", "cars.tests.support.zoo"]  # apps with models that only tests need
ARCHIVE = "archive"  # a second database, for tests with it in their `databases`


@contextmanager
def surroundings() -> Iterator[None]:
    """Set up a cache, apps and a second database for the tests alone."""
    default = connections.settings["default"]
    archive = {**default, "NAME": f"{default['NAME']}_archive", "TEST": {**default["TEST"]}}
    connections.settings[ARCHIVE] = archive
    # Many tests ask for pages that answer 4xx, which are warnings here.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    surroundings = {
        "INSTALLED_APPS": [*settings.INSTALLED_APPS, *APPS],
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],  # fast
    }
    with test_cache():
        with override_settings(**surroundings):
            yield
    del connections.settings[ARCHIVE]


class Runner(DiscoverRunner):
    """Django's runner, in these surroundings."""

    def run_tests(self, *args: Any, **kwargs: Any) -> int:
        with surroundings():
            return super().run_tests(*args, **kwargs)
