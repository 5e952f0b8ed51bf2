"""The runner of `manage.py test`; conftest.py does the same for pytest."""

from typing import Any

from django.test.runner import DiscoverRunner

from .cache import test_cache


class Runner(DiscoverRunner):
    """Django's runner, with a cache for the tests."""

    def run_tests(self, *args: Any, **kwargs: Any) -> int:
        with test_cache():
            return super().run_tests(*args, **kwargs)
