"""What can be chosen in the lab: a recipe, a case, and one rule of the protocol to switch off."""

from dataclasses import dataclass

from .cases import CASES, Case

MOST_STEPS = 80  # of a schedule; the longest run of the cases has fewer


@dataclass(frozen=True)
class Recipe:
    """A way to cache objects: `word` chooses it in the name of a case of the lab."""

    slug: str
    title: str
    module: str
    summary: str
    word: str = ""


HERE = Recipe(
    "carsite",
    "This site’s recipe",
    "cars.caching",
    "Readers fill with a lease. Writers hold the key until they have committed.",
)

RECIPES = {
    recipe.slug: recipe
    for recipe in (
        Recipe(
            "set-on-save",
            "Set on save (2009)",
            "cars.recipes.set_on_save",
            "A reader stores what it has read. A save stores the saved object.",
            "2009",
        ),
        Recipe(
            "none-on-save",
            "None for 5 s",
            "cars.recipes.none_on_save",
            "A reader adds what it has read. A save stores None for 5 seconds.",
            "none-on-save",
        ),
        Recipe(
            "set-on-commit",
            "Set on commit",
            "cars.recipes.set_on_commit",
            "A reader stores what it has read. After the COMMIT, the saved object is stored.",
            "set-on-commit",
        ),
        Recipe(
            "delete-on-commit",
            "Delete on commit",
            "cars.recipes.delete_on_commit",
            "A reader stores what it has read. After the COMMIT, the entry is deleted.",
            "delete-on-commit",
        ),
        HERE,
    )
}

# The case in which it goes wrong without each rule: those for a server that answers, then those for
# one that fails.
RULE_CASES = {
    "hold before COMMIT": "transaction-read",
    "holds are a set": "two-saves",
    "never a plain delete": "three-saves",
    "rewrite when lost": "lost-hold",
    "fill only alone": "two-saves",
    "compare the token": "save-read",
    "fresh SELECT": "two-saves",
    "unknown outcome: keep the hold": "lost-connection",
    "no answer is not absent": "no-answer-lost",
    "once more on a fresh connection": "restarted-server",
    "owed counts as held": "no-answer",
    "inserted in the same transaction": "no-answer-transaction",
    "inserted before the write in autocommit": "no-answer",
    "under way until the write has ended": "no-answer-process",
    "withdraw expires leases": "no-answer-miss",
    "withdraw rewrites holds": "no-answer-two-saves",
    "withdraw, then delete": "no-answer-process",
}


class Unknown(ValueError):
    """A scenario that doesn't exist; the message says what there is."""


@dataclass(frozen=True)
class Scenario:
    """A recipe and a case; `without` is the rule of the protocol that is switched off, or ""."""

    recipe: Recipe
    case: Case
    without: str = ""

    @property
    def words(self) -> str:
        """The name of the case of the lab."""
        return f"{self.recipe.word} {self.case.words}".strip()


def scenario(recipe: str, case: str, without: str = "") -> Scenario:
    """Return the scenario of these slugs and this rule.

    Raises Unknown for a recipe, a case or a rule that doesn't exist, and for a rule of another
    recipe than this site's.
    """
    for name, known, kind in ((recipe, RECIPES, "recipe"), (case, CASES, "case")):
        if name not in known:
            raise Unknown(f"There is no {kind} {name!r}. There are: {', '.join(known)}.")
    if without and without not in RULE_CASES:
        raise Unknown(f"There is no rule {without!r}. There are: {', '.join(RULE_CASES)}.")
    if without and recipe != HERE.slug:
        raise Unknown(f"The recipe {recipe!r} has no rules: they are those of {HERE.slug!r}.")
    return Scenario(RECIPES[recipe], CASES[case], without)
