#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    """Run a command, with debug on unless DJANGO_DEBUG says otherwise."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carsite.settings")
    os.environ.setdefault("DJANGO_DEBUG", "on")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"{sys.argv[0]}: {error}")


if __name__ == "__main__":
    main()
