"""Set the site up and serve it, by one command."""

import errno
import os
import signal
import socket
from argparse import ArgumentParser
from contextlib import ExitStack
from types import FrameType
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import BaseCommand, CommandError, call_command

from cars.admin_site import PUBLISHED_ACCOUNT
from cars.lab import servers
from cars.models import Car
from cars.stock.files import SHIPPED

ACCOUNT = PASSWORD = PUBLISHED_ACCOUNT
LOOPBACK = ("127.0.0.1", "::1", "localhost")
WILDCARD = ("0.0.0.0", "::")

# Larger than the default, so that /watch/ loses no lines of its log.
MEMCACHED_OPTIONS = ("-o", "worker_logbuf_size=4096,watcher_logbuf_size=8192")


class Command(BaseCommand):
    help = (
        "Set the site up and serve it until Ctrl-C: migrate, load the cars if there are none, "
        "create the account demo / demo, start a Memcached unless MEMCACHED_SERVERS names one."
    )

    pid = 0  # of this process, if it has started a Memcached

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
        parser.add_argument("--port", default=8000, type=int, help="the port (%(default)s)")
        parser.add_argument(
            "--reset", action="store_true", help="delete everything in the database first"
        )

    def handle(self, *, host: str, port: int, reset: bool, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "The demo has debug on and an account with a published password, so it doesn't "
                "run with DJANGO_DEBUG off. Serve carsite.wsgi by gunicorn instead."
            )
        end_on_signals()
        try:
            with listen(host, port) as listener:
                port = listener.getsockname()[1]
                set_up(reset)
                with ExitStack() as stack:
                    addresses, cache = self.start_cache(stack)
                    site = servers.site(
                        listener,
                        DEMO_PID=str(self.pid),
                        DJANGO_DEBUG="on",
                        MEMCACHED_SERVERS=",".join(addresses),
                        WEB_THREADS="16",  # as in servers.gunicorn
                        WATCH_FROM_START="on",
                    )
                    gunicorn = stack.enter_context(site)
                    self.tell(host, port, cache)
                    status = gunicorn.wait()
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
        except RuntimeError as error:
            raise CommandError(f"The demo doesn't start: {error}.") from None
        else:
            raise CommandError(f"The demo has ended: gunicorn ended with status {status}.")

    def start_cache(self, stack: ExitStack) -> tuple[list[str], str]:
        """Return the Memcached servers to use, and a description of where the cache is."""
        if addresses := settings.MEMCACHED_SERVERS:
            return addresses, f"Memcached at {', '.join(addresses)}, from MEMCACHED_SERVERS"
        if servers.has_memcached():
            program = servers.memcached_program(*MEMCACHED_OPTIONS)
            stack.enter_context(program.running())
            stop_and_start_on_signals(program)
            self.pid = os.getpid()
            return [program.address], f"Memcached at {program.address}, which ends with this demo"
        return [], (
            "this process's memory, since there is no `memcached` on the PATH.\n"
            "          Install one (apt install memcached, brew install memcached) and start again."
        )

    def tell(self, host: str, port: int, cache: str) -> None:
        """Print the URL of the site, the account and where the cache is."""
        shown = "localhost" if host in WILDCARD else f"[{host}]" if ":" in host else host
        self.stdout.write(
            f"\nSite      http://{shown}:{port}/\n"
            f"Account   {ACCOUNT} / {PASSWORD}, in the admin too: http://{shown}:{port}/admin/\n"
            f"Cache     {cache}\n"
        )
        if host not in LOOPBACK:
            self.stdout.write(
                f"Warning   debug is on: let only people you trust reach {host}, port {port}\n"
            )
        self.stdout.write("Ctrl-C ends it.")
        self.stdout.flush()


def end_on_signals() -> None:
    """Raise KeyboardInterrupt on Ctrl-C, on SIGTERM, or when the terminal is closed."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is ignored under nohup
        signals.append(signal.SIGHUP)

    def end(number: int, frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
        raise KeyboardInterrupt

    for each in signals:
        signal.signal(each, end)


def stop_and_start_on_signals(program: servers.Program) -> None:
    """End `program` on SIGUSR1 and start it again on SIGUSR2: the button on /watch/ sends them."""

    def start(number: int, frame: FrameType | None) -> None:
        program.end()
        program.start()

    signal.signal(signal.SIGUSR1, lambda number, frame: program.end())
    signal.signal(signal.SIGUSR2, start)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port`; raise CommandError if that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) != errno.EADDRINUSE:
            raise CommandError(f"Can't listen on {host}, port {port}: {error}") from None
        raise CommandError(
            f"Port {port} of {host} is in use. Stop what uses it, or choose another port: "
            f"manage.py demo --port {port + 1}, or make demo PORT={port + 1}."
        ) from None


def set_up(reset: bool) -> None:
    """Create the tables, the cars and the account where they are missing; first `reset` them."""
    call_command("migrate", verbosity=0)
    if reset:
        pks = list(Car.objects.values_list("pk", flat=True))
        call_command("flush", interactive=False, verbosity=0)
        Car.objects.expire(pks)
    if not Car.objects.exists():
        call_command("import_cars", SHIPPED)
    make_account()


def make_account() -> None:
    """Create the demo account, or restore its password and permissions, which are on cars only."""
    user, _ = get_user_model().objects.update_or_create(
        username=ACCOUNT, defaults={"is_staff": True, "is_superuser": False, "is_active": True}
    )
    if not user.check_password(
        PASSWORD
    ):  # setting the same one again would log all users of it out
        user.set_password(PASSWORD)
        user.save()
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="cars", content_type__model="car")
    )
