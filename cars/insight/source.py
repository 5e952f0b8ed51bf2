"""The recipe's source code for the start page, read from the modules so it is always current."""

import inspect
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

from django.conf import settings

from cars.caching import CacheManager, hooks
from cars.models import Car


@dataclass(frozen=True)
class Excerpt:
    """A part of a source file, with a title that says what it does."""

    title: str
    path: str
    code: str


def _excerpt(title: str, thing: Any, only: str = "") -> Excerpt:
    """Return the source of `thing`, or only its lines that contain `only`."""
    lines = inspect.getsource(thing).splitlines()
    path = Path(inspect.getsourcefile(thing)).relative_to(settings.BASE_DIR)
    code = "\n".join(line for line in lines if only in line)
    return Excerpt(title, path.as_posix(), dedent(code))


@cache
def excerpts() -> list[Excerpt]:
    """Return the excerpts that show the idea of the recipe on one screen."""
    return [
        _excerpt("A model declares that it is cached", Car, only="CacheManager()"),
        _excerpt("A read goes through the cache", CacheManager.cache),
        _excerpt("Signals tell the cache about writes", hooks._connect),
    ]
