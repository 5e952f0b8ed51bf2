"""The paths of five things through the recipe: the functions that they call, in order.

`python -m cars.lab.paths` prints them as cars/caching/__init__.py shows them, each with the number
of files and functions; with `--all` it prints every function of the recipe.

It runs in a new process, on a new database and a new cache.
"""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from types import FrameType
from typing import Any

from . import servers

# The modules that say what happens, and the four calls that reach the cache.
SHOWN = ("manager", "queryset", "reads", "transactions", "protocol")
CALLS = ("get", "get_many", "gets_many", "cas_many", "swap_and_look")

ENVIRON = {
    "DJANGO_SETTINGS_MODULE": "carsite.settings",
    "DJANGO_DEBUG": "off",
    "DJANGO_SECRET_KEY": "nothing is signed here",
    "DJANGO_ALLOWED_HOSTS": "localhost",
}

Function = tuple[str, str]  # module below the recipe's folder, qualified name


def calls_of(folder: Path, do: Callable[[], object]) -> list[Function]:
    """Return the functions in `folder` that `do` calls, in the order of their first call.

    Comprehensions, lambdas and generator expressions count as a part of their function.
    """
    called: list[Function] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        name = frame.f_code.co_qualname
        if event == "call" and path.is_relative_to(folder) and "<" not in name:
            called.append((path.relative_to(folder).with_suffix("").as_posix(), name))

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return list(dict.fromkeys(called))


def paths() -> dict[str, list[Function]]:
    """Return, by title, the functions that five things call; Django must be set up."""
    from django.core.cache import cache
    from django.db import transaction

    from cars import caching
    from cars.caching.transactions import settle_all
    from cars.models import Car

    folder = Path(caching.__file__).parent
    car = Car.objects.create(make="Toyota")

    def hit() -> None:
        Car.objects.cache(car.pk)

    def update() -> None:
        with transaction.atomic():
            Car.objects.filter(pk=car.pk).update(make="Volvo")

    def savepoint() -> None:
        with transaction.atomic():
            try:
                with transaction.atomic():
                    car.save()
                    raise LookupError
            except LookupError:
                pass
        settle_all()  # the end of the request

    def traced(do: Callable[[], object], empty: bool = False) -> list[Function]:
        for _ in range(2):  # the first call makes what is kept
            if empty:
                cache.delete(car.key())
            called = calls_of(folder, do)
        return called

    return {
        "a hit": traced(hit),
        "a miss with its fill": traced(hit, empty=True),
        "a save in autocommit": traced(car.save),
        "an update() in a transaction": traced(update),
        "a savepoint rolled back": traced(savepoint),
    }


def shown(functions: list[Function]) -> list[str]:
    """Return the names of the functions that the map shows."""
    names = []
    for module, name in functions:
        if module in SHOWN:
            names.append(name if name[0].isupper() else f"{module}.{name}")
        elif module.startswith("backends/") and name.rpartition(".")[2] in CALLS:
            names.append(name.rpartition(".")[2])
    return names


def as_text(functions: list[Function]) -> str:
    """Return the names that the map shows as lines of text."""
    text = ", ".join(shown(functions))
    return fill(text, 96, initial_indent="    ", subsequent_indent="    ", break_long_words=False)


def main() -> None:
    """Print the paths."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        environ = ENVIRON | {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3"}
        if servers.has_memcached():
            environ["MEMCACHED_SERVERS"] = stack.enter_context(servers.memcached())
        os.environ.update(environ)
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0, skip_checks=True)
        for title, functions in paths().items():
            files = {module for module, _ in functions}
            print(f"{title}: {len(files)} files, {len(functions)} functions")
            if "--all" in sys.argv:
                print("".join(f"    {module}: {name}\n" for module, name in functions), end="")
            else:
                print(as_text(functions))


if __name__ == "__main__":
    main()
