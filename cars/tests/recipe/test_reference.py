"""docs/reference.md documents every public name of the code, and no name that doesn't exist."""

import ast
import inspect
import re
from argparse import Action
from functools import cached_property
from importlib import import_module
from pathlib import Path

from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.management import BaseCommand
from django.test import SimpleTestCase, tag

from cars import caching
from cars.caching import backends, checks, events, protocol, registry
from cars.caching.backends import memcached
from cars.caching.entries import State
from cars.models import Car

FOLDER = Path(caching.__file__).parent
MODULES = ("manager", "queryset", "backends", "testing", "events", "inspection", "entries")
MODULES += ("verify", "registry")
# Of the registry, only what `verify` and the backends pass around.
CLASSES_OF_REGISTRY = {"CachedModel", "Config"}
NO_LITERAL = object()  # the value of a constant that the test can't compare
COMMANDS = {
    "verify_cache": "cars.caching",
    "demo": "cars",
    "django_tests": "cars",
    "faults": "cars",
    "import_cars": "cars",
    "interleavings": "cars",
    "make_cars": "cars",
    "mutants": "cars",
    "races": "cars",
    "screenshots": "cars",
    "stack": "cars",
    "storm": "cars",
    "web_servers": "cars",
}


class Page:
    """The reference, as data."""

    def __init__(self, text: str) -> None:
        self.sections: dict[str, str] = {}  # by the name in backticks, or the words, of a heading
        for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
            heading, _, body = part.partition("\n")
            named = re.search(r"`(.+?)`", heading)
            self.sections[named[1] if named else heading] = body

    def entries(self, section: str) -> dict[str, str]:
        """Return the signature of each documented name; "" where the page shows none."""
        found = {}
        for part in re.split(r"^### ", self.sections[section], flags=re.MULTILINE)[1:]:
            heading, _, body = part.partition("\n")
            shown = re.match(r"\n```python\n(.*?)```", body, re.DOTALL)
            found[heading.strip("`")] = one_line(shown[1]) if shown else ""
        return found

    def rows(self, section: str, below: str = "") -> dict[str, str]:
        """Return the second column of the tables of a section by the first, both in backticks."""
        body = self.sections[section]
        if below:
            body = re.split(rf"^### `{below}`$", body, flags=re.MULTILINE)[1]
            body = re.split(r"^### ", body, flags=re.MULTILINE)[0]
        rows = re.findall(r"^\| `([^|]+?)` \| *([^|]*?) *\|", body, flags=re.MULTILINE)
        return {name: value.strip("`") for name, value in rows}


def one_line(signature: str) -> str:
    """Return a signature that was shown on several lines as one line."""
    line = " ".join(signature.split())
    return line.replace("( ", "(").replace(", )", ")").replace(" )", ")")


def signature(name: str, value: object) -> str:
    """Return the signature of a function, method or class as the page shows it.

    It is that of `inspect.signature`, without `self`, and without the modules of the types.
    """
    shown = inspect.signature(value)
    if next(iter(shown.parameters), "") in ("self", "cls", "instance") and "." in name:
        shown = shown.replace(parameters=[*shown.parameters.values()][1:])
    prefix = "async " if inspect.iscoroutinefunction(value) else ""
    text = f"{prefix}{name.rpartition('.')[2]}{shown}".replace("'", '"')
    text = text.replace(str(DEFAULT_TIMEOUT), "DEFAULT_TIMEOUT")
    text = re.sub(r"\b(?:[a-z_]\w*\.)+([A-Z])", r"\1", text)
    return re.sub(r'(-> |: )"(\w+)"', r"\1\2", text)


def members_of(cls: type) -> dict[str, str]:
    """Return the signatures of the public methods and properties that a class defines itself.

    A method that one of its documented bases defines too has the same contract.
    """
    bases = [base for base in cls.__mro__[1:] if base.__module__.startswith(caching.__name__)]
    found = {}
    for name, value in vars(cls).items():
        if name.startswith("_") or any(name in vars(base) for base in bases):
            continue
        full_name = f"{cls.__name__}.{name}"
        if isinstance(value, property | cached_property):
            getter = value.fget if isinstance(value, property) else value.func
            found[full_name] = f"{name}: {signature(full_name, getter).partition('-> ')[2]}"
        elif inspect.isfunction(function := getattr(value, "__func__", value)):
            found[full_name] = signature(full_name, function)
    return found


def has_own_signature(cls: type) -> bool:
    """Does the class itself say what it is made of, and not a class of Django or Python?"""
    return issubclass(cls, tuple) or "__init__" in vars(cls)


def public_names(module: str) -> dict[str, str]:
    """Return the signature of every public function, class, method and property of a module."""
    found = {}
    code = import_module(f"cars.caching.{module}")
    for name, value in vars(code).items():
        if module == "backends":
            if name not in backends.__all__:
                continue
        elif name.startswith("_") or getattr(value, "__module__", "") != code.__name__:
            continue
        if module == "registry" and name not in CLASSES_OF_REGISTRY:
            continue
        if inspect.isclass(value):
            found[name] = signature(name, value) if has_own_signature(value) else ""
            found |= members_of(value)
        elif inspect.isfunction(inspect.unwrap(value)):
            found[name] = signature(name, value)
    if module == "manager":  # the manager gives it to its model
        found["Model.key"] = signature("Model.key", Car.key)
    return found


def constants(module: str) -> dict[str, object]:
    """Return the public constants of a module, with their values where these are literals."""
    found = {}
    for node in ast.parse((FOLDER / f"{module}.py").read_text()).body:
        if isinstance(node, ast.AnnAssign):
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            pairs = zip(node.targets[0].elts, node.value.elts, strict=True)
        elif isinstance(node, ast.Assign):
            pairs = [(node.targets[0], node.value)]
        else:
            continue
        for target, value in pairs:
            if not target.id.startswith("_"):
                try:
                    found[target.id] = ast.literal_eval(value)
                except ValueError:
                    found[target.id] = NO_LITERAL
    return found


def options(name: str) -> dict[str, str]:
    """Return the defaults of a command's own options and arguments, "" for none."""
    module = import_module(f"{COMMANDS[name]}.management.commands.{name}")
    djangos = {action.dest for action in BaseCommand().create_parser("manage.py", name)._actions}
    actions = module.Command().create_parser("manage.py", name)._actions
    return {
        _option(action): ""
        if action.default is None or action.default is False
        else str(action.default)
        for action in actions
        if action.dest not in djangos
    }


def _option(action: Action) -> str:
    if not action.option_strings:
        return action.metavar
    takes_value = action.nargs != 0
    return f"{action.option_strings[0]} VALUE" if takes_value else action.option_strings[0]


@tag("any-database")
class ReferenceTests(SimpleTestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.page = Page((settings.BASE_DIR / "docs/reference.md").read_text())

    def test_it_has_a_section_for_each_public_module_and_no_other(self):
        documented = {name for name in self.page.sections if name.startswith("cars.caching.")}
        self.assertEqual(documented, {f"cars.caching.{module}" for module in MODULES})

    def test_every_public_name_is_documented_with_its_signature(self):
        for module in MODULES:
            with self.subTest(module):
                documented = self.page.entries(f"cars.caching.{module}")
                self.assertEqual(documented, public_names(module))

    def test_every_public_constant_is_documented_with_its_value(self):
        for module in MODULES:
            if module in ("backends", "registry"):  # what is public of them has none
                continue
            with self.subTest(module):
                documented = self.page.rows(f"cars.caching.{module}")
                expected = constants(module)
                if module == "entries":
                    documented = {
                        name: value for name, value in documented.items() if "State." not in name
                    }
                self.assertEqual(documented.keys(), expected.keys())
                for name, value in expected.items():
                    if value is not NO_LITERAL:
                        shown, code = documented[name], str(value)
                        self.assertEqual(shown.replace(",", ""), code.replace(",", ""), name)

    def test_every_state_is_documented(self):
        documented = {
            name: value
            for name, value in self.page.rows("cars.caching.entries").items()
            if name.startswith("State.")
        }
        self.assertEqual(documented, {str(f"State.{state.name}"): str(state) for state in State})

    def test_every_event_is_documented(self):
        documented = self.page.rows("cars.caching.events")
        for name, value in vars(events).items():
            if name.isupper() and isinstance(value, str):
                self.assertEqual(documented[name], value)
        self.assertEqual(documented["LOOKUPS"], ", ".join(events.LOOKUPS))

    def test_every_setting_is_documented_with_its_default(self):
        expected = {name: str(value) for name, value in protocol.DEFAULTS.items()}
        expected["CACHING_SAME_DATABASE"] = "{}"
        self.assertEqual(self.page.rows("Settings"), expected)
        used = {
            name
            for path in FOLDER.rglob("*.py")
            for name in re.findall(r'"(CACHING_\w+)"', path.read_text())
        }
        self.assertEqual(used, expected.keys())

    def test_every_option_of_the_memcached_backend_is_documented_with_its_default(self):
        expected = {name: str(value) for name, value in memcached.DEFAULTS.items()}
        expected["pickle"] = "True"
        self.assertEqual(self.page.rows("cars.caching.backends"), expected)
        section = self.page.sections["cars.caching.backends"]
        (paragraph,) = re.findall(r"^These have no effect:.*?\n\n", section, re.M | re.S)
        self.assertEqual(set(re.findall(r"`(\w+)`", paragraph)), memcached.NOT_TAKEN)

    def test_every_check_is_documented(self):
        code = Path(checks.__file__).read_text()
        documented = self.page.rows("System checks")
        self.assertEqual(set(documented), set(re.findall(r"caching\.[EW]\d{3}", code)))

    def test_every_command_is_documented_with_its_options_and_their_defaults(self):
        files = {
            path.stem
            for folder in (FOLDER, FOLDER.parent)
            for path in (folder / "management/commands").glob("[a-z]*.py")
        }
        self.assertEqual(files, COMMANDS.keys())
        for name, app in COMMANDS.items():
            with self.subTest(name):
                section = "Commands" if app == caching.__name__ else "Commands of the site"
                rows = self.page.rows(section, below=name)
                documented = {
                    re.sub(r"^(--\w+) .+", r"\1 VALUE", option): value
                    for option, value in rows.items()
                }
                self.assertEqual(documented, options(name))

    def test_the_version_and_the_exported_names_are_documented(self):
        section = self.page.sections["cars.caching"]
        self.assertIn(f'"{caching.__version__}"', section)
        for name in caching.__all__:
            self.assertIn(f"`{name}`", section)
        self.assertEqual(CLASSES_OF_REGISTRY, {registry.CachedModel.__name__, "Config"})
