"""The tutorial: its texts, the pictures in them, the grid."""

import re
from html import unescape
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.test import TestCase, override_settings, tag
from django.urls import reverse
from django.utils.safestring import mark_safe
from msgspec.structs import replace

from cars import documents
from cars.learn import pages, recorded
from cars.learn.cases import CASES
from cars.learn.picture import picture_of, source_of
from cars.learn.runs import Code
from cars.learn.scenarios import RECIPES, RULE_CASES
from cars.learn.shown import RUNS, without_name
from cars.markdown import SITE, render
from cars.models import Car
from cars.tests.recipe.test_docs import exceptions_to_never_stale
from cars.tests.site.test_csp import InlineFinder

TEXTS = [pages.FOLDER / "README.md", *(page.path for page in pages.pages())]
LINKS = re.compile(r"^\[([^\]]+)\]\((\S+?)(?: \"([^\"]+)\")?\)$", re.MULTILINE)


@tag("any-database")
class TextTests(TestCase):
    """The Markdown files in docs/learn/."""

    def test_every_file_is_a_page_and_the_index_lists_all_in_their_order(self):
        self.assertEqual(set(pages.FOLDER.glob("*.md")), set(TEXTS))
        listed = re.findall(r"^\d+\. \[(.+)\]\((.+)\)", TEXTS[0].read_text(), re.MULTILINE)
        self.assertEqual(listed, [(page.title, page.path.name) for page in pages.pages()])

    def test_every_page_begins_with_a_question_and_ends_with_what_to_remember(self):
        for page in pages.pages():
            with self.subTest(page.slug):
                first, *_, last = page.path.read_text().strip().split("\n\n")[1:]
                self.assertRegex(first, r"^\*[^*]+\?\*$")
                self.assertTrue(last.startswith("**Remember:** "), last)
                self.assertEqual(len(re.findall(r"[.](?:\s|$)", last)), 1, last)

    def test_no_page_has_more_than_120_words_but_the_last_one(self):
        for page in pages.pages():
            text = page.path.read_text()
            text = re.sub(r"^(```.*?^```|\[.*\]\(.*\)|# .*|\|.*\|)$", "", text, flags=re.M | re.S)
            if page.slug != "still-stale":
                with self.subTest(page.slug):
                    self.assertLessEqual(len(text.split()), 120)

    def test_what_a_page_includes_is_there(self):
        for path in TEXTS:
            for text, target, title in LINKS.findall(path.read_text()):
                with self.subTest(path.name, text=text):
                    self.assertTrue((path.parent / target).exists(), target)
                    if target.endswith(".py"):
                        self.assertTrue(target.endswith(source_of(title).path))

    def test_every_run_of_the_tutorial_is_shown_by_a_page(self):
        shown = {Path(t).stem for path in TEXTS for _, t, _ in LINKS.findall(path.read_text())}
        self.assertLessEqual({*RUNS, *map(without_name, RULE_CASES)}, shown)

    def test_the_last_page_links_every_exception_and_no_other_one_to_its_test(self):
        text = pages.page("still-stale").path.read_text()
        tests = {
            name: " ".join(re.search(r"`(\w+)\.(\w+)`$", told).groups())
            for name, told in exceptions_to_never_stale().items()
        }
        links = re.findall(r"^\[(.+)\]: \S+/(\w+)\.py#(\w+)$", text, re.M)
        self.assertEqual({name: f"{file} {test}" for name, file, test in links}, tests)
        rows = re.findall(r"^\| [^|]+ \| (\[.+) \|$", text, re.M)
        named = [name for row in rows for name in re.findall(r"\[([^\]]+)\]", row)]
        self.assertEqual(sorted(named), sorted(tests))

    def test_each_link_to_a_test_leads_to_its_code(self):
        html = pages.page("still-stale").text().html
        links = re.findall(r'href="(/learn/tests/\w+/)#(\w+)"', html)
        self.assertEqual(len(links), len(exceptions_to_never_stale()))
        for url, name in links:
            with self.subTest(name):
                page = unescape(self.client.get(url).content.decode())
                self.assertIn(f'id="{name}"', page)
                self.assertRegex(page, rf'class {name}\(.*\n +"""The exception ')
        self.assertEqual(self.client.get("/learn/tests/test_recipe/").status_code, 404)

    def test_every_block_of_code_runs(self):
        blocks = [
            block
            for path in TEXTS
            for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)
        ]
        self.assertTrue(blocks)
        car = Car.objects.create(make="Toyota")
        for block in blocks:
            with self.subTest(block):
                exec(block, {"Car": Car, "pks": [car.pk]})

    def test_every_address_of_this_site_in_a_text_answers(self):
        for path in TEXTS:
            for url in re.findall(rf"\({SITE}([^)]*)\)", path.read_text()):
                if not url.startswith(("cars/", "admin/", "watch/", "learn/lab/")):
                    with self.subTest(path.name, url=url):
                        self.assertEqual(self.client.get(f"/{url}").status_code, 200)


@tag("any-database")
class PageTests(TestCase):
    def test_the_start_of_every_page_leads_to_the_tutorial(self):
        self.assertContains(self.client.get("/"), f'href="{reverse("learn:index")}"')

    def test_each_page_is_shown_with_links_to_those_around_it(self):
        everything = pages.pages()
        for number, page in enumerate(everything):
            with self.subTest(page.slug):
                answer = self.client.get(reverse("learn:page", args=[page.slug]))
                self.assertContains(answer, f"<h1>{page.title}</h1>", html=True)
                self.assertContains(answer, "Remember:")
                if number:
                    before = reverse("learn:page", args=[everything[number - 1].slug])
                    self.assertContains(answer, f'rel="prev" href="{before}"')
                if number + 1 < len(everything):
                    after = reverse("learn:page", args=[everything[number + 1].slug])
                    self.assertContains(answer, f'rel="next" class="next" href="{after}"')

    def test_a_page_that_does_not_exist_is_a_404(self):
        self.assertEqual(self.client.get("/learn/nothing/").status_code, 404)

    def test_a_run_is_drawn_with_every_step_and_its_wrong_read(self):
        page = self.client.get("/learn/it-lies/")
        runs = [recorded.run(name) for name in ("set-on-save", "set-on-save-rollback")]
        self.assertContains(page, '<li class="step', count=sum(len(run.frames) for run in runs))
        self.assertContains(page, "The next visitor is shown 0, although 1 is committed.")
        self.assertContains(page, "The reader is shown 1, which is not committed.")
        self.assertContains(page, 'class="step reader wrong"', count=3)

    def test_the_code_beside_a_run_is_the_code_that_runs(self):
        page = unescape(self.client.get("/learn/it-lies/").content.decode())
        self.assertIn("found = self.get(pk=pk)", page)

    def test_each_step_of_the_other_recipes_has_its_line_of_code(self):
        for name, (recipe, _, _) in RUNS.items():
            if recipe == "carsite":
                continue
            for step in picture_of(recorded.run(name)).steps:
                if step.frame.lane and step.frame.target:
                    with self.subTest(name, step=step.number):
                        self.assertIsNotNone(step.line)

    def test_a_step_whose_function_is_gone_is_drawn_without_its_code(self):
        run = recorded.run("set-on-save")
        gone = [replace(frame, code=Code("cars.recipes.gone.put", "")) for frame in run.frames]
        picture = picture_of(replace(run, frames=tuple(gone)))
        self.assertEqual([step.source for step in picture.steps], [None] * len(gone))
        self.assertEqual(picture.sources, [])

    @override_settings(LAB=False)
    def test_without_the_lab_no_page_offers_to_run_anything(self):
        for url in [f"/learn/{page.slug}/" for page in pages.pages()] + ["/learn/races/"]:
            with self.subTest(url):
                self.assertNotContains(self.client.get(url), "/learn/lab/?")


@tag("any-database")
class PolicyTests(TestCase):
    @override_settings(LAB=True)
    def test_nothing_is_inline_on_any_page(self):
        urls = [f"/learn/{page.slug}/" for page in pages.pages()]
        urls += [reverse("document", args=[name]) for name in documents.names()]
        urls += ["/learn/", "/learn/races/", "/learn/lab/?recipe=nothing"]
        for url in urls:
            with self.subTest(url):
                finder = InlineFinder()
                finder.feed(self.client.get(url).content.decode())
                self.assertEqual(finder.found, [])


@tag("any-database")
class GridPageTests(TestCase):
    def test_the_grid_has_a_cell_for_each_race_and_recipe(self):
        page = self.client.get("/learn/races/")
        for case in CASES.values():
            if case.compared:
                self.assertContains(page, case.title)
        cells = sum(case.compared for case in CASES.values()) * len(RECIPES)
        self.assertContains(page, 'class="outcome', count=cells + len(RULE_CASES))

    @override_settings(LAB=True)
    def test_each_wrong_cell_links_to_its_shortest_run(self):
        page = unescape(self.client.get("/learn/races/").content.decode())
        for cell in recorded.grid().values():
            if cell.wrong:
                self.assertIn(pages.lab_url(cell.recipe, cell.case, "", cell.steps), page)


@tag("any-database")
class DocumentTests(TestCase):
    """The documentation on the site."""

    def test_every_page_is_shown_and_every_link_of_it_leads_to_a_page_of_the_site(self):
        for name in documents.names():
            with self.subTest(name):
                page = self.client.get(reverse("document", args=[name]))
                self.assertContains(page, "<h1>")
                text = page.context["text"].html
                for url in re.findall(r'href="(/[^"#]*)', text):
                    self.assertEqual(self.client.get(url).status_code, 200, url)

    def test_every_link_of_the_tutorial_to_a_heading_leads_to_one(self):
        for page in pages.pages():
            for url, anchor in re.findall(r'href="(/docs/[^"#]*)#([^"]+)"', page.text().html):
                with self.subTest(page.slug, url=url, anchor=anchor):
                    self.assertContains(self.client.get(url), f'id="{anchor}"')

    def test_every_page_is_listed_with_what_it_is_about(self):
        self.assertEqual(set(documents.ABOUT), documents.names())
        page = self.client.get("/docs/")
        for name, title, about in documents.listed():
            link = f'<a href="/docs/{name}/">{title}</a>'
            self.assertContains(page, f"<li>{link} <span>{about}</span></li>", html=True)

    def test_the_pictures_of_a_page_are_shown_with_a_text(self):
        shown = set()
        for name in documents.names():
            for tag_ in re.findall("<img [^>]*>", documents.text(name).html):
                with self.subTest(name, picture=tag_):
                    self.assertRegex(tag_, 'alt="[^"]{10,}"')
                    url = re.search('src="([^"]*)"', tag_)[1]
                    answer = self.client.get(url)
                    self.addCleanup(answer.close)
                    self.assertRegex(answer["Content-Type"], "^image/(png|svg)")
                    shown.add(Path(url).name)
        self.assertEqual(shown, {"car.png", "watch.png", "chart.svg"})

    def test_no_other_file_is_sent_as_a_picture(self):
        for name in (
            "../../carsite/settings.py",
            "..%2fsite.md",
            "%2fetc%2fpasswd",
            "site.md",
            "..",
        ):
            with self.subTest(name):
                self.assertEqual(self.client.get(f"/docs/pictures/{name}").status_code, 404)
        for target in ("screenshots/../../README.md", "other/car.png", "/car.png", "car.png"):
            with self.subTest(target):
                self.assertEqual(documents.link(target), "")

    def test_a_document_that_does_not_exist_is_a_404(self):
        self.assertEqual(self.client.get("/docs/nothing/").status_code, 404)


@tag("any-database")
class MarkdownTests(TestCase):
    def rendered(self, text, **options):
        with NamedTemporaryFile("w", suffix=".md") as file:
            file.write(text)
            file.flush()
            return render(Path(file.name), **options)

    def test_the_first_heading_is_the_title_and_other_headings_have_anchors(self):
        text = self.rendered("# `Cars`\n\n## What is cached?\n")
        self.assertEqual(text.title, "Cars")
        self.assertEqual(text.html.strip(), '<h2 id="what-is-cached">What is cached?</h2>')

    def test_html_in_a_text_is_shown_as_text(self):
        text = self.rendered("# T\n\n<script>x</script> and <b>b</b>\n\n```\n<i>\n```\n")
        self.assertNotIn("<script>", text.html)
        self.assertNotIn("<b>", text.html)
        self.assertIn("&lt;i&gt;", text.html)

    def test_a_column_of_numbers_has_a_class_and_no_style(self):
        text = self.rendered("# T\n\n| a | |\n|---|---:|\n| b | 1 |\n")
        self.assertIn('<td class="number">1</td>', text.html)
        self.assertNotIn("style", text.html)

    def test_a_heading_of_a_column_without_a_name_is_no_heading(self):
        text = self.rendered("# T\n\n| | a |\n|---|---|\n| b | 1 |\n")
        self.assertEqual(text.html.count("<th>"), 1)

    def test_links_are_given_to_the_site(self):
        text = self.rendered("# T\n\nSee [a](b.md#c).\n", link=lambda target: f"/x/{target}")
        self.assertIn('<a href="/x/b.md#c">a</a>', text.html)

    def test_comments_and_pictures_without_a_url_on_the_site_are_left_out(self):
        text = self.rendered(
            "# T\n\n<!-- made by -->\n| a |\n|---|\n| b |\n\n![one](1.png)\n![two](2.png)\n",
            link=lambda target: "",
        )
        self.assertNotIn("made by", text.html)
        self.assertNotIn("one", text.html)
        self.assertIn("<td>b</td>", text.html)

    def test_a_link_without_a_url_on_the_site_is_only_its_text(self):
        text = self.rendered(
            "# T\n\n[`a`](b.py) ![pic](c.png) [d](e)\n",
            link=lambda target: target if target == "e" else "",
        )
        self.assertEqual(text.html.strip(), '<p><code>a</code> pic <a href="e">d</a></p>')

    def test_a_link_that_is_a_paragraph_can_be_replaced(self):
        def include(text, target, title):
            return mark_safe(f"<hr>{text}|{target}|{title}") if target == "b.py" else None

        text = self.rendered('# T\n\n[a](b.py "c")\n\n[d](e)\n\n[a](b.py) too\n', include=include)
        self.assertIn("<hr>a|b.py|c", text.html)
        self.assertIn('<p><a href="e">d</a></p>', text.html)
        self.assertEqual(text.html.count("<hr>"), 1)
