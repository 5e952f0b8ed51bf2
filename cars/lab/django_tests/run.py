"""Run Django's tests in this process: `python -m cars.lab.django_tests.run [--plain] LABEL...`.

The working directory is the folder of Django's tests.
"""

import os
import sys
import tempfile
from argparse import ArgumentParser
from importlib import import_module
from typing import Any


def main(labels: list[str], plain: bool = False) -> int:
    """Run the tests of `labels`; return how many have failed. With `plain`, as Django does."""
    os.environ["DJANGO_SETTINGS_MODULE"] = f"{__package__}.settings"
    runtests: Any = import_module("runtests")  # in the working directory

    if not plain:
        from .replacement import CachingConfig, replace

        replace()
        runtests.ALWAYS_INSTALLED_APPS.insert(0, f"{CachingConfig.__module__}.CachingConfig")
    with tempfile.TemporaryDirectory(prefix="django-tests-") as folder:
        # As runtests.py does when it is run as a program.
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        options: dict[str, Any] = {
            **dict.fromkeys(("failfast", "keepdb", "reverse", "debug_sql", "pdb", "buffer"), False),
            **dict.fromkeys(("tags", "exclude_tags", "start_at", "start_after"), None),
            **{"test_name_patterns": None, "timing": False, "shuffle": False},
        }
        failed: int = runtests.django_tests(
            verbosity=1, interactive=False, test_labels=labels, parallel=1, **options
        )
    return failed


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--plain", action="store_true", help="with Django's own Manager")
    parser.add_argument("labels", nargs="+", metavar="LABEL")
    arguments = parser.parse_args()
    sys.exit(min(main(arguments.labels, arguments.plain), 1))
