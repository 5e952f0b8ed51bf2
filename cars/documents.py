"""The documentation in docs/, as pages of the site."""

import re
from functools import cache
from pathlib import Path

from django.conf import settings
from django.urls import reverse

from .markdown import SITE, Text, render

FOLDER: Path = settings.BASE_DIR / "docs"

# What each page is about, in the order of the list.
ABOUT = {
    "your-project": "Settings, users, tests, production, and what each message means.",
    "protocol": "What is promised, the rules that keep it, and every exception.",
    "reference": "Every public name of the recipe, and the commands of this site.",
    "glossary": "The words of the recipe, one for each thing.",
    "operations": "How this site runs in production, and what its parts cost.",
    "performance": "Times, compared with no cache and with other caches.",
    "comparison": "What other caches for Django objects do.",
    "faults": "Each fault that was tried, and what was stale, lost or slow.",
    "site": "What this site shows, how to start it, and its settings.",
}


@cache
def pictures() -> dict[str, Path]:
    """Return the files of the pictures that pages show, by their names."""
    paths = [*FOLDER.glob("screenshots/*.png"), settings.BASE_DIR / "benchmarks/results/chart.svg"]
    return {path.name: path for path in paths if path.is_file()}


@cache
def listed() -> list[tuple[str, str, str]]:
    """Return the name and the title of each page, and what it is about."""
    return [(name, text(name).title, about) for name, about in ABOUT.items()]


@cache
def names() -> set[str]:
    """Return the names of all pages, for example "protocol" for docs/protocol.md."""
    return {path.stem for path in FOLDER.glob("*.md")}


def text(name: str) -> Text:
    """Return the page `name`, rendered; raise KeyError if there is none."""
    if name not in names():
        raise KeyError(name)
    return render(FOLDER / f"{name}.md", link)


def link(target: str) -> str:
    """Return the URL on this site of what a page links to; "" if that is not on the site."""
    name, hash_, anchor = target.partition("#")
    path = Path(name)
    if path.suffix == ".md" and path.stem in names() and path.name == name:
        return reverse("document", args=[path.stem]) + hash_ + anchor
    if tutorial := re.fullmatch(r"learn/\d\d-([\w-]+)\.md", name):
        return reverse("learn:page", args=[tutorial[1]]) + hash_ + anchor
    if pictures().get(path.name) == (FOLDER / name).resolve():
        return reverse("picture", args=[path.name])
    if target.startswith(SITE):
        return "/" + target.removeprefix(SITE)
    if "://" in target or target.startswith("#"):
        return target
    return ""
