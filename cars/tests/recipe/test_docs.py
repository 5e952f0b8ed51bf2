"""What the documentation points to exists: files, headings, tests and names of the code."""

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase, tag

from cars import caching
from cars.lab.walks.rules import RULES

BASE = settings.BASE_DIR
PAGES = [
    BASE / "README.md",
    BASE / "CONTRIBUTING.md",
    BASE / "SECURITY.md",
    *sorted(BASE.glob("docs/*.md")),
]
PAGES += [*BASE.glob("docs/learn/*.md"), *BASE.glob("benchmarks/README.md")]
# The container image leaves these out, so that there links to them lead nowhere.
LEFT_OUT = ("benchmarks", "docs/screenshots", ".github", "Dockerfile", "docker-compose.yml")
LEFT_OUT = tuple(BASE / name for name in LEFT_OUT if not (BASE / name).exists())

# Pages that name functions of the recipe by module and name, for example `protocol.hold`.
WITH_NAMES = ("protocol.md", "glossary.md", "reference.md", "performance.md")
MODULES = {path.stem for path in Path(caching.__file__).parent.glob("[a-z]*")}


def exists(path: Path) -> bool:
    return path.exists() or any(path.is_relative_to(folder) for folder in LEFT_OUT)


def without_code_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def in_backticks(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", without_code_blocks(page))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    anchors = set()
    for heading in re.findall(r"^#+ (.+)$", without_code_blocks(page), flags=re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = found[slug] = found.get(slug, -1) + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return anchors


@cache
def classes_of_tests() -> dict[str, dict[str, set[str]]]:
    """Return the classes of each test module, with the names of their methods."""
    return {
        path.stem: {
            node.name: {child.name for child in node.body if isinstance(child, ast.FunctionDef)}
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef)
        }
        for path in (BASE / "cars/tests").rglob("test_*.py")
    }


def resolves(name: str) -> bool:
    """Is the dotted `name` a module, or something that a module has?"""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            fields = getattr(found, "__annotations__", {})
            if not hasattr(found, part) and part not in fields:
                return False
            found = getattr(found, part, None)
        return True
    return False


def exceptions_to_never_stale() -> dict[str, str]:
    """Return the text of each exception that the protocol lists, by its name in lower case."""
    _, _, section = (BASE / "docs/protocol.md").read_text().partition('## The exceptions to "never')
    section, _, _ = section.partition("\n### Never stale")
    items = re.findall(
        r"^- \*\*(.+?):\*\* (.+?)(?=\n- |\n*\Z|\n\n)", section, re.MULTILINE | re.DOTALL
    )
    return {name.lower(): text for name, text in items}


# How code and pages refer to one or two of them.
NAMED = r'\bexceptions? ("[^"]+"(?:\s+and\s+"[^"]+")?)'


@tag("any-database")
class DocsTests(SimpleTestCase):
    def assertNone(self, wrong):
        self.assertEqual(wrong, [], "\n" + "\n".join(map(str, wrong)))

    def test_every_relative_link_leads_to_a_file_and_to_a_heading_of_it(self):
        wrong = []
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", without_code_blocks(page)):
                if re.match(r"\w+:", target):
                    continue
                name, _, anchor = target.partition("#")
                path = (page.parent / name).resolve() if name else page
                if not exists(path) or anchor and anchor not in anchors(path):
                    wrong.append((page.name, target))
        self.assertNone(wrong)

    def test_every_path_of_the_project_exists(self):
        wrong = []
        for page in PAGES:
            for path in in_backticks(page):
                if re.fullmatch(r"(cars|carsite|docs|benchmarks)/[\w./-]*", path):
                    if not exists(BASE / path):
                        wrong.append((page.name, path))
        self.assertNone(wrong)

    def test_every_test_exists(self):
        wrong = []
        for page in PAGES:
            for name in in_backticks(page):
                if not re.fullmatch(r"test_\w+(\.\w+)*", name):
                    continue
                module, *rest = name.removesuffix(".py").split(".")
                classes = classes_of_tests().get(module)
                good = classes is not None
                if good and rest:
                    good = rest[0] in classes and set(rest[1:]) <= classes[rest[0]]
                if not good:
                    wrong.append((page.name, name))
        self.assertNone(wrong)

    def test_every_test_class_is_named_with_its_module(self):
        wrong = [
            (page.name, name)
            for page in PAGES
            for name in in_backticks(page)
            if re.fullmatch(r"[A-Z]\w+Tests", name)
        ]
        self.assertNone(wrong)

    def test_every_name_of_the_code_exists(self):
        wrong = []
        for page in PAGES:
            for name in in_backticks(page):
                name = re.sub(r"\(.*\)$", "", name)
                if not re.fullmatch(r"\w+(\.\w+)+", name):
                    continue
                first = name.partition(".")[0]
                if first == "cars":
                    good = resolves(name)
                elif first in MODULES and page.name in WITH_NAMES and not name.endswith(".py"):
                    good = resolves(f"{caching.__name__}.{name}")
                else:
                    continue
                if not good:
                    wrong.append((page.name, name))
        self.assertNone(wrong)

    def test_the_protocol_lists_the_rules_that_can_be_switched_off(self):
        _, _, section = (BASE / "docs/protocol.md").read_text().partition("## The rules\n")
        section, _, _ = section.partition("\n## ")
        _, *rows = re.findall(r"^\| (.+?) \|", section, flags=re.MULTILINE)
        self.assertEqual(rows, list(RULES))

    def test_the_page_of_the_site_lists_the_variables_that_the_settings_read(self):
        code = (BASE / "carsite/settings.py").read_text()
        rows = re.findall(r"^\| `(\w+)` \|", (BASE / "docs/site.md").read_text(), re.MULTILINE)
        self.assertEqual(sorted(rows), sorted(re.findall(r'\benv\.\w+\("(\w+)"', code)))


class ExceptionsTests(SimpleTestCase):
    """The exceptions to "never stale" are one list, and each is shown by a test."""

    def test_each_item_of_the_list_has_another_name(self):
        _, _, section = (BASE / "docs/protocol.md").read_text().partition("## The exceptions")
        items = re.findall(r"^- ", section.partition("\n### Never stale")[0], re.MULTILINE)
        self.assertEqual(len(exceptions_to_never_stale()), len(items))

    def test_each_exception_has_a_bound_and_a_test_that_exists(self):
        for name, text in exceptions_to_never_stale().items():
            with self.subTest(name):
                self.assertRegex(text, r"(?s)\*[Ss]tale\*.*\b(from|until|as)\b")
                module, class_name = re.search(r"\*Test:\*\s+`(\w+)\.(\w+)`$", text).groups()
                self.assertIn(class_name, classes_of_tests()[module])

    def test_each_test_class_names_the_exception_that_names_it(self):
        for name, text in exceptions_to_never_stale().items():
            module, class_name = re.search(r"`(\w+)\.(\w+)`$", text).groups()
            (path,) = (BASE / "cars/tests").rglob(f"{module}.py")
            with self.subTest(name):
                code = path.read_text()
                self.assertRegex(code, rf'class {class_name}\b.*\n +"""The exception "{name}":')

    def test_every_exception_that_code_or_pages_name_is_listed(self):
        names = exceptions_to_never_stale()
        self.assertGreater(len(names), 15)
        files = [*PAGES, *BASE.glob("*.md"), *(BASE / "cars").rglob("*.py")]
        found = {
            (path.name, " ".join(name.split()))
            for path in files
            for match in re.findall(NAMED, path.read_text())
            for name in re.findall(r'"([^"]+)"', match)
            if path.name != Path(__file__).name
        }
        self.assertEqual({name for _, name in found}, set(names), sorted(found))
