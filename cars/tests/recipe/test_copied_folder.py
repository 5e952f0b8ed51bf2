"""The folder of the recipe works in another project, under another name."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

from django.test import SimpleTestCase, tag

from cars import caching

PROJECT = """
import django
from django.conf import settings

settings.configure(
    DEBUG=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={"default": {"BACKEND": "somewhere.objects_cached.backends.LocalMemoryCache"}},
    INSTALLED_APPS=["somewhere.objects_cached", "library"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from library.models import Book

call_command("check")
call_command("migrate", run_syncdb=True, verbosity=0)
book = Book.objects.create(title="Emma")
Book.objects.filter(pk=book.pk).update(title="Persuasion")
with CaptureQueriesContext(connection) as queries:
    print(book.key(), Book.objects.cache(book.pk).title, len(queries))
call_command("verify_cache")
"""

MODELS = """
from django.db import models
from somewhere.objects_cached.manager import CacheManager

class Book(models.Model):
    title = models.CharField(max_length=50)
    objects = CacheManager()
"""


@tag("any-database")
class CopiedFolderTests(SimpleTestCase):
    def test_it_works_under_another_name(self):
        with TemporaryDirectory() as folder:
            folder = Path(folder)
            copytree(Path(caching.__file__).parent, folder / "somewhere/objects_cached")
            (folder / "somewhere/__init__.py").touch()
            (folder / "library").mkdir()
            (folder / "library/__init__.py").touch()
            (folder / "library/models.py").write_text(MODELS)
            result = subprocess.run(
                [sys.executable, "-c", PROJECT],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=60,
            )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Book.1 Persuasion 0", result.stdout)
        self.assertIn("library.Book (default): 1 fresh, 0 stale", result.stdout)

    def test_it_imports_nothing_from_the_rest_of_its_project(self):
        for path in Path(caching.__file__).parent.rglob("*.py"):
            depth = len(path.relative_to(Path(caching.__file__).parent).parts)
            for line in path.read_text().splitlines():
                if line.startswith(("from ", "import ")):
                    self.assertFalse(line.startswith(("from cars", "import cars")), (path, line))
                    self.assertFalse(line.startswith("from " + "." * (depth + 1)), (path, line))
