"""The process that plays the runs of the lab: `python -m cars.learn.process FD`.

FD is the file descriptor of a socket at which it listens. It reads one question from each line of
a connection, and writes one answer, as JSON. It ends with its last connection, after IDLE seconds
without a question, and when a question takes longer than `SECONDS`.

Its database is a temporary SQLite file for each question, or with PostgreSQL a schema that no
other such process uses. So it never touches the rows of the site. Runs of this site's recipe use
the site's Memcached, under random keys.
"""

import os
import select
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec
from msgspec import Struct

from .runs import Run
from .scenarios import MOST_STEPS, Scenario, Unknown, scenario

SECONDS = 10  # that a question may take, before the process ends itself
IDLE = 600
SCHEMAS = 16  # how many processes can use one PostgreSQL at the same time

ENVIRON = {
    "DJANGO_DEBUG": "off",  # it keeps every query
    "DJANGO_SECRET_KEY": "nothing is signed here",
    "DJANGO_ALLOWED_HOSTS": "localhost",
}


class Question(Struct, frozen=True):
    """A schedule to play; and for `hint` seconds, look for the next step towards a wrong read.

    `servers` are those of Memcached, on which runs of this site's recipe are played.
    """

    recipe: str
    case: str
    without: str = ""
    steps: tuple[str, ...] = ()
    hint: float = 0
    servers: tuple[str, ...] = ()


class Answer(Struct, frozen=True, omit_defaults=True):
    """The run, or why it is `refused`; `hint` is the id of a choice, "none" or "unknown"."""

    run: Run | None = None
    refused: str = ""
    hint: str = ""


def answer(question: Question) -> Answer:
    """Play what `question` asks for."""
    from .search import TooLong, shortest
    from .stage import NotPossible, open_stage

    try:
        if len(question.steps) > MOST_STEPS:
            raise NotPossible(f"A schedule has at most {MOST_STEPS} steps.")
        chosen = scenario(question.recipe, question.case, question.without)
        run = play(chosen, question.steps, question.servers)
        hint = ""
        if question.hint and run.choices:
            with open_stage(chosen) as stage:
                try:
                    steps = shortest(stage, question.steps, seconds=question.hint)
                except TooLong:
                    hint = "unknown"
                else:
                    known = steps and len(steps) > len(question.steps)
                    hint = steps[len(question.steps)] if steps and known else "none"
    except (NotPossible, Unknown) as error:
        return Answer(refused=str(error))
    return Answer(run, hint=hint)


def play(chosen: Scenario, steps: Sequence[str], servers: Sequence[str]) -> Run:
    """Play `steps` on Memcached, or in local memory if it doesn't answer.

    Raises NotPossible for a step that can't be taken when its turn comes.
    """
    from .stage import NotPossible, open_stage

    if servers:
        try:
            with open_stage(chosen, servers) as stage:
                run = stage.play(steps)
                if "error" not in stage.world.problems:
                    return run
        except NotPossible:
            raise
        except Exception as error:  # a world can't say what stands in a cache without an answer
            print(f"The run is played in local memory: {error!r}", file=sys.stderr)
    with open_stage(chosen) as stage:
        return stage.play(steps)


@contextmanager
def database() -> Iterator[None]:
    """Within the block, let the default database be one that holds nothing else.

    On PostgreSQL that is a schema, held by a lock for as long as this process runs. If the account
    may not create one, SQLite is used.
    """
    from django.apps import apps
    from django.db import DatabaseError, connections

    connection = connections["default"]
    if connection.vendor != "postgresql":
        # Only the settings are used: each world makes its own temporary file from them.
        yield
        return
    schema = ""
    try:
        with connection.cursor() as cursor:
            for number in range(SCHEMAS):
                name = f"carsite_lab_{number}"
                cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [name])
                if cursor.fetchone()[0]:
                    cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
                    cursor.execute(f"CREATE SCHEMA {name}")
                    schema = name
                    break
    except DatabaseError:
        pass
    if not schema:
        connection.close()
        connections.settings["default"] = sqlite = {
            **connections.settings["default"],
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ":memory:",
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},
        }
        connections["default"] = connections.create_connection("default")
        connections["default"].settings_dict = sqlite
        yield
        return
    # The locking connection stays open; all others find only the tables of this schema.
    inside = connections.create_connection("default")
    options = {**connection.settings_dict["OPTIONS"], "options": f"-c search_path={schema}"}
    inside.settings_dict = {**connection.settings_dict, "OPTIONS": options}
    connections["default"] = inside
    try:
        with inside.schema_editor() as editor:
            for model in apps.get_app_config("lab").get_models():
                editor.create_model(model)
        yield
    finally:
        inside.close()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.close()


def serve(listener: socket.socket) -> None:
    """Answer all questions, until the last connection is closed or none comes for IDLE seconds."""
    askers: list[socket.socket] = []
    while ready := select.select([listener, *askers], [], [], IDLE)[0]:
        if listener in ready:
            askers.append(listener.accept()[0])
            continue
        asker = ready[0]
        signal.alarm(SECONDS)  # the signal ends this process
        try:
            with asker.makefile("rwb") as file:
                if line := file.readline():
                    question = msgspec.json.decode(line, type=Question)
                    file.write(msgspec.json.encode(answer(question)))
                    file.write(b"\n")
        except ConnectionError:
            line = b""
        signal.alarm(0)
        if not line:
            asker.close()
            askers.remove(asker)
            if not askers:
                return


def main() -> None:
    """Set Django up with the app of the lab, and answer questions."""
    os.environ.update(ENVIRON)
    from django.conf import settings

    settings.INSTALLED_APPS.append("cars.lab")
    import django

    django.setup()
    from django.test.utils import setup_test_environment

    setup_test_environment()  # its databases come and go: the recipe owes nothing there
    with ExitStack() as stack:
        stack.enter_context(database())
        serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
