"""The pages of the tutorial: Markdown files in docs/learn/, with runs and code included by name."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from cars import documents
from cars.markdown import SITE, Text, render

from . import proofs, recorded
from .picture import picture_of, source_of
from .runs import Run

FOLDER: Path = settings.BASE_DIR / "docs" / "learn"
INDEX = "README"

# In their order. The first word of a file's name is its number.
PAGES = (
    "a-fast-page",
    "it-lies",
    "four-repairs-that-fail",
    "the-lease",
    "the-hold",
    "take-a-rule-out",
    "what-signals-miss",
    "pull-the-plug",
    "yours",
    "still-stale",
)


@dataclass(frozen=True)
class Page:
    """A page of the tutorial; `number` counts from 1."""

    number: int
    slug: str

    @property
    def path(self) -> Path:
        """Where its text is."""
        return FOLDER / f"{self.number:02}-{self.slug}.md"

    @property
    def title(self) -> str:
        """The heading of its text."""
        with self.path.open() as file:
            return file.readline().removeprefix("# ").strip()

    def text(self) -> Text:
        """Return its text, rendered."""
        return render(self.path, link, include)


def pages() -> list[Page]:
    """Return all pages, in their order."""
    return [Page(number, slug) for number, slug in enumerate(PAGES, 1)]


def page(slug: str) -> Page:
    """Return the page `slug`; raise KeyError if there is none."""
    return {each.slug: each for each in pages()}[slug]


def index() -> Text:
    """Return the text of the index page, rendered."""
    return render(FOLDER / f"{INDEX}.md", link, include)


def link(target: str) -> str:
    """Return the URL on this site of what a text links to."""
    if target.startswith(SITE):
        return "/" + target.removeprefix(SITE)
    name, hash_, anchor = target.partition("#")
    for each in pages():
        if name == each.path.name:
            return reverse("learn:page", args=[each.slug]) + hash_ + anchor
    if name.endswith(".py") and Path(name).stem in proofs.NAMES:
        return reverse("learn:proofs", args=[Path(name).stem]) + hash_ + anchor
    return documents.link(target.removeprefix("../"))


def include(text: str, target: str, title: str) -> SafeString | None:
    """Return the picture of a run, or source code, for a link to it that is a paragraph.

    The title of a link to code is the name of what to show. "folded" lets a run be opened first.
    """
    path = Path(target)
    if path.suffix == ".json":
        run = recorded.run(path.stem)
        context = {
            "picture": picture_of(run),
            "title": text,
            "live": live_url(run),
            "from": "1",
            "folded": title == "folded",
        }
        return SafeString(render_to_string("learn/_recorded.html", context))
    if path.suffix == ".py" and title:
        source = source_of(title)
        return SafeString(render_to_string("learn/_code.html", {"source": source, "title": text}))
    return None


def live_url(run: Run) -> str:
    """Return the URL that plays `run` in the lab; "" if the lab is switched off."""
    if not settings.LAB:
        return ""
    return lab_url(run.recipe, run.case, run.without, run.steps)


def lab_url(recipe: str, case: str, without: str = "", steps: tuple[str, ...] = ()) -> str:
    """Return the URL of a schedule in the lab."""
    values = {"recipe": recipe, "case": case, "without": without, "steps": ".".join(steps)}
    query = {name: value for name, value in values.items() if value}
    return reverse("learn:lab", query=query)
