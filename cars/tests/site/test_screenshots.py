"""The command that takes the screenshots."""

from unittest.mock import patch

from django.core.management import CommandError, call_command
from django.test import SimpleTestCase


class ScreenshotsTests(SimpleTestCase):
    def test_without_playwright_the_error_says_how_to_install_it(self):
        with (
            patch.dict("sys.modules", {"playwright.sync_api": None}),
            self.assertRaisesMessage(CommandError, "pip install -r requirements-dev.txt"),
        ):
            call_command("screenshots")
