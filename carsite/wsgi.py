"""The WSGI application that gunicorn serves. Debug is off unless DJANGO_DEBUG is on."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carsite.settings")

application = get_wsgi_application()

if settings.WATCH_FROM_START and settings.MEMCACHED_SERVERS:
    from cars.insight.watch.recorder import recorder

    recorder(settings.MEMCACHED_SERVERS)
