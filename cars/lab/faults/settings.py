"""The settings of the site in a run: those of the site, and one page more."""

from carsite.settings import *  # noqa: F403
from carsite.settings import CACHES, MIDDLEWARE, STORAGES

from . import waits

ROOT_URLCONF = "cars.lab.faults.pages"
MIDDLEWARE = ["cars.lab.faults.pages.describe_answer", *MIDDLEWARE]
CACHES["default"]["OPTIONS"]["socket_module"] = waits
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the login takes no time
# Static files need not be collected.
plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STORAGES = {**STORAGES, "staticfiles": plain}
