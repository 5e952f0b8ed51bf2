"""The lines of the log."""

import logging
import sys

from django.test import SimpleTestCase, tag

from cars.tests.site.test_settings import PRODUCTION, python
from cars.tests.support.collected import static_files
from carsite.logs import Formatter


@tag("any-database")
class FormatterTests(SimpleTestCase):
    def format(self, message, *, one_line):
        try:
            raise ValueError("broken")
        except ValueError:
            info = sys.exc_info()
        record = logging.LogRecord("cars", logging.ERROR, __file__, 1, message, (), info)
        return Formatter(one_line=one_line).format(record)

    def test_a_record_is_one_line_that_has_its_traceback(self):
        line = self.format("first\r\nsecond", one_line=True)
        self.assertRegex(
            line, r"^\d{4}-\d\d-\d\d [\d:,]+ ERROR cars first\\r\\nsecond\\nTraceback "
        )
        self.assertTrue(line.endswith("ValueError: broken"))
        self.assertNotIn("\n", line)

    def test_without_one_line_a_traceback_has_lines(self):
        self.assertIn("\nTraceback", self.format("first", one_line=False))


@tag("any-database")
class ConsoleTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.enterClassContext(static_files())

    CODE = (
        "import django; django.setup(); from django.test import Client;"
        "client = Client(raise_request_exception=False, headers={'host': 'cars.example.com'});"
        "print(client.get('/', secure=True).status_code)"
    )

    def log_of_an_error(self, **environ):
        """Return what a process writes to stderr when a page fails, here for want of a database."""
        environ["DJANGO_SETTINGS_MODULE"] = "carsite.settings"
        environ["STATIC_ROOT"] = self.folder
        environ["DATABASE_URL"] = "sqlite:////nothing/here"
        result = python("-W", "ignore", "-c", self.CODE, **PRODUCTION, **environ)
        self.assertIn(result.stdout, ("500\n", "503\n"), result.stderr)
        return result.stderr

    def test_an_error_of_a_page_is_one_line_without_debug(self):
        log = self.log_of_an_error()
        self.assertRegex(log, r"\A[^\n]* ERROR django.request [^\n:]*: /[^\n]*\n\Z")
        self.assertIn("unable to open database file", log)

    def test_with_debug_it_is_written_once_too(self):
        log = self.log_of_an_error(DJANGO_DEBUG="on")
        self.assertEqual(log.count("ERROR django.request"), 1)
        self.assertIn("\nTraceback", log)

    def test_the_level_leaves_lines_out(self):
        self.assertEqual(self.log_of_an_error(DJANGO_LOG_LEVEL="critical"), "")
