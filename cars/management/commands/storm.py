"""Run the recipe under load on real servers, and print whether any read was stale."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from cars.lab.storm import results
from cars.lab.storm.run import missing_servers, storm

from .demo import end_on_signals


class Command(BaseCommand):
    help = (
        "Start a PostgreSQL and a Memcached, let processes read and write the same few rows, "
        "and count the stale reads. The exit status is 1 if there was one."
    )
    requires_system_checks = ()  # it doesn't use the site

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seconds", type=float, default=30, help="how long it runs (%(default)s)"
        )
        parser.add_argument(
            "--recipe",
            choices=["today", "2009"],
            default="today",
            help="this project's recipe or that of 2009 (%(default)s)",
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="of the random choices (%(default)s)"
        )
        parser.add_argument(
            "--readers", type=int, default=3, help="processes that read (%(default)s)"
        )
        parser.add_argument(
            "--writers", type=int, default=3, help="processes that write (%(default)s)"
        )
        parser.add_argument(
            "--record", action="store_true", help="write the figures that the start page shows"
        )

    def handle(self, *, seconds: float, recipe: str, record: bool, **options: Any) -> None:
        if missing := missing_servers():
            raise CommandError(f"A storm needs {' and '.join(missing)} on this machine.")
        numbers = {name: options[name] for name in ("seed", "readers", "writers")}
        if seconds <= 0 or min(numbers["readers"], numbers["writers"]) < 1:
            raise CommandError("A storm needs some seconds, a reader and a writer.")
        end_on_signals()
        try:
            figures = storm(seconds, recipe, **numbers)
        except RuntimeError as error:
            raise CommandError(f"The storm has failed: {error}.") from None
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        for example in figures.examples:
            self.stderr.write(example)
        self.stdout.write(str(figures))
        if record:
            results.record(recipe, seconds, figures)
        if not figures.is_right:
            sys.exit(1)
