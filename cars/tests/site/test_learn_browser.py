"""The tutorial in Chromium: by keyboard, without JavaScript, and with an accessibility checker."""

from django.test import override_settings, tag
from django.urls import reverse

from cars.learn import pages, recorded
from cars.learn.lab import lab
from cars.tests.site.test_browser import WIDTHS, BrowserTestCase
from cars.tests.site.test_learn_lab import PATIENT

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect
except ImportError:
    pass  # the tests of BrowserTestCase are skipped

LAB = pages.lab_url("set-on-save", "save-read", "", ("reader", "reader", "writer"))

# The boxes of code that are wider than they are shown.
CUT_OFF = """[...document.querySelectorAll(".code pre")]
    .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.textContent)"""


@tag("any-database")
@override_settings(
    LAB=True, DEBUG=False
)  # without the toolbar, which other tests have beside pages
class LearnTests(BrowserTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.enterClassContext(PATIENT)
        cls.addClassCleanup(lab.end)

    def test_each_page_fits_every_width_and_axe_finds_no_violations_in_light_or_dark(self):
        urls = [reverse("learn:page", args=[page.slug]) for page in pages.pages()]
        urls += [reverse("learn:index"), LAB, reverse("learn:races")]
        urls += ["/docs/", "/docs/protocol/", "/docs/site/"]
        urls.append(reverse("learn:proofs", args=["test_exceptions"]))
        # axe-core adds a style to the page, which the policy would block.
        with self.visitor(bypass_csp=True) as page:
            for url in urls:
                with self.subTest(url):
                    page.goto(url)
                    for width in WIDTHS:
                        page.set_viewport_size({"width": width, "height": 800})
                        needed = page.evaluate("document.documentElement.scrollWidth")
                        self.assertLessEqual(needed, width)
                    page.evaluate(
                        "document.querySelectorAll('details').forEach(d => d.open = true)"
                    )
                    self.assertNoViolations(page)
                    page.set_viewport_size({"width": min(WIDTHS), "height": 800})
                    self.assertEqual(page.evaluate(CUT_OFF), [])
                    page.emulate_media(color_scheme="dark")  # changes nothing but colors
                    self.assertNoViolations(page, runOnly=["color-contrast"])
                    page.emulate_media(color_scheme="light")

    def assertNoViolations(self, page, **options):
        found = Axe().run(page, options={"resultTypes": ["violations"], **options})
        self.assertEqual(found.violations_count, 0, found.generate_report())

    def test_the_whole_tutorial_can_be_walked_without_javascript(self):
        with self.visitor(java_script_enabled=False) as page:
            page.goto("/")
            page.click("text=Break a cache")
            page.click(f"main >> text={pages.pages()[0].title}")
            for each in pages.pages():
                expect(page.locator("h1")).to_have_text(each.title)
                steps = page.locator(".recorded:not(.folded) .step")
                expect(steps.filter(visible=True)).to_have_count(steps.count())
                page.click("[rel=next]")
            expect(page.locator("h1")).to_have_text("The lab: be the scheduler")
            for step in recorded.run("set-on-save").steps:
                page.click(f".choices a:has-text('{step.capitalize()}')")
            expect(page.locator(".deal")).to_contain_text("You broke it")
            expect(page.locator(".step.wrong")).to_contain_text("although 1 is committed")

    def test_the_whole_tutorial_can_be_walked_by_keyboard(self):
        def follow(selector):
            page.locator(selector).focus()
            page.keyboard.press("Enter")

        with self.visitor() as page:
            page.goto(reverse("learn:index"))
            follow("main ol a >> nth=0")
            for each in pages.pages():
                expect(page.locator("h1")).to_have_text(each.title)
                runs = page.locator(".recorded:not(.folded) .run")
                for number in range(runs.count()):
                    self.step_to_the_end(page, runs.nth(number))
                follow("[rel=next]")
            expect(page.locator("h1")).to_have_text("The lab: be the scheduler")

    def step_to_the_end(self, page, run):
        """Step through `run` by the arrow keys, and back by one step."""
        steps = run.locator(".step")
        expect(steps.nth(1)).to_be_hidden()
        run.get_by_role("button", name="Next").focus()
        for _ in range(1, steps.count()):
            page.keyboard.press("ArrowRight")
        expect(steps.filter(visible=True)).to_have_count(steps.count())
        expect(run.locator(".place")).to_have_text(f"Step {steps.count()} of {steps.count()}")
        page.keyboard.press("ArrowLeft")
        expect(steps.last).to_be_hidden()
        page.keyboard.press("ArrowRight")

    def test_the_line_of_code_of_each_step_is_marked(self):
        with self.visitor() as page:
            page.goto("/learn/it-lies/")
            run = page.locator(".run").first
            marked = run.locator("figure:not([hidden]) .now")
            for text in ("cache.get(", "self.get(pk=pk)", ".save()", "cache.set("):
                expect(marked).to_contain_text(text)
                run.get_by_role("button", name="Next").click()

    def test_a_schedule_can_be_shared_and_the_back_button_undoes(self):
        with self.visitor() as page, self.visitor() as other:
            page.goto(LAB)
            page.click(".choices a:has-text('Writer')")
            page.click(".choices a:has-text('Reader')")
            expect(page.locator(".deal")).to_contain_text("You broke it in 5 steps")
            other.goto(page.url)
            expect(other.locator(".deal")).to_contain_text("You broke it in 5 steps")
            page.go_back()
            expect(page.locator(".step")).to_have_count(4)

    def test_a_hint_leads_to_a_wrong_read(self):
        with self.visitor() as page:
            page.goto(pages.lab_url("delete-on-commit", "save-read"))
            for _ in range(5):
                page.get_by_role("link", name="Hint").click()
                page.click(".hinted")
            expect(page.locator(".deal")).to_contain_text("You broke it")

    def test_run_it_now_plays_a_recorded_run(self):
        with self.visitor() as page:
            page.goto("/learn/the-lease/")
            page.get_by_role("link", name="Run it now").first.click()
            expect(page.locator(".step")).to_have_count(len(recorded.run("lease").frames))

    def test_in_forced_colors_the_states_differ_by_their_borders(self):
        with self.visitor(forced_colors="active") as page:
            page.goto("/learn/the-lease/")
            page.get_by_role("button", name="Show all").click()
            border = "element => getComputedStyle(element).borderTopStyle"
            styles = {
                state: page.locator(f".entry-box.{state}").first.evaluate(border)
                for state in ("nothing", "row", "lease", "holds")
            }
            self.assertEqual(len(set(styles.values())), 4, styles)


@tag("any-database")
class LotTests(BrowserTestCase):
    """The writes on the lot, with debug, which they need."""

    PAGE = "/learn/what-signals-miss/"

    def write(self, page):
        page.goto(self.PAGE)
        button = page.get_by_role("button", name="Write a car in each way")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#lot tbody tr")).to_have_count(7)
        expect(page.locator("#lot .wrong")).to_have_count(6)

    def test_without_javascript_a_key_writes_them_and_shows_the_prices(self):
        with self.visitor(self.staff, java_script_enabled=False) as page:
            self.write(page)

    def test_the_prices_fit_every_width_and_axe_finds_no_violations_in_light_or_dark(self):
        with self.visitor(self.staff, bypass_csp=True) as page:
            self.write(page)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                needed = page.evaluate("document.documentElement.scrollWidth")
                self.assertLessEqual(needed, width)
            page.locator("#lot summary").click()
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                found = Axe().run(page, {"include": [["#lot"]]}, {"resultTypes": ["violations"]})
                self.assertEqual(found.violations_count, 0, found.generate_report())
