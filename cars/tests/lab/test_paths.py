"""The map at the top of the recipe shows the functions that are really called."""

import ast
import subprocess
import sys
from pathlib import Path
from unittest import skipUnless

from django.conf import settings
from django.test import SimpleTestCase, tag

from cars import caching
from cars.lab import servers

FOLDER = Path(caching.__file__).parent


@tag("any-database")
@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class PathsTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.printed = subprocess.run(
            [sys.executable, "-m", "cars.lab.paths"],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout

    def test_the_map_shows_the_paths_that_are_traced(self):
        lines = []
        for line in self.printed.splitlines():
            lines.append(line if line.startswith(" ") else f"{line.partition(':')[0]}:")
        self.assertIn("\n".join(lines), caching.__doc__)


class LayersTests(SimpleTestCase):
    """The modules import one way."""

    def test_the_map_names_every_module(self):
        modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "apps"}
        named = {line.split()[0] for line in caching.__doc__.splitlines() if line.startswith("  ")}
        self.assertLessEqual(modules, named)

    def test_each_module_imports_only_modules_below(self):
        order = [
            ["apps", "management"],
            ["hooks"],
            ["testing", "manager", "verify", "inspection"],
            ["checks"],
            ["queryset", "reads"],
            ["transactions"],
            ["owed"],
            ["records"],
            ["protocol"],
            ["backends", "selects"],
            ["rows"],
            ["registry"],
            ["keys", "databases"],
            ["events", "entries", "models"],
        ]
        level = {module: number for number, row in enumerate(order) for module in row}
        for path in FOLDER.rglob("*.py"):
            parts = path.relative_to(FOLDER).with_suffix("").parts
            if parts == ("__init__",):
                continue
            for imported in self.imports_of(path, parts):
                if imported != parts[0]:
                    self.assertGreater(level[imported], level[parts[0]], (path, imported))

    def imports_of(self, path, parts):
        """Yield the modules and packages directly below the recipe that `path` imports."""
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == len(parts):
                if node.module:
                    yield node.module.partition(".")[0]
                else:
                    yield from (alias.name for alias in node.names)
