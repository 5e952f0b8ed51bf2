"""`manage.py django_tests`, with a small folder in place of Django's tests."""

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import django
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, tag

from cars.lab.django_tests.runner import QUERY_COUNT, left_out
from cars.lab.django_tests.source import tests_of

# What Django's runtests.py has that the command uses.
RUNTESTS = """
import django
from django.conf import settings
from django.test.utils import get_runner

ALWAYS_INSTALLED_APPS = ["django.contrib.contenttypes"]


def django_tests(test_labels, parallel, verbosity, interactive, **options):
    settings.INSTALLED_APPS = [*ALWAYS_INSTALLED_APPS, "shelves"]
    django.setup()
    runner = get_runner(settings)(verbosity=0, interactive=False, parallel=1)
    return runner.run_tests(test_labels)
"""

MODELS = """
from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=50)
"""

TESTS = """
from django.db import connection
from django.test import TestCase

from .models import Book


class BookTests(TestCase):
    def setUp(self):
        self.book = Book.objects.create(title="old")

    def test_a_save(self):
        self.book.title = "new"
        self.book.save()
        assert type(Book.objects).__module__ == "django.db.models.manager"
        print("IS CACHED" if hasattr(Book.objects, "cache") else "IS PLAIN")

    def test_a_delete(self):
        Book.objects.all().delete()


class RawTests(TestCase):
    def setUp(self):
        self.book = Book.objects.create(title="old")

    def test_an_update_that_the_cache_is_not_told_of(self):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shelves_book SET title = 'raw'")

    def test_a_delete_that_the_cache_is_not_told_of(self):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM shelves_book")
"""


@tag("any-database")
class CommandTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = Path(cls.enterClassContext(TemporaryDirectory()))
        files = {"runtests": RUNTESTS, "shelves/__init__": "", "shelves/models": MODELS}
        for name, text in {**files, "shelves/tests": TESTS}.items():
            path = cls.source / "tests" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run_tests(self, *arguments, status=0):
        """Run the command; return what it prints."""
        command = [sys.executable, "manage.py", "django_tests", "--source", str(self.source)]
        done = subprocess.run(
            [*command, "--local-memory", *arguments],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=120,
        )
        printed = done.stdout + done.stderr
        self.assertEqual(done.returncode, status, printed)
        return printed

    def test_models_are_cached_and_rows_compared(self):
        printed = self.run_tests("shelves.tests.BookTests")
        self.assertIn("IS CACHED", printed)
        self.assertIn("2 tests run: 2 passed", printed)
        rows = re.search(r"(\d+) rows compared", printed)
        self.assertGreater(int(rows[1]), 0)

    def test_a_stale_row_fails_the_test(self):
        printed = self.run_tests("shelves.tests.RawTests", status=1)
        self.assertIn("failed: shelves.tests.RawTests.test_an_update_that", printed)
        self.assertIn("is served with {'id': 1, 'title': 'old'}, but is", printed)
        self.assertIn("is served, but it was deleted", printed)
        self.assertIn("2 failed", printed)

    def test_plain_runs_with_djangos_manager(self):
        self.assertIn("IS PLAIN", self.run_tests("--plain", "shelves.tests.BookTests"))


@tag("any-database")
class SourceTests(SimpleTestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(TemporaryDirectory()))

    def write(self, version):
        (self.folder / "tests").mkdir()
        (self.folder / "tests" / "runtests.py").write_text("")
        (self.folder / "PKG-INFO").write_text(f"Name: Django\nVersion: {version}\n\n")

    def test_the_tests_of_the_installed_version_are_found(self):
        self.write(django.__version__)
        self.assertEqual(tests_of(self.folder), self.folder.resolve() / "tests")

    def test_those_of_another_version_are_refused(self):
        self.write("1.0")
        with self.assertRaisesMessage(RuntimeError, "the installed version"):
            tests_of(self.folder)

    def test_a_folder_without_tests_is_an_error_of_the_command(self):
        with self.assertRaisesMessage(CommandError, "it isn't Django's source"):
            call_command("django_tests", source=self.folder, local_memory=True, stdout=StringIO())


@tag("any-database")
class LeftOutTests(SimpleTestCase):
    def test_each_test_that_is_left_out_has_a_reason(self):
        reasons = left_out()
        self.assertTrue(any(reason.startswith(QUERY_COUNT) for reason in reasons.values()))
        for name, reason in reasons.items():
            with self.subTest(name):
                self.assertRegex(name, r"^[a-z_]+\.\w+\.\w+\.test_\w+$")
                self.assertTrue(reason.strip())
