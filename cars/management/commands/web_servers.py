"""Serve the site by other web servers, and print whether a read was ever wrong."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.core.management import BaseCommand, CommandError
from tqdm import tqdm

from cars.lab import servers
from cars.lab.faults import table
from cars.lab.faults.database import VENDORS, databases
from cars.lab.faults.serving import PACKAGES, SERVING, Served, install, serve

from .demo import end_on_signals


class Command(BaseCommand):
    help = (
        "Install uWSGI and gevent into a temporary folder, serve the site by uWSGI without "
        "threads, by gunicorn with --preload and with gevent workers, and count wrong reads. The "
        "exit status is 1 if anything was wrong."
    )
    requires_system_checks = ()  # it doesn't use the site of this process

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--reads", type=int, default=10_000, help="of rows, with each (%(default)s)"
        )
        parser.add_argument(
            "--writes", type=int, default=500, help="saves, with each (%(default)s)"
        )
        parser.add_argument(
            "--database", choices=VENDORS, default="PostgreSQL", help="(%(default)s)"
        )
        parser.add_argument(
            "--packages", type=Path, help="a folder that has the packages, or gets and keeps them"
        )
        parser.add_argument(
            "--record", action="store_true", help="write the table into docs/faults.md"
        )

    def handle(self, *, database: str, packages: Path | None, **options: Any) -> None:
        if not servers.has_memcached():
            raise CommandError("This needs `memcached` on the PATH.")
        if database == "PostgreSQL" and not servers.has_postgresql():
            raise CommandError("This needs PostgreSQL on this machine, or --database SQLite.")
        end_on_signals()
        try:
            with TemporaryDirectory() as temporary:
                folder = packages or Path(temporary)
                if not (folder / "bin" / "uwsgi").exists():
                    self.stdout.write(f"Installing {' and '.join(PACKAGES)} ...")
                    install(folder)
                runs = self.serve_all(database, folder, options["reads"], options["writes"])
        except RuntimeError as error:
            raise CommandError(f"The site could not be served: {error}.") from error
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        self.stdout.write(table.serving_table(runs))
        if options["record"]:
            table.record_serving(runs)
        if any(run.wrong for run in runs):
            sys.exit(1)

    def serve_all(self, vendor: str, folder: Path, reads: int, writes: int) -> list[Served]:
        """Serve the site by each web server in turn."""
        runs = []
        with databases(vendor) as database:
            for server in SERVING:
                with tqdm(total=reads + writes, desc=server, disable=None) as bar:

                    def tell(read: int, written: int, bar: Any = bar) -> None:
                        bar.update(min(read, reads) + min(written, writes) - bar.n)

                    runs.append(serve(server, folder, database, reads, writes, tell))
        return runs
