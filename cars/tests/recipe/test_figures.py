"""What the pages say of the committed benchmark is what it measured.

After a new run (`make bench`) these tests print the sentences that are out of date.
"""

import re

from django.conf import settings
from django.test import SimpleTestCase

from cars.lab import sizing

DOCS = settings.BASE_DIR / "docs"

if (settings.BASE_DIR / "benchmarks").exists():  # the container image has none
    from benchmarks import docs, measures, report
    from benchmarks.chart import chart
    from benchmarks.measures import ANY_25, ANY_100, HIT, MISS, SAME_100, SAVE, UPDATE
    from benchmarks.targets import missed

    SAMPLES, ABOUT = report.read(report.RESULTS)
    NONE, CACHEOPS, CACHALOT, THIS = "no cache", "cacheops", "cachalot", "this"
    CLIENT, CONNECTING, OLD = "HashClient", "HashClient, connecting", "2009 recipe"
    POSTGRESQL, SQLITE = "PostgreSQL", "SQLite"

    # Sentences of a page, and the ratios in them: database, measure, contestant, and to which.
    RATIOS = {
        "performance.md": {
            "a `get()` takes {} times as long as a hit": (POSTGRESQL, HIT, NONE, THIS),
            "A hit of cacheops takes {} times": (POSTGRESQL, HIT, CACHEOPS, THIS),
            "a hit of cachalot {} times": (POSTGRESQL, HIT, CACHALOT, THIS),
            "that client takes {} times as long": (POSTGRESQL, HIT, CLIENT, THIS),
            "and {} times for 25 of them": (POSTGRESQL, ANY_25, CLIENT, THIS),
            "getting the bytes takes {} times as long": (POSTGRESQL, HIT, CONNECTING, THIS),
            "`filter(pk__in=...)` takes {} times": (POSTGRESQL, ANY_25, NONE, THIS),
            "and {} times for any 100": (POSTGRESQL, ANY_100, NONE, THIS),
            "the same 100 cars cacheops takes {} times": (POSTGRESQL, SAME_100, CACHEOPS, THIS),
            "as long as this recipe, and cachalot {} times": (POSTGRESQL, SAME_100, CACHALOT, THIS),
            "any 25 cars cacheops takes {} times": (POSTGRESQL, ANY_25, CACHEOPS, THIS),
            "as long, and cachalot {} times": (POSTGRESQL, ANY_25, CACHALOT, THIS),
            "takes {} times the memory of a pickled one": (POSTGRESQL, measures.MEMORY, THIS, OLD),
            "A miss takes {} times as long": (POSTGRESQL, MISS, THIS, NONE),
            "**A save** takes {} times as long": (POSTGRESQL, SAVE, THIS, NONE),
            "**`update()` of 1,000 rows** takes {} times": (POSTGRESQL, UPDATE, THIS, NONE),
            "A `get()` still takes {} times": (SQLITE, HIT, NONE, THIS),
            "and 25 at once {} times": (SQLITE, ANY_25, NONE, THIS),
            "but 100 only {} times": (SQLITE, ANY_100, NONE, THIS),
            "A save takes {} times": (SQLITE, SAVE, THIS, NONE),
            "and `update()` of 1,000 rows {} times": (SQLITE, UPDATE, THIS, NONE),
        },
        "comparison.md": {
            "A save with cachalot takes {} times": (POSTGRESQL, SAVE, CACHALOT, THIS),
        },
    }
    # The same for medians, which are bytes.
    BYTES = {
        "performance.md": {
            "Its value has {} bytes": (measures.VALUE, THIS),
            "instead of {}": (measures.VALUE, OLD),
        },
        "your-project.md": {
            "a value of {}": (measures.VALUE, THIS),
            "an item of {} bytes": (measures.ITEM, THIS),
            "takes {} bytes of memory": (measures.MEMORY, THIS),
            "million of them take {} MB": (measures.MEMORY, THIS),
        },
        "operations.md": {"{} MB were measured": (measures.MEMORY, THIS)},
    }

    class FiguresTests(SimpleTestCase):
        maxDiff = None

        def test_the_table_and_the_chart_are_those_of_the_samples_and_the_targets(self):
            again = "run: python -m benchmarks --again"
            self.assertEqual(
                (report.RESULTS / "table.md").read_text(), report.table(SAMPLES, ABOUT), again
            )
            self.assertEqual((report.RESULTS / "chart.svg").read_text(), chart(SAMPLES), again)

        def test_the_tables_of_the_pages_are_those_of_the_samples(self):
            again = "run: python -m benchmarks --again"
            for name in docs.PAGES:
                page = (DOCS / name).read_text()
                self.assertIn("<!-- make bench: ", page)
                self.assertEqual(page, docs.with_tables(page, SAMPLES), again)

        def test_the_ratios_in_sentences_are_those_of_the_samples(self):
            self.assertSentences(
                {
                    (name, sentence): SAMPLES.ratio(*of)
                    for name, sentences in RATIOS.items()
                    for sentence, of in sentences.items()
                },
                "{:.2g}",
            )

        def test_the_bytes_in_sentences_are_those_of_the_samples(self):
            self.assertSentences(
                {
                    (name, sentence): SAMPLES.median(POSTGRESQL, *of)
                    for name, sentences in BYTES.items()
                    for sentence, of in sentences.items()
                },
                "{:.0f}",
            )

        def assertSentences(self, figures, form):
            pages = {name: " ".join((DOCS / name).read_text().split()) for name, _ in figures}
            wrong = []
            for (name, sentence), value in figures.items():
                wanted = sentence.format(form.format(value))
                pattern = re.escape(sentence).replace(r"\{\}", r"([\d.]*\d)")
                found = re.findall(pattern, pages[name])
                if len(found) != 1 or wanted not in pages[name]:
                    wrong.append(f"{name}: {wanted!r}, but the page has {found or 'nothing'}")
            self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

        def test_each_target_that_is_not_reached_is_explained_and_no_other(self):
            section = (DOCS / "performance.md").read_text().partition("\n## Targets that aren't")[2]
            section = " ".join(section.partition("\n## ")[0].split())
            explained = re.findall(r"- \*\*(.+?)\*\*: \w", section)
            self.assertEqual(explained, [verdict.target.text for verdict in missed(SAMPLES)])

        def test_the_versions_of_the_other_caches_are_those_of_the_benchmark(self):
            pinned = (settings.BASE_DIR / "benchmarks/requirements.txt").read_text()
            for name in ("django-cacheops", "django-cachalot"):
                version = re.search(rf"{name}==([\d.]+)", pinned)[1]
                self.assertIn(f"{name} {version}", (DOCS / "comparison.md").read_text())

        def test_the_times_of_the_calculations_are_about_those_of_the_benchmark(self):
            for seconds, measure in (
                (sizing.SECONDS_OF_A_HIT, HIT),
                (sizing.SECONDS_OF_A_SAVE, SAVE),
            ):
                measured = SAMPLES.median(POSTGRESQL, measure, THIS) / 1e6
                message = f"{measure} takes {measured:.2g} s, cars.lab.sizing has {seconds:.2g} s"
                self.assertAlmostEqual(seconds / measured, 1, delta=0.25, msg=message)
