"""Take the screenshots of the documentation from the running site."""

import shutil
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from django.conf import settings
from django.core.management import BaseCommand, CommandError

FOLDER = settings.BASE_DIR / "docs" / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


class Command(BaseCommand):
    help = (
        "Take the screenshots in docs/screenshots/ from the site that `manage.py demo` serves. "
        "Needs playwright (requirements-dev.txt) and a Chromium on the PATH."
    )
    requires_system_checks = []  # it uses the running site, not this process

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="the site (%(default)s)")
        parser.add_argument("--user", default="demo", help="who logs in (%(default)s)")
        parser.add_argument("--password", default="demo", help="their password (%(default)s)")

    def handle(self, *, url: str, user: str, password: str, **options: Any) -> None:
        try:
            from playwright.sync_api import Error, sync_playwright
        except ImportError:
            raise CommandError(
                "playwright is missing: pip install -r requirements-dev.txt"
            ) from None
        program = next(filter(None, map(shutil.which, BROWSERS)), None)
        if program is None:
            raise CommandError("There is no Chromium on the PATH: install the package chromium.")
        FOLDER.mkdir(parents=True, exist_ok=True)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program)
                self.take(browser, url.rstrip("/"), user, password)
        except Error as error:
            if "net::ERR_" in error.message:
                raise CommandError(
                    f"Nothing answers at {url}: start it in another terminal "
                    "by `manage.py demo`, or give another URL by --url."
                ) from None
            raise CommandError(f"The site is not as expected: {error.message}") from None

    def take(self, browser: Any, url: str, user: str, password: str) -> None:
        """Click through the site as a visitor would, and take all screenshots."""
        context = browser.new_context(base_url=url, viewport=DESKTOP, color_scheme="light")
        context.set_default_timeout(10_000)  # milliseconds
        page = context.new_page()

        page.goto("/learn/it-lies/")
        run = page.locator(".run").first
        run.get_by_role("button", name="Show all").click()
        run.locator("summary").click()  # the picture alone, without its code
        self.save(run, "run")

        page.goto("/admin/login/?next=/cars/?q=avensis")
        page.fill("[name=username]", user)
        page.fill("[name=password]", password)
        page.click("[type=submit]")
        page.click(".cars tbody a")
        page.click("text=Remove from the cache")  # so this page is a miss
        page.locator(".messages").wait_for()
        self.save(page, "car")
        car = page.url

        watch = context.new_page()
        watch.goto("/watch/")
        page.goto("/cars/")  # many keys in one request
        page.goto(car)
        page.click(".buttons >> text=Edit")
        with ThreadPoolExecutor() as visitors:  # they read the car while it is saved
            reads = [visitors.submit(self.read, car, 40) for _ in range(3)]
            page.click("main .fields button")
            for read in reads:
                read.result()
        page.goto(car)
        key = page.locator(".plate").inner_text().split()[-1]
        watch.locator(".bracket.writing", has_text=key).last.scroll_into_view_if_needed()
        watch.locator("#now-left").wait_for()
        self.save(watch, "watch")
        state = context.storage_state()
        context.close()

        for name, size, scheme in (("dark", DESKTOP, "dark"), ("phone", PHONE, "light")):
            context = browser.new_context(
                base_url=url, viewport=size, color_scheme=scheme, storage_state=state
            )
            page = context.new_page()
            page.goto(f"/watch/?key={key}")
            page.locator(".bracket.writing").last.scroll_into_view_if_needed()
            self.save(page, name)
            context.close()

    def read(self, car: str, times: int) -> None:
        """Read the page `car` some `times`, as a visitor."""
        for _ in range(times):
            with urlopen(car) as response:
                response.read()

    def save(self, page: Any, name: str) -> None:
        """Write what `page` shows to `name`.png."""
        path: Path = FOLDER / f"{name}.png"
        page.screenshot(path=path)
        kilobytes = path.stat().st_size // 1024
        self.stdout.write(f"{path.relative_to(settings.BASE_DIR)}  {kilobytes} kB")
