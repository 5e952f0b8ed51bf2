"""The one settings file, read from the environment; docs/site.md lists the variables."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError

from .environment import env

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    DEBUG = env.bool("DJANGO_DEBUG", False)
    SECRET_KEY = env.str("DJANGO_SECRET_KEY", "")
    ALLOWED_HOSTS = env.hosts("DJANGO_ALLOWED_HOSTS", "")
    CSRF_TRUSTED_ORIGINS = env.origins("DJANGO_CSRF_TRUSTED_ORIGINS", "")
    DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
    MEMCACHED_SERVERS = env.servers("MEMCACHED_SERVERS", "")
    CACHE_KEY_PREFIX = env.key_prefix("CACHE_KEY_PREFIX", "carsite")
    HTTPS = env.bool("DJANGO_HTTPS", not DEBUG)
    PROXIES = env.count("DJANGO_PROXIES", "0")
    SECURE_HSTS_SECONDS = env.count("DJANGO_HSTS_SECONDS", "3600" if HTTPS else "0")
    METRICS_TOKEN = env.str("METRICS_TOKEN", "")
    STATIC_ROOT = env.path("STATIC_ROOT", BASE_DIR / "staticfiles")
    WEB_THREADS = env.count("WEB_THREADS", "8")  # as in carsite/gunicorn.py
    # Pages that may watch at once, in each process: each occupies a thread.
    WATCH_PLACES = min(env.count("WATCH_PLACES", str(WEB_THREADS)), WEB_THREADS // 4)
    WATCH_FROM_START = env.bool("WATCH_FROM_START", False)
    # Of the demo that has started Memcached: a button stops it. Never without debug.
    DEMO_PID = env.count("DEMO_PID", "0") if DEBUG else 0
    LAB = env.bool("LEARN_LAB", DEBUG)  # whether visitors can run schedules, in another process
    LOG_LEVEL = env.log_level("DJANGO_LOG_LEVEL", logging.INFO)
except EnvError as error:
    raise ImproperlyConfigured(str(error)) from None

if DEBUG:
    SECRET_KEY = SECRET_KEY or "not-secret-for-debug-only"
elif not SECRET_KEY or not ALLOWED_HOSTS:
    raise ImproperlyConfigured(
        "Without debug the site needs DJANGO_SECRET_KEY (a long random string) and "
        "DJANGO_ALLOWED_HOSTS (the host names it serves, separated by commas). "
        "To try it on your own machine, set DJANGO_DEBUG=on."
    )


def caches(servers: list[str]) -> dict[str, dict[str, Any]]:
    """Return Django's CACHES: Memcached on `servers`; without servers, local memory."""
    where: dict[str, Any] = {"BACKEND": "cars.caching.backends.LocalMemoryCache"}
    if servers:
        where = {"BACKEND": "cars.caching.backends.MemcachedCache", "LOCATION": servers}
    # Only rows and plain data can be stored: so nothing that is read is unpickled.
    return {"default": {**where, "KEY_PREFIX": CACHE_KEY_PREFIX, "OPTIONS": {"pickle": False}}}


CACHES = caches(MEMCACHED_SERVERS)

INSTALLED_APPS = [
    "cars.admin_site.SiteConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    # Before staticfiles, so that `runserver` serves the static files as gunicorn does.
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "axes",
    "cars.caching",
    "cars",
]

MIDDLEWARE = [
    "carsite.probes.ProbesMiddleware",
    "cars.errors.FormsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "cars.errors.NulMiddleware",
    "cars.insight.lookups.LookupsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "cars.errors.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    # Last, so that all other middleware sees the page that is sent.
    "cars.errors.ErrorPagesMiddleware",
]

if METRICS_TOKEN:
    MIDDLEWARE.insert(1, "carsite.metrics.MetricsMiddleware")

if DEBUG:
    INSTALLED_APPS += ["debug_toolbar"]
    # Early, so that it sees the queries and cache calls of the middleware after it. After CSP,
    # whose header must cover the toolbar's own scripts. After Lookups, which adds to the
    # Server-Timing header of the toolbar.
    after = MIDDLEWARE.index("cars.insight.lookups.LookupsMiddleware") + 1
    MIDDLEWARE.insert(after, "debug_toolbar.middleware.DebugToolbarMiddleware")
    DEBUG_TOOLBAR_CONFIG = {
        "SHOW_TOOLBAR_CALLBACK": "carsite.toolbar.show_toolbar",
        "SHOW_COLLAPSED": True,  # open, it hides the right of the page: hit and miss
        # How many requests' panels are kept. With the default, 25, a few requests of other users
        # remove the panels of an open page.
        "RESULTS_CACHE_SIZE": 250,
    }
    # Without History, which keeps the raw body of every POST: at a login, the password. Without
    # Templates, which listens to a signal of the whole process: it would show other requests too.
    DEBUG_TOOLBAR_PANELS = [
        "debug_toolbar.panels.timer.TimerPanel",
        "cars.insight.panels.ObjectsPanel",
        "debug_toolbar.panels.cache.CachePanel",
        "debug_toolbar.panels.sql.SQLPanel",
        "debug_toolbar.panels.signals.SignalsPanel",
        "debug_toolbar.panels.headers.HeadersPanel",
        "debug_toolbar.panels.request.RequestPanel",
        "debug_toolbar.panels.settings.SettingsPanel",
        "debug_toolbar.panels.versions.VersionsPanel",
    ]

ROOT_URLCONF = "carsite.urls"
WSGI_APPLICATION = "carsite.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# After so many failed logins a client's address has to wait. No account is ever locked: anyone
# could lock out its user. The attempts are in the database, so they count without the cache too.
AXES_FAILURE_LIMIT = 20  # an office may have one address
AXES_COOLOFF_TIME = timedelta(minutes=10)
AXES_LOCKOUT_PARAMETERS = ["ip_address"]
AXES_CLIENT_IP_CALLABLE = "carsite.proxy.client_address"
AXES_LOCKOUT_CALLABLE = "cars.errors.too_many_logins"
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # which would write at each further attempt
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = AXES_VERBOSE = False

LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"

STATIC_URL = "static/"
# Set here, since the tests turn DEBUG off but have no STATIC_ROOT.
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = DEBUG
# With a hash of the content in each file name, browsers keep files forever. `collectstatic` makes
# the names. With debug the files come from their folders.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# Everything goes to stderr. Django's handlers would write it twice with debug, and not at all
# without.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "carsite.logs.Formatter", "one_line": not DEBUG}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": "NOTSET"},
        "axes": {"level": "WARNING"},  # three lines of INFO for each login
    },
}

# Everything comes from the site itself, and nothing is inline. The admin uses data: images.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
if PROXIES:
    # Trusted, since the nearest proxy sets it, also where the client has sent one.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# HSTS for subdomains and in the preload lists of browsers concerns more than this site: the owner
# of the domain decides on that.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

TEST_RUNNER = "cars.tests.support.runner.Runner"
