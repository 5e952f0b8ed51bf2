"""The containers of the stack, and what can fail in them."""

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.request import urlopen

from django.conf import settings

from cars.lab.servers import free_port
from cars.lab.storm.run import Place

FILES = ("docker-compose.yml", "docker-compose.scale.yml")
ACCOUNT = "stack"

# Runs in a web container: prints the key of a session of an account that may change everything.
LOG_IN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore

user, _ = User.objects.update_or_create(username="{account}", defaults={{"is_superuser": True}})
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""


def has_engine() -> bool:
    """Is there a container engine with Compose?"""
    try:
        for command in (["docker", "info"], ["docker", "compose", "version"]):
            subprocess.run(command, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@dataclass
class Stack:
    """A running stack, whose nginx listens at `port` of this machine."""

    project: str
    port: int
    webs: int

    def compose(self, *arguments: str, text: str | None = None) -> str:
        """Run `docker compose` with `arguments`; return its output. Raises RuntimeError."""
        command = ["docker", "compose", "--project-name", self.project]
        command += [part for name in FILES for part in ("--file", name)]
        done = subprocess.run(
            [*command, *arguments],
            cwd=settings.BASE_DIR,
            env={**os.environ, "PORT": str(self.port)},
            input=text,
            text=True,
            capture_output=True,
        )
        if done.returncode:
            raise RuntimeError(f"docker compose {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def start(self) -> None:
        """Build the images, start all containers, and wait until they are healthy."""
        self.compose(
            "up", "--build", "--detach", "--wait", "--wait-timeout", "300", "--quiet-pull",
            "--scale", f"web={self.webs}",
        )  # fmt: skip

    def stop(self) -> None:
        """Remove the containers, their volumes and the images that were built."""
        self.compose("down", "--volumes", "--rmi", "local", "--timeout", "5")

    def ask(self, web: int, path: str) -> str:
        """Return what the web container number `web`, from 1 on, answers at `path`."""
        code = (
            "from urllib.request import Request, urlopen; print(urlopen(Request("
            f"'http://127.0.0.1:8000{path}', headers={{'Host': 'localhost'}})).read().decode())"
        )
        return self.compose("exec", "-T", "--index", str(web), "web", "python", "-c", code)

    def page(self, path: str) -> str:
        """Return the page at `path`, through nginx; raise OSError if it isn't a 200."""
        with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as response:
            page: str = response.read().decode()
        return page

    def log_in(self) -> str:
        """Return the session key of an account that may change cars."""
        code = LOG_IN.format(account=ACCOUNT)
        shell = ("exec", "-T", "web", "python", "manage.py", "shell", "--no-imports", "-c", code)
        return self.compose(*shell).strip()

    def kill(self, service: str) -> None:
        """End the first process of a container of `service` by SIGKILL, as a crash does."""
        [container, *_] = self.compose("ps", "--quiet", service).split()
        state = subprocess.run(
            ["docker", "inspect", "--format", "{{json .State.Pid}}", container],
            check=True,
            capture_output=True,
        )
        os.kill(json.loads(state.stdout), 9)

    def unconfined(self) -> list[str]:
        """Return the containers with a disk to write to, capabilities, or privileges to gain."""
        form = "{{.Name}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} "
        form += "{{.HostConfig.SecurityOpt}} {{.HostConfig.Memory}}"
        found = subprocess.run(
            [
                "docker",
                "inspect",
                "--format",
                form,
                *self.compose("ps", "--quiet", "--all").split(),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        confined = re.compile(r"\S+ true \[ALL\] \[no-new-privileges:true\] [1-9]\d*")
        return [line for line in found.stdout.splitlines() if not confined.fullmatch(line)]

    def address(self, service: str) -> str:
        """Return the IP address of the container of `service` in its first network."""
        [container, *_] = self.compose("ps", "--quiet", service).split()
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        found = subprocess.run(
            ["docker", "inspect", "--format", form, container],
            check=True,
            capture_output=True,
            text=True,
        )
        return found.stdout.split()[0]

    def restart(self, service: str) -> None:
        """Restart the container of `service`."""
        self.compose("restart", "--timeout", "1", service)

    @contextmanager
    def place_of_a_storm(self) -> Iterator[Place]:
        """Yield PostgreSQL, with a new database, and one Memcached, for a storm of this machine."""
        self.compose("exec", "-T", "postgres", "createdb", "--username", "carsite", "storm")
        password = os.environ.get("POSTGRES_PASSWORD", "carsite")
        yield Place(
            f"postgres://carsite:{password}@{self.address('postgres')}/storm",
            f"{self.address('memcached')}:11211",
            partial(self.restart, "memcached"),
        )

    @contextmanager
    def memcached_stopped(self) -> Iterator[None]:
        """One of the two Memcached servers is stopped."""
        self.compose("stop", "--timeout", "1", "memcached2")
        yield
        self.compose("start", "memcached2")

    @contextmanager
    def postgresql_restarted(self) -> Iterator[None]:
        """PostgreSQL is restarted, in the middle of everything."""
        self.restart("postgres")
        yield

    @contextmanager
    def web_killed(self) -> Iterator[None]:
        """A web container is ended by SIGKILL; Docker starts it again.

        Raises RuntimeError if it doesn't within a minute.
        """
        self.kill("web")
        yield
        deadline = time.monotonic() + 60
        while len(self.compose("ps", "--quiet", "--status", "running", "web").split()) < self.webs:
            if time.monotonic() > deadline:
                raise RuntimeError("a web container that was killed was not started again")
            time.sleep(0.2)

    @contextmanager
    def web_cut_off(self) -> Iterator[None]:
        """One web container can't reach Memcached, the others can."""
        network, container = f"{self.project}_cache", f"{self.project}-web-1"
        subprocess.run(["docker", "network", "disconnect", network, container], check=True)
        yield
        subprocess.run(["docker", "network", "connect", network, container], check=True)

    @contextmanager
    def nothing(self) -> Iterator[None]:
        """Nothing fails."""
        yield


# What can fail, by the name on the command line.
FAULTS = {
    "nothing": Stack.nothing,
    "memcached": Stack.memcached_stopped,
    "postgresql": Stack.postgresql_restarted,
    "web": Stack.web_killed,
    "cut-off": Stack.web_cut_off,
}


@contextmanager
def running(webs: int = 3) -> Iterator[Stack]:
    """Run a stack with `webs` web containers on a free port, and remove it afterwards."""
    stack = Stack(f"carsite-stack-{secrets.token_hex(3)}", free_port(), webs)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
