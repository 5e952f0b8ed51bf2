"""The figures of docs/comparison.md are those of the committed benchmark."""

import re

from django.conf import settings
from django.test import SimpleTestCase

PAGE = settings.BASE_DIR / "docs/comparison.md"
TABLE = settings.BASE_DIR / "benchmarks/results/table.md"  # the container image has no benchmarks


def rows(text, columns):
    """Return the cells of a table by the names of its columns, without emphasis."""
    lines = [
        [cell.strip(" *") for cell in line.strip()[1:-1].split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    heading = next(line for line in lines if set(columns) <= set(line))
    at = [heading.index(column) for column in columns]
    after = lines[lines.index(heading) + 2 :]
    return {line[0]: [line[i] for i in at] for line in after if len(line) == len(heading)}


if TABLE.exists():

    class ComparisonTests(SimpleTestCase):
        def test_the_figures_are_those_of_the_benchmark(self):
            _, _, page = PAGE.read_text().partition("## How fast")
            measured = TABLE.read_text().partition("## On PostgreSQL")[2].partition("\n## ")[0]
            shown = rows(page, ["no cache", "cacheops", "cachalot", "this recipe"])
            self.assertGreater(len(shown), 4)
            columns = ["no cache", "cacheops", "cachalot", "this"]
            table = rows(re.sub(r"\n\nThe floors.*", "", measured, flags=re.S), columns)
            self.assertEqual(shown, {name: table[name] for name in shown})

        def test_the_versions_are_those_of_the_benchmark(self):
            pinned = (settings.BASE_DIR / "benchmarks/requirements.txt").read_text()
            for name in ("django-cacheops", "django-cachalot"):
                version = re.search(rf"{name}==([\d.]+)", pinned)[1]
                self.assertIn(f"{name} {version}", PAGE.read_text())
