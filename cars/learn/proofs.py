"""The tests that show the exceptions to "never stale": their code, to be read on the site."""

import ast
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from django.conf import settings

from .picture import Source

FOLDER: Path = settings.BASE_DIR / "cars" / "tests" / "recipe"

NAMES = (
    "test_exceptions",
    "test_unseen_writes",
    "test_changed_meanwhile",
    "test_database_exceptions",
)


def of(name: str) -> Iterator[Source]:
    """Yield the source of each class of tests in the file `name`, one of NAMES.

    It is read and not imported, since tests import packages that the site doesn't need.
    """
    path = FOLDER / f"{name}.py"
    text = path.read_text()
    lines = text.splitlines()
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    for node in sorted(classes, key=lambda node: node.lineno):
        if node.name.endswith("Tests"):
            code = dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
            shown = path.relative_to(settings.BASE_DIR).as_posix()
            yield Source(node.name, shown, list(enumerate(code.splitlines())))
