"""The steps of README.md and docs/your-project.md lead to a project that works.

Each fresh project is built from the code blocks of these pages, so the pages and the recipe can't
drift apart. A block of Python whose first line is a comment with a file goes to the end of that
file. After a comma the comment may say which variant of the settings the block belongs to.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import NamedTuple
from unittest import skipUnless

from django.conf import settings
from django.test import SimpleTestCase, tag

from cars import caching
from cars.lab import servers

RECIPE = Path(caching.__file__).parent
README = settings.BASE_DIR / "README.md"
GUIDE = settings.BASE_DIR / "docs/your-project.md"

SOURCE = "path/to/carsite/cars/caching"  # the folder, in the commands of the pages
SERVER = "127.0.0.1:11211"  # Memcached, in the settings of the pages
NAME = "yourproject.caching"

# What the site has beside the recipe's own packages. In a fresh project none can be imported.
OTHERS = "cars carsite csp debug_toolbar dj_database_url environs gunicorn hypothesis psycopg "
OTHERS += "tblib tqdm whitenoise"
SITECUSTOMIZE = f"""
import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OTHERS.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Refuse())
"""

READ_AND_WRITE = """
from django.db import connection
from django.test.utils import CaptureQueriesContext
from library.models import Book

book = Book.objects.create(title="Emma")
Book.objects.filter(pk=book.pk).update(title="Mansfield Park")
book.title = "Persuasion"
book.save()
with CaptureQueriesContext(connection) as queries:
    print(book.key(), Book.objects.cache(book.pk).title, len(queries), "queries")
"""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that the block belongs to; "" if it names none."""
        return self._header[0]

    @property
    def variant(self) -> str:
        """The variant of the file that the block belongs to; "" for all of them."""
        return self._header[1]

    @property
    def _header(self) -> tuple[str, str]:
        header = re.match(r"# ([\w/]+\.py)(?:, (.+))?\n", self.text)
        return (header[1], header[2] or "") if header else ("", "")

    def commands(self) -> list[str]:
        return re.findall(r"^\$ (.+)$", self.text, re.MULTILINE)


def blocks_of(page: Path, heading: str = "") -> list[Block]:
    """Return the fenced blocks of `page`, or of its section `heading`."""
    text = page.read_text()
    if heading:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [Block(language, dedent(body)) for _, language, body in found]


class Project:
    """A Django project in a folder that is deleted at the end of a test class."""

    def __init__(self, test_class: type[SimpleTestCase]) -> None:
        root = Path(test_class.enterClassContext(TemporaryDirectory()))
        self.folder, blocker = root / "project", root / "blocker"
        self.folder.mkdir()
        blocker.mkdir()
        (blocker / "sitecustomize.py").write_text(SITECUSTOMIZE)
        # Without the environment of this site and of its tests.
        kept = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
        self.environ = {**kept, "PYTHONPATH": str(blocker)}
        self.run(f"python -m django startproject {NAME.partition('.')[0]} .")
        self.settings = self.folder / "yourproject/settings.py"
        self.as_started = self.settings.read_text()

    def run(self, command: str, status: int = 0, **environ: str) -> str:
        """Run a command of a page; return what it prints. Raises AssertionError if it fails."""
        program, *arguments = shlex.split(command)
        program = {"python": sys.executable}.get(program, program)
        arguments = [{SOURCE: str(RECIPE)}.get(argument, argument) for argument in arguments]
        result = subprocess.run(
            [program, *arguments],
            cwd=self.folder,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        if result.returncode != status:
            raise AssertionError(f"{command}: status {result.returncode}\n{result.stdout}")
        return result.stdout

    def python(self, code: str) -> str:
        """Run `code` in the shell of the project; return what it prints."""
        return self.run(f"python manage.py shell -v 0 -c {shlex.quote(code)}")

    def add(self, file: str, text: str) -> None:
        """Add `text` to the end of `file`, as the pages say."""
        with (self.folder / file).open("a") as stream:
            stream.write(f"\n{text}")

    def configure(self, *texts: str) -> None:
        """Let the settings be those of `startproject`, followed by `texts`."""
        self.settings.write_text("\n".join([self.as_started, *texts]))


@tag("any-database")
class ReadmeTests(SimpleTestCase):
    """The five steps of README.md, with the folder under another name."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.project = project = Project(cls)
        project.run("python manage.py startapp library")
        for block in blocks_of(README, "In your project"):
            text = block.text.replace(NAME, "yourproject.kept.objects")
            if block.language == "console":
                copy, _ = block.commands()  # the other one installs the packages
                project.run(copy)
            elif block.file == "yourproject/settings.py":
                app, cls.caches = re.fullmatch(r"(.*\n)(CACHES = .*)", text, re.DOTALL).groups()
                cls.app = f'INSTALLED_APPS += ["library"]\n{app}'
            else:
                project.add(block.file, text)
        first_test = next(b for b in blocks_of(GUIDE, "Tests") if b.file == "library/tests.py")
        project.add(first_test.file, first_test.text)
        (project.folder / "yourproject/kept").mkdir()
        (project.folder / "yourproject/caching").rename(project.folder / "yourproject/kept/objects")
        project.configure(cls.app)
        project.run("python manage.py makemigrations")
        project.run("python manage.py migrate")

    def test_without_the_app_check_names_the_line_to_add(self):
        self.project.configure('INSTALLED_APPS += ["library"]')
        printed = self.project.run("python manage.py check", status=1)
        self.assertIn('Add "yourproject.kept.objects" to INSTALLED_APPS', printed)

    def test_with_djangos_own_cache_it_works_without_caching_and_check_says_what_to_use(self):
        self.project.configure(self.app)
        printed = self.project.run("python manage.py check")
        self.assertIn('"BACKEND": "yourproject.kept.objects.backends.MemcachedCache"', printed)
        printed = self.project.python(READ_AND_WRITE)
        self.assertRegex(printed, r"Book\.\d+ Persuasion 1 queries")

    def test_without_memcached_it_works_without_caching(self):
        away = self.caches.replace(SERVER, f"127.0.0.1:{servers.free_port()}")
        self.project.configure(self.app, away)
        self.assertRegex(self.project.python(READ_AND_WRITE), r"Book\.\d+ Persuasion 1 queries")

    @skipUnless(servers.has_memcached(), "no memcached on the PATH")
    def test_the_five_steps_lead_to_a_project_whose_rows_are_cached(self):
        with servers.memcached() as server:
            self.project.configure(self.app, self.caches.replace(SERVER, server))
            self.assertIn("no issues", self.project.run("python manage.py check"))
            self.assertRegex(self.project.python(READ_AND_WRITE), r"Book\.\d+ Persuasion 0 queries")
            self.assertIn("OK", self.project.run("python manage.py test"))
            printed = self.project.run("python manage.py verify_cache")
        self.assertRegex(printed, r"library\.Book \(default\): 1 fresh, 0 stale")

    def test_no_package_of_the_site_is_needed_not_even_tqdm(self):
        self.project.configure(self.app)
        self.assertIn("No module named 'tqdm'", self.project.run("python -c 'import tqdm'", 1))
        self.assertIn("0 stale", self.project.run("python manage.py verify_cache"))

    def test_the_manager_is_no_part_of_migrations(self):
        migration = self.project.folder / "library/migrations/0001_initial.py"
        self.assertNotIn("Manager", migration.read_text())


@tag("any-database")
class GuideTests(SimpleTestCase):
    """All blocks of docs/your-project.md in one project."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.project = project = Project(cls)
        commands, cls.common, cls.variants = [], [], {}
        for block in blocks_of(GUIDE):
            if block.language == "console":
                for command in block.commands():
                    if command.startswith("cp ") or "startapp" in command:
                        project.run(command)
                    elif not command.startswith("pip "):
                        commands.append(command)  # they need the models that follow
            elif block.file == "yourproject/settings.py":
                group = cls.common
                if block.variant:
                    group = cls.variants.setdefault(block.variant, [])
                group.append(block.text)
            elif block.file:
                project.add(block.file, block.text)

        # Here, since one of them makes the migrations, which all tests need.
        cls.configure("with local memory")
        cls.printed = {command: project.run(command) for command in commands}

    @classmethod
    def configure(cls, variant="", server=SERVER):
        texts = [text.replace(SERVER, server) for text in cls.common]
        cls.project.configure(*texts, *cls.variants.get(variant, ()))

    def test_in_local_memory_the_commands_of_the_page_succeed(self):
        printed = self.printed
        self.assertIn("no issues", printed["python manage.py check"])
        self.assertIn("OK", printed["python manage.py test"])
        self.assertNotIn("caching.", printed["python manage.py test"])
        self.assertIn("library.Film (default)", printed["python manage.py verify_cache"])

    @skipUnless(servers.has_memcached(), "no memcached on the PATH")
    def test_with_memcached_the_tests_of_the_page_succeed(self):
        with servers.memcached() as server:
            self.configure(server=server)
            printed = self.project.run("python manage.py test")
        self.assertIn("OK", printed)
        self.assertIn("no issues", printed)

    def test_under_pytest_the_tests_of_the_page_succeed(self):
        self.configure("with local memory")
        command = "python -m pytest -q test_with_pytest.py library/tests.py"
        printed = self.project.run(
            command, PYTHONPATH="", DJANGO_SETTINGS_MODULE="yourproject.settings"
        )
        self.assertIn("13 passed", printed)

    def test_under_pytest_the_fixture_is_needed(self):
        self.configure("with local memory")
        command = "python -m pytest -q --noconftest test_with_pytest.py"
        printed = self.project.run(
            command, status=1, PYTHONPATH="", DJANGO_SETTINGS_MODULE="yourproject.settings"
        )
        self.assertIn("1 failed, 1 passed", printed)

    def test_switched_off_check_finds_nothing_and_writes_make_no_more_queries(self):
        self.configure("switched off")
        self.assertIn("no issues", self.project.run("python manage.py check"))
        printed = self.project.run(
            "python manage.py test library.tests.BookTests.test_a_save_makes_one_more_query",
            status=1,
        )
        self.assertIn("AssertionError: 1 != 2 : 1 queries executed, 2 expected", printed)


@tag("any-database")
class PagesTests(SimpleTestCase):
    """What can be compared without a project."""

    def test_the_packages_have_the_versions_of_this_project(self):
        pinned = dict(
            re.findall(r"^(\w+)==(\S+)", (settings.BASE_DIR / "requirements.txt").read_text(), re.M)
        )
        needed = [f"{name}=={pinned[name]}" for name in ("pymemcache", "msgspec")]
        for page in (README, GUIDE):
            commands = [command for block in blocks_of(page) for command in block.commands()]
            (install,) = (command for command in commands if command.startswith("pip "))
            self.assertEqual(shlex.split(install), ["pip", "install", *needed])

    def test_every_block_of_python_compiles(self):
        for page in (README, GUIDE):
            for block in blocks_of(page):
                if block.language == "python":
                    compile(block.text, page.name, "exec")


# What the recipe can say: its checks, log lines and exceptions


def text_of(node: ast.expr) -> str:
    """Return a string of the code, with "…" for each part that varies."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdr]", "…", node.value)
    return "…"


def statements() -> Iterator[tuple[str, ast.Raise | ast.Call]]:
    """Yield each `raise` and each call in the recipe, with the name of its module."""
    for path in RECIPE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Raise, ast.Call)):
                yield path.stem, node


def log_lines() -> set[tuple[str, str]]:
    """Return the message of each log line, and its level and module as the page writes them."""
    levels = {"exception": "ERROR", "error": "ERROR", "warning": "WARNING"}
    return {
        (text_of(node.args[0]), f"{levels[node.func.attr]} `{module}`")
        for module, node in statements()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "logger"
    }


def exceptions() -> set[tuple[str, str]]:
    """Return the message of each exception that has one, and its class as the page writes it."""
    return {
        (text_of(node.exc.args[0]), f"`{ast.unparse(node.exc.func).removeprefix('self.model.')}`")
        for _, node in statements()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }


@tag("any-database")
class MessagesTests(SimpleTestCase):
    """docs/your-project.md says of each message what to do about it, and names no other."""

    def rows(self, heading):
        section = GUIDE.read_text().partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
        for row in rows:
            self.assertTrue(row[-1], row)
        return [row for row in rows if row[0].startswith("`")]

    def test_every_check(self):
        code = (RECIPE / "checks.py").read_text()
        ids = set(re.findall(r'"(caching\.[EW]\d{3})"', code))
        self.assertEqual(
            [f"`{one}`" for one in sorted(ids)], [row[0] for row in self.rows("Checks")]
        )

    def test_every_log_line(self):
        listed = {(row[0].strip("`"), row[1]) for row in self.rows("Log lines")}
        self.assertEqual(listed, log_lines())

    def test_every_exception(self):
        listed = {
            (row[0].strip("`"), row[1].replace("Model.", "")) for row in self.rows("Exceptions")
        }
        self.assertEqual(listed, exceptions())
