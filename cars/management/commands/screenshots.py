"""Take the screenshots of the documentation from the running site."""

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

FOLDER = settings.BASE_DIR / "docs" / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DESKTOP = {"width": 1280, "height": 760}
TALL = {"width": 1280, "height": 1120}
PHONE = {"width": 360, "height": 720}


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

        page.goto("/")
        self.save(page, "start")

        page.goto("/learn/it-lies/")
        run = page.locator(".run").first
        run.get_by_role("button", name="Show all").click()
        run.locator("summary").click()  # the picture alone, without its code
        self.save(run, "run")

        page.goto("/cars/")  # fills the cache
        page.goto("/admin/login/?next=/admin/cars/car/")
        page.fill("[name=username]", user)
        page.fill("[name=password]", password)
        page.click("[type=submit]")
        rows = page.locator("#result_list .action-select")
        for row in (1, 4, 5):
            rows.nth(row).check()
        page.select_option("[name=action]", "remove_from_cache")
        page.click("[name=index]")
        page.locator(".messagelist").wait_for()
        self.save(page, "admin")

        page.goto("/cars/")
        self.save(page, "cars")

        page.goto("/cars/?q=avensis")
        page.click(".cars tbody a")
        page.reload()  # now it is a hit
        self.save(page, "car")
        car = page.url

        page.click("#djShowToolBarButton")
        for name, panel in (("toolbar", "CachePanel"), ("objects", "ObjectsPanel")):
            page.click(f"#djDebugPanelList .{panel}")
            page.locator(f"#{panel} table").first.wait_for()
            self.save(page, name)
        page.click("#djHideToolBarButton")

        watch = context.new_page()
        watch.set_viewport_size(TALL)
        watch.goto("/watch/")
        watch.locator("#cached tr").first.wait_for()
        page.click("text=Edit in the admin")
        page.click("[name=_save]")
        page.goto(car)
        watch.get_by_text("a row was put").first.wait_for()
        watch.get_by_text("found a row").first.wait_for()
        watch.locator("#chart .missing").first.wait_for()  # the misses of the admin's list
        self.save(watch, "watch")
        context.close()

        for name, size, scheme, url_path in (
            ("dark", DESKTOP, "dark", car),
            ("phone", PHONE, "light", "/cars/"),
        ):
            context = browser.new_context(base_url=url, viewport=size, color_scheme=scheme)
            page = context.new_page()
            page.goto(url_path)
            self.save(page, name)
            context.close()

    def save(self, page: Any, name: str) -> None:
        """Write what `page` shows to `name`.png."""
        path: Path = FOLDER / f"{name}.png"
        page.screenshot(path=path)
        kilobytes = path.stat().st_size // 1024
        self.stdout.write(f"{path.relative_to(settings.BASE_DIR)}  {kilobytes} kB")
