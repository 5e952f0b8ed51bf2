"""The command that takes the screenshots."""

import inspect
import re
from unittest.mock import patch

from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase

from cars.management.commands import screenshots


class ScreenshotsTests(SimpleTestCase):
    def test_each_screenshot_is_taken_by_the_command_and_shown_by_the_documentation(self):
        stored = {path.stem for path in screenshots.FOLDER.iterdir()}
        code = inspect.getsource(screenshots)
        taken = re.findall(r'self\.save\(\w+, "(\w+)"\)|\("(\w+)", [A-Z]+, "\w+"\)', code)
        self.assertEqual(stored, {"".join(each) for each in taken})
        pages = [settings.BASE_DIR / name for name in ("README.md", "docs/site.md")]
        texts = "".join(page.read_text() for page in pages)
        self.assertEqual(stored, set(re.findall(r"screenshots/(\w+)\.png", texts)))

    def test_without_playwright_the_error_says_how_to_install_it(self):
        with (
            patch.dict("sys.modules", {"playwright.sync_api": None}),
            self.assertRaisesMessage(CommandError, "pip install -r requirements-dev.txt"),
        ):
            call_command("screenshots")
