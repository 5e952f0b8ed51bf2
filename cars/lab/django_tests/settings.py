"""The settings of Django's own tests: those of its test_sqlite.py, with the recipe's cache.

DATABASE_URL and MEMCACHED_SERVERS say where; by default the databases and the cache are in the
memory of this process.
"""

from typing import Any

from carsite.environment import env

NAMES = {"default": "django_tests", "other": "django_tests_other"}  # of the databases


def databases(url: str) -> dict[str, dict[str, Any]]:
    """Return Django's DATABASES: two on the PostgreSQL at `url`, or without it two of SQLite."""
    if not url:
        # Not with the options of the site's SQLite, which change how transactions begin.
        return {alias: {"ENGINE": "django.db.backends.sqlite3"} for alias in NAMES}
    config = env.database("DATABASE_URL")
    return {alias: {**config, "TEST": {"NAME": name}} for alias, name in NAMES.items()}


def caches(servers: list[str]) -> dict[str, dict[str, Any]]:
    """Return Django's CACHES: Memcached on `servers`; without servers, local memory."""
    if servers:
        return {
            "default": {
                "BACKEND": "cars.caching.backends.MemcachedCache",
                "LOCATION": servers,
                # The tests' machine may be slow, and a row that isn't served isn't compared.
                "OPTIONS": {"timeout": 10, "connect_timeout": 10},
            }
        }
    options = {"MAX_ENTRIES": 100_000}  # Django's default, 300, evicts rows during a test
    backend = "cars.caching.backends.LocalMemoryCache"
    return {"default": {"BACKEND": backend, "OPTIONS": options}}


DATABASES = databases(env.str("DATABASE_URL", ""))
CACHES = caches(env.servers("MEMCACHED_SERVERS", ""))

SECRET_KEY = "not-secret"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False

TEST_RUNNER = "cars.lab.django_tests.runner.Runner"
