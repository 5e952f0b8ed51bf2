"""The code on the start page: four lines that a reader can copy, marked by Pygments."""

from dataclasses import dataclass
from functools import cache

from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer


@dataclass(frozen=True)
class Snippet:
    """A few lines of Python for the file `path`."""

    path: str
    code: str

    @property
    def html(self) -> SafeString:
        """The code as HTML, with CSS classes."""
        return mark_safe(highlight(self.code, PythonLexer(), HtmlFormatter(nowrap=True)))


@cache
def snippets() -> list[Snippet]:
    """Return the lines that a model and a view need."""
    return [
        Snippet("models.py", "class Car(models.Model):\n    objects = CacheManager()\n"),
        Snippet("views.py", "def detail(request, pk):\n    car = Car.objects.cache(pk)\n"),
    ]
