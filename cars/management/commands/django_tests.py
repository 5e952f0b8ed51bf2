"""Run Django's own tests with CacheManager in place of Manager."""

import os
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from cars.lab import servers
from cars.lab.django_tests.source import downloaded, tests_of

from .demo import end_on_signals

LABELS = "basic custom_pk composite_pk queries bulk_create update delete transactions".split()


class Command(BaseCommand):
    help = (
        "Run the tests of the installed Django, from its source distribution, with CacheManager "
        "in place of every plain manager, and compare what the cache serves with the database in "
        "each of them. The cache is a Memcached that the command starts, or local memory if there "
        "is none on this machine. Prints which tests are left out, and why, and which have failed. "
        "The exit status is 1 if one has failed."
    )
    requires_system_checks = ()  # it doesn't use the site

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "labels",
            nargs="*",
            metavar="LABEL",
            help="a folder of Django's tests, or a dotted name in it, for example "
            f"basic.tests.ModelTest (default: {' '.join(LABELS)})",
        )
        parser.add_argument(
            "--source",
            type=Path,
            metavar="FOLDER",
            help="an unpacked source distribution of Django (default: pip downloads it)",
        )
        parser.add_argument(
            "--postgresql",
            action="store_true",
            help="on a PostgreSQL that the command starts (default: SQLite in memory)",
        )
        parser.add_argument(
            "--local-memory", action="store_true", help="don't start a Memcached: use local memory"
        )
        parser.add_argument(
            "--plain", action="store_true", help="with Django's own Manager, to see what differs"
        )

    def handle(self, *, labels: list[str], source: Path | None, **options: Any) -> None:
        end_on_signals()
        try:
            with ExitStack() as stack:
                tests = tests_of(source or self.download(stack))
                environ = self.start_servers(stack, **options)
                command = [sys.executable, "-m", "cars.lab.django_tests.run"]
                command += ["--plain"] if options["plain"] else []
                status = subprocess.call([*command, *(labels or LABELS)], cwd=tests, env=environ)
        except RuntimeError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        if status:
            sys.exit(1)

    def download(self, stack: ExitStack) -> Path:
        """Return the folder of Django's source, which is deleted with `stack`."""
        self.stdout.write("Downloading the source distribution of Django ...")
        return stack.enter_context(downloaded())

    def start_servers(self, stack: ExitStack, **options: Any) -> dict[str, str]:
        """Start the servers, which end with `stack`; return the environment of the tests."""
        url = stack.enter_context(servers.postgresql()) if options["postgresql"] else ""
        address = ""
        if servers.has_memcached() and not options["local_memory"]:
            # With room for the rows of all tests: what is evicted isn't compared.
            address = stack.enter_context(servers.memcached("-m", "256"))
        database, cache = "PostgreSQL" if url else "SQLite", "Memcached" if address else "memory"
        self.stdout.write(f"The database is {database}, the cache is {cache}.")
        return {
            **os.environ,
            "PYTHONPATH": str(settings.BASE_DIR),
            "DATABASE_URL": url,
            "MEMCACHED_SERVERS": address,
        }
