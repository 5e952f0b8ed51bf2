"""The static files of production, for tests that start a process without debug."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.test import override_settings

STORAGE = "whitenoise.storage.CompressedManifestStaticFilesStorage"


@contextmanager
def static_files() -> Iterator[str]:
    """Run `collectstatic` into a new folder; yield its path, the STATIC_ROOT to use."""
    with tempfile.TemporaryDirectory() as folder:
        storages = {"staticfiles": {"BACKEND": STORAGE}}
        with override_settings(STATIC_ROOT=folder, STORAGES=storages):
            call_command("collectstatic", interactive=False, verbosity=0)
        yield folder
