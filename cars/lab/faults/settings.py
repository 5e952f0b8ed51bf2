"""The settings of the site in a run: those of the site, and one page more."""

from carsite.settings import *  # noqa: F403
from carsite.settings import MIDDLEWARE

ROOT_URLCONF = "cars.lab.faults.pages"
MIDDLEWARE = ["cars.lab.faults.pages.name_process", *MIDDLEWARE]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the login takes no time
# An error page is one of the figures. Its cause is in the log.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"django.request": {"handlers": ["stderr"], "level": "ERROR"}},
}
