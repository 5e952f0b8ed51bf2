"""The documentation in docs/, as pages of the site."""

import re
from functools import cache
from pathlib import Path

from django.conf import settings
from django.urls import reverse

from .markdown import SITE, Text, render

FOLDER: Path = settings.BASE_DIR / "docs"


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
    if target.startswith(SITE):
        return "/" + target.removeprefix(SITE)
    if "://" in target or target.startswith("#"):
        return target
    return ""
