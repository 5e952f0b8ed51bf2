"""The list of what became of each mutant that was drawn: results.txt, and equivalent.txt."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .trial import Outcome

RESULTS = Path(__file__).with_name("results.txt")
EQUIVALENT = Path(__file__).with_name("equivalent.txt")

Result = tuple[Outcome, str]  # and the test that has killed the mutant
MOST_URGENT_FIRST = (Outcome.SURVIVED, Outcome.TIMED_OUT, Outcome.EQUIVALENT, Outcome.KILLED)


@dataclass
class Results:
    """What became, by name, of the mutants that a seed has drawn from a revision of the recipe."""

    seed: int
    revision: str
    mutants: int
    drawn: int
    found: dict[str, Result] = field(default_factory=dict)

    def of(self, outcome: Outcome) -> list[str]:
        """Return the names of the mutants with this outcome."""
        return sorted(name for name, (found, _) in self.found.items() if found is outcome)

    def __str__(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# What became of the mutants of the recipe: written by `manage.py mutants`."
        yield "# Below each mutant that was killed is the test that failed."
        yield ""
        yield f"seed: {self.seed}"
        yield f"revision: {self.revision}"
        yield f"mutants: {self.mutants}"
        yield f"drawn: {self.drawn}"
        yield f"run: {len(self.found)}"
        for outcome in MOST_URGENT_FIRST:
            names = self.of(outcome)
            yield f"{outcome}: {len(names)}"
        for outcome in MOST_URGENT_FIRST:
            yield f"\n[{outcome}]"
            for name in self.of(outcome):
                yield f"    {name}"
                if killer := self.found[name][1]:
                    yield f"        {killer}"


def read_results(path: Path) -> Results | None:
    """Return the results in the file `path`; None if there is none."""
    if not path.exists():
        return None
    head, *sections = re.split(r"^\[(.+)\]$", path.read_text(), flags=re.MULTILINE)
    values = dict(re.findall(r"^(\w+): (.*)$", head, re.MULTILINE))
    seed, mutants, drawn = (int(values[name]) for name in ("seed", "mutants", "drawn"))
    results = Results(seed, values["revision"], mutants, drawn)
    for outcome, section in zip(sections[::2], sections[1::2], strict=True):
        for name, killer in re.findall(r"^    (\S.*)\n(?:        (\S+)\n)?", section, re.MULTILINE):
            results.found[name] = (Outcome(outcome), killer)
    return results


def equivalent() -> set[str]:
    """Return the names of the mutants that no test can notice: the indented lines of the file."""
    lines = EQUIVALENT.read_text().splitlines()
    return {line.strip() for line in lines if line.startswith(" ")}
