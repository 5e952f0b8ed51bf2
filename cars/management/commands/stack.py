"""Start the stack of docker-compose.scale.yml, let parts of it fail, count stale pages."""

import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from cars.caching.owed import TOO_OLD
from cars.lab.stack.containers import FAULTS, Stack, has_engine, running
from cars.lab.stack.visitors import Record, slow_clients, visitors
from cars.lab.storm.run import storm

from .demo import end_on_signals

STORM = "storm"


class Command(BaseCommand):
    help = (
        "Start PostgreSQL, two Memcached servers, three web containers and nginx, as in "
        "production. Let visitors read and write, parts of it fail, and count the stale pages. "
        "The exit status is 1 if a page was staler than the bound."
    )
    requires_system_checks = ()  # it doesn't use the site of this process

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "faults",
            nargs="*",
            metavar="FAULT",
            help=f"what fails, one after the other: {', '.join(FAULTS)}; or {STORM}: processes of "
            "this machine read and write on its PostgreSQL and one Memcached (all of them)",
        )
        parser.add_argument(
            "--seconds", type=float, default=15, help="of load for each fault (%(default)s)"
        )
        parser.add_argument(
            "--bound",
            type=float,
            default=TOO_OLD,
            help="how many seconds old a stale page may be (%(default)s)",
        )

    def handle(self, *, faults: list[str], seconds: float, bound: float, **options: Any) -> None:
        known = [*FAULTS, STORM]
        if unknown := set(faults) - set(known):
            raise CommandError(f"Unknown: {', '.join(unknown)}. There are {', '.join(known)}.")
        if not has_engine():
            raise CommandError("There is no container engine with Compose on this machine.")
        end_on_signals()
        is_right = True
        try:
            with running() as stack:
                self.say(f"The stack is up: {stack.webs} web containers, port {stack.port}.")
                if unconfined := stack.unconfined():
                    raise RuntimeError(f"not confined: {', '.join(unconfined)}")
                self.try_pages(stack)
                for name in faults or known:
                    if name == STORM:
                        is_right &= self.try_storm(stack, seconds)
                        continue
                    record = self.try_fault(stack, name, seconds)
                    is_right &= record.oldest <= bound and record.counts["hits"] > 0
        except RuntimeError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        if not is_right:
            sys.exit(1)

    def try_pages(self, stack: Stack) -> None:
        """Raise RuntimeError unless each web container serves pages, also beside slow clients."""
        for web in range(1, stack.webs + 1):
            if "Mileage" not in stack.ask(web, "/cars/1/"):
                raise RuntimeError(f"web container {web} serves no car")
            if '"ready"' not in stack.ask(web, "/readyz"):
                raise RuntimeError(f"web container {web} is not ready")
        with slow_clients(stack):
            stack.page("/cars/1/")
        self.say("Each web container serves pages, also beside 100 half-sent requests.")

    def try_fault(self, stack: Stack, name: str, seconds: float) -> Record:
        """Let visitors come before, during and after a fault; return what they have seen."""
        record = Record()
        with visitors(stack, record):
            time.sleep(seconds / 3)
            with FAULTS[name](stack):
                time.sleep(seconds / 3)
            time.sleep(seconds / 3)
        self.say(f"{name}: {record}.")
        return record

    def try_storm(self, stack: Stack, seconds: float) -> bool:
        """Run a storm on the servers of `stack`; return whether nothing was stale."""
        figures = storm(seconds, at=stack.place_of_a_storm)
        self.say(f"{STORM}:\n{figures}")
        return figures.is_right

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
