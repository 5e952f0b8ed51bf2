"""Let a server fail in many ways while the site is used, and print what its users notice."""

import sys
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management import BaseCommand, CommandError
from tqdm import tqdm

from cars.lab import servers
from cars.lab.faults import table
from cars.lab.faults.catalogue import FAULTS
from cars.lab.faults.database import VENDORS, databases
from cars.lab.faults.figures import Figures
from cars.lab.faults.run import run

from .demo import end_on_signals


class Command(BaseCommand):
    help = (
        "Start the servers and the site, request pages and save cars, and let a server fail in "
        "each of many ways. The exit status is 1 if a bound was broken."
    )
    requires_system_checks = ()  # it doesn't use the site of this process

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--only",
            action="append",
            choices=list(FAULTS),
            metavar="FAULT",
            help=f"can be given several times: {', '.join(FAULTS)} (default: all of them)",
        )
        parser.add_argument(
            "--database", choices=VENDORS, help="the database of the site (default: each of them)"
        )
        parser.add_argument(
            "--record", action="store_true", help="write the tables into docs/faults.md"
        )

    def handle(self, *, record: bool, **options: Any) -> None:
        vendors = [options["database"]] if options["database"] else VENDORS
        names = options["only"] or list(FAULTS)
        if not servers.has_memcached():
            raise CommandError("This needs `memcached` on the PATH.")
        if "PostgreSQL" in vendors and not servers.has_postgresql():
            raise CommandError("This needs PostgreSQL on this machine, or --database SQLite.")
        end_on_signals()
        try:
            runs = {vendor: self.run_all(vendor, names) for vendor in vendors}
        except RuntimeError as error:
            raise CommandError(f"The faults could not be tried: {error}.") from error
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        if record:
            table.record(runs)
        if any(figures.broken() for of in runs.values() for figures in of):
            sys.exit(1)

    def run_all(self, vendor: str, names: list[str]) -> list[Figures]:
        """Run these faults on a database, print their table, and return their figures."""
        faults = [FAULTS[name] for name in names if FAULTS[name].vendor in ("", vendor)]
        runs = []
        with databases(vendor) as database, tqdm(faults, desc=vendor, disable=None) as bar:
            for fault in bar:
                figures = run(fault, database, tell=partial(self.tell, bar, fault.name))
                for line in (*figures.broken().values(), *figures.examples()):
                    with tqdm.external_write_mode():
                        self.stderr.write(f"{vendor}, {fault.name}: {line}")
                runs.append(figures)
        self.stdout.write(f"{vendor}\n{table.table(runs)}")
        return runs

    def tell(self, bar: tqdm, fault: str, part: str) -> None:
        """Show which part of a run has begun."""
        bar.set_postfix_str(f"{fault}: {part}")
