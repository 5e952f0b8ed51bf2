"""The settings that environment variables set, and the errors for invalid values."""

import json
import logging
import os
import subprocess
import sys

from django.conf import settings
from django.test import SimpleTestCase, tag

VARIABLES = (
    "DJANGO_DEBUG",
    "DJANGO_SECRET_KEY",
    "DJANGO_ALLOWED_HOSTS",
    "DJANGO_CSRF_TRUSTED_ORIGINS",
    "DJANGO_SETTINGS_MODULE",
    "DATABASE_URL",
    "MEMCACHED_SERVERS",
    "CACHE_KEY_PREFIX",
    "DJANGO_LOG_LEVEL",
    "DJANGO_HTTPS",
    "DJANGO_HSTS_SECONDS",
    "DJANGO_PROXIES",
    "METRICS_TOKEN",
    "STATIC_ROOT",
    "DEMO_PID",
    "WATCH_FROM_START",
    "WATCH_PLACES",
    "WEB_THREADS",
)
PRODUCTION = {
    "DJANGO_SECRET_KEY": "long-and-random-" * 4,
    "DJANGO_ALLOWED_HOSTS": "cars.example.com",
}


def python(*arguments, **environ):
    """Run Python in the project's folder; of VARIABLES only those in `environ` are set."""
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**inherited, **environ},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )


@tag("any-database")
class SettingsTests(SimpleTestCase):
    def read(self, expression, **environ):
        """Return the value of `expression`, in which `s` is the settings module, with `environ`."""
        code = f"import json; from carsite import settings as s; print(json.dumps({expression}))"
        result = python("-c", code, **environ)
        self.assertEqual(result.stderr, "")
        return json.loads(result.stdout)

    def test_each_variable_sets_its_setting(self):
        for setting, variable, value, expected in (
            ("DEBUG", "DJANGO_DEBUG", "off", False),
            ("DEBUG", "DJANGO_DEBUG", "on", True),
            ("SECRET_KEY", "DJANGO_SECRET_KEY", "a key", "a key"),
            ("ALLOWED_HOSTS", "DJANGO_ALLOWED_HOSTS", "a.example, [::1]", ["a.example", "[::1]"]),
            (
                "CSRF_TRUSTED_ORIGINS",
                "DJANGO_CSRF_TRUSTED_ORIGINS",
                "https://a.example,https://*.b.example:8443",
                ["https://a.example", "https://*.b.example:8443"],
            ),
            (
                "CACHES['default'].get('LOCATION')",
                "MEMCACHED_SERVERS",
                "memcached:11211, 10.0.0.1:11212",
                ["memcached:11211", "10.0.0.1:11212"],
            ),
            ("CACHES['default']['KEY_PREFIX']", "CACHE_KEY_PREFIX", "cars-b", "cars-b"),
            ("SESSION_COOKIE_SECURE", "DJANGO_HTTPS", "off", False),
            ("CSRF_COOKIE_SECURE", "DJANGO_HTTPS", "on", True),
            ("SECURE_SSL_REDIRECT", "DJANGO_HTTPS", "off", False),
            ("SECURE_HSTS_SECONDS", "DJANGO_HTTPS", "off", 0),
            ("SECURE_HSTS_SECONDS", "DJANGO_HSTS_SECONDS", "86400", 86400),
            ("SECURE_PROXY_SSL_HEADER", "DJANGO_PROXIES", "1", ["HTTP_X_FORWARDED_PROTO", "https"]),
            ("MIDDLEWARE[1]", "METRICS_TOKEN", "secret", "carsite.metrics.MetricsMiddleware"),
            ("STATIC_ROOT.as_posix()", "STATIC_ROOT", "/srv/static", "/srv/static"),
            ("WATCH_PLACES", "WEB_THREADS", "16", 4),
            ("WATCH_PLACES", "WATCH_PLACES", "1", 1),
            ("WATCH_PLACES", "WATCH_PLACES", "3", 2),  # at most a quarter of 8 threads
            ("WATCH_FROM_START", "WATCH_FROM_START", "on", True),
            ("LOGGING['root']['level']", "DJANGO_LOG_LEVEL", "warning", logging.WARNING),
            ("DATABASES['default']['NAME']", "DATABASE_URL", "sqlite:////a/b", "/a/b"),
            ("DATABASES['default']['HOST']", "DATABASE_URL", "postgres://u:p@db/cars", "db"),
        ):
            with self.subTest(variable, value=value):
                found = self.read(f"s.{setting}", **{**PRODUCTION, variable: value})
                self.assertEqual(found, expected)

    def test_the_process_of_the_demo_is_known_with_debug_only(self):
        for debug, expected in (("on", 123), ("off", 0)):
            environ = {**PRODUCTION, "DJANGO_DEBUG": debug, "DEMO_PID": "123"}
            self.assertEqual(self.read("s.DEMO_PID", **environ), expected)

    def test_an_invalid_value_gives_one_line_that_names_its_variable(self):
        for variable, value in (
            ("DJANGO_DEBUG", "perhaps"),
            ("DJANGO_ALLOWED_HOSTS", "https://cars.example.com"),
            ("DJANGO_CSRF_TRUSTED_ORIGINS", "cars.example.com"),
            ("DATABASE_URL", "cars.sqlite3"),
            ("DATABASE_URL", "sqlite://cars.sqlite3"),
            ("DATABASE_URL", "sqlite://:memory:"),
            ("DATABASE_URL", "mysql://host/name"),
            ("DATABASE_URL", "postgres://user:password@host:port/name"),
            ("DATABASE_URL", "postgres://user:password@host"),
            ("MEMCACHED_SERVERS", "localhost"),
            ("MEMCACHED_SERVERS", "localhost:70000"),
            ("MEMCACHED_SERVERS", "localhost:11211;localhost:11212"),
            ("CACHE_KEY_PREFIX", "two words"),
            ("CACHE_KEY_PREFIX", ""),
            ("DJANGO_LOG_LEVEL", "much"),
            ("DJANGO_HTTPS", "perhaps"),
            ("DJANGO_HSTS_SECONDS", "1 h"),
            ("DJANGO_PROXIES", "-1"),
            ("WATCH_PLACES", "many"),
        ):
            with self.subTest(variable, value=value):
                result = python("manage.py", "check", **{variable: value})
                self.assertNotEqual(result.returncode, 0)
                self.assertRegex(result.stderr, rf'\Amanage.py: [^\n]*"{variable}"[^\n]*\n\Z')

    def test_without_debug_the_site_needs_a_key_and_hosts_to_start(self):
        for missing in PRODUCTION:
            with self.subTest(missing=missing):
                result = python(
                    "manage.py", "check", **{**PRODUCTION, "DJANGO_DEBUG": "off", missing: ""}
                )
                self.assertNotEqual(result.returncode, 0)
                self.assertRegex(result.stderr, rf"\Amanage.py: Without [^\n]*{missing}[^\n]*\n\Z")

    def test_manage_py_turns_debug_on(self):
        result = python(
            "manage.py",
            "shell",
            "--no-imports",
            "-c",
            "from django.conf import settings; print(settings.DEBUG)",
        )
        self.assertEqual(result.stdout, "True\n", result.stderr)

    def test_wsgi_does_not_turn_debug_on(self):
        result = python("-c", "import carsite.wsgi")
        self.assertIn("Without debug the site needs DJANGO_SECRET_KEY", result.stderr)
        code = "import carsite.wsgi; from django.conf import settings; print(settings.DEBUG)"
        result = python("-c", code, **PRODUCTION)
        self.assertEqual(result.stdout, "False\n", result.stderr)

    def test_without_debug_the_toolbar_is_not_installed(self):
        self.assertFalse(self.read("'debug_toolbar' in s.INSTALLED_APPS", **PRODUCTION))

    def test_without_a_token_nothing_is_counted_and_without_proxies_none_is_trusted(self):
        off = (
            "s.METRICS_TOKEN, 'metrics' in str(s.MIDDLEWARE), hasattr(s, 'SECURE_PROXY_SSL_HEADER')"
        )
        self.assertEqual(self.read(f"[{off}]", **PRODUCTION), ["", False, False])

    def test_without_debug_https_is_on(self):
        self.assertIs(self.read("s.SECURE_SSL_REDIRECT", **PRODUCTION), True)
        self.assertIs(self.read("s.SECURE_SSL_REDIRECT", DJANGO_DEBUG="on"), False)

    def test_without_memcached_the_cache_is_local_memory(self):
        self.assertIn("LocalMemory", self.read("s.CACHES['default']['BACKEND']", **PRODUCTION))

    def test_sqlite_is_the_default_and_its_transactions_are_immediate(self):
        default = self.read("s.DATABASES['default']", **PRODUCTION)
        self.assertEqual(default["NAME"], str(settings.BASE_DIR / "db.sqlite3"))
        self.assertEqual(default["OPTIONS"]["transaction_mode"], "IMMEDIATE")
        self.assertIn("journal_mode=WAL", default["OPTIONS"]["init_command"])

    def test_production_passes_the_deployment_checks(self):
        result = python(
            "manage.py",
            "check",
            "--deploy",
            "--fail-level",
            "WARNING",
            DJANGO_DEBUG="off",
            MEMCACHED_SERVERS="127.0.0.1:11211",
            **PRODUCTION,
        )
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_the_deployment_checks_reject_production_without_memcached(self):
        result = python("manage.py", "check", "--deploy", DJANGO_DEBUG="off", **PRODUCTION)
        self.assertEqual(result.returncode, 1)
        self.assertIn("caching.E008", result.stderr)
