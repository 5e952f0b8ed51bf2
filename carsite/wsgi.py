"""The WSGI application that gunicorn serves. Debug is off unless DJANGO_DEBUG is on."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carsite.settings")

application = get_wsgi_application()
