"""What can be chosen in the lab: a recipe, a case, and one rule of the protocol to switch off."""

from dataclasses import dataclass

MOST_STEPS = 80  # of a schedule; the longest run of the cases has fewer


@dataclass(frozen=True)
class Recipe:
    """A way to cache objects: `word` chooses it in the name of a case of the lab."""

    slug: str
    title: str
    module: str
    summary: str
    word: str = ""


@dataclass(frozen=True)
class Case:
    """Who is at work, and what may fail: `words` is the name of a case of the lab."""

    slug: str
    title: str
    words: str
    summary: str
    exception: str = ""  # when this site's recipe is allowed to be stale
    postgresql: bool = False  # it needs two open write transactions, which SQLite doesn't have
    compared: bool = True  # whether it is in the grid that compares the recipes


LOST = (
    "The exception is the moment between a COMMIT and its release, if the entry was lost meanwhile."
)

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

CASES = {
    case.slug: case
    for case in (
        Case(
            "save-read",
            "A save and a read",
            "save read",
            "A writer saves in autocommit. A reader reads meanwhile.",
        ),
        Case(
            "transaction-read",
            "A save in a transaction and a read",
            "atomic read cached",
            "The row is in the cache. A writer saves in a transaction. A reader reads meanwhile.",
        ),
        Case(
            "two-saves",
            "Two saves and a read",
            "save save read",
            "Two writers save the row. A reader reads meanwhile.",
        ),
        Case(
            "rollback-read",
            "A rollback and a read",
            "rollback read",
            "A writer saves in a transaction that is rolled back. A reader reads meanwhile.",
        ),
        Case(
            "delete-read",
            "A delete and a read",
            "delete read",
            "A writer deletes the row. A reader reads meanwhile.",
        ),
        Case(
            "update-read",
            "An update() and a read",
            "update read cached",
            "The row is in the cache. A writer calls QuerySet.update(), which sends no signals.",
        ),
        Case(
            "bulk-read",
            "A bulk_update() and a read",
            "bulk read cached",
            "The row is in the cache. A writer calls bulk_update(), which sends no signals.",
        ),
        Case(
            "raw-sql",
            "Raw SQL and a read",
            "raw-told read cached",
            "The row is in the cache. A writer sends SQL of its own, and calls expire where the "
            "manager has it.",
        ),
        Case(
            "killed-writer",
            "A killed writer",
            "save read killed later cached",
            "The row is in the cache. A writer can be killed after its COMMIT.",
        ),
        Case(
            "paused-reader",
            "A pause",
            "save read later",
            "A save and a read, one of which may pause until what stands in the cache ends.",
        ),
        Case(
            "lost-entry",
            "A lost entry",
            "save read read lost cached",
            "The row is in the cache. The cache can lose what stands there, by eviction.",
            LOST,
        ),
        Case(
            "restarted-server",
            "A restart of the server",
            "save read read restart cached",
            "The row is in the cache. The server can be restarted: all entries are lost, and the "
            "next call of each gets no answer.",
            LOST,
        ),
        Case(
            "no-answer",
            "Calls without an answer",
            "save read-looked no-answer cached",
            "The row is in the cache. A call of one of them can get no answer, and those after it.",
            "The exception is a write that the server has not heard of: until the reader’s process "
            "looks at what is owed, once a second.",
        ),
        Case(
            "two-transactions",
            "Two transactions and a read",
            "atomic atomic read",
            "Two writers save in transactions that are open at the same time.",
            postgresql=True,
        ),
        Case(
            "two-reads",
            "A save in a transaction and two reads",
            "atomic read read",
            "A writer saves in a transaction. Two readers read meanwhile.",
            compared=False,
        ),
        Case(
            "three-saves",
            "Three saves and a read",
            "save save save read",
            "Three writers save the row. A reader reads meanwhile.",
            compared=False,
        ),
        Case(
            "unseen-write",
            "Raw SQL without expire",
            "raw read cached",
            "The row is in the cache. A writer sends SQL of its own, of which no cache is told.",
            compared=False,
        ),
        Case(
            "lost-hold",
            "Two saves and a lost entry",
            "save save lost cached",
            "Two writers save the row. The cache can lose the entry meanwhile.",
            compared=False,
        ),
        Case(
            "lost-connection",
            "A connection lost in the COMMIT",
            "doubt atomic read cached",
            "A writer loses its connection in the COMMIT, and the COMMIT arrives later.",
            compared=False,
        ),
        Case(
            "no-answer-transaction",
            "No answer in a transaction",
            "atomic read-looked no-answer cached",
            "A writer saves in a transaction. A call of one of them can get no answer.",
            compared=False,
        ),
        Case(
            "no-answer-process",
            "No answer, and a process that looks",
            "save look read-looked no-answer cached",
            "A call can get no answer. Another process looks at what is owed, and withdraws it.",
            compared=False,
        ),
        Case(
            "no-answer-miss",
            "No answer, a miss, and a process that looks",
            "save look read no-answer",
            "The row isn’t in the cache. A call can get no answer. Another process looks at what "
            "is owed, and withdraws it.",
            compared=False,
        ),
        Case(
            "no-answer-two-saves",
            "No answer to one of two saves",
            "save save look no-answer cached",
            "Two writers save the row. A call can get no answer. Another process looks at what is "
            "owed, and withdraws it.",
            compared=False,
        ),
        Case(
            "no-answer-lost",
            "A lost entry and no answer",
            "save read no-answer lost cached",
            "The row is in the cache. The cache can lose the entry, and a call can get no answer.",
            compared=False,
        ),
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


# The runs that the texts show: the recipe, the case and a script for `stage.Stage.follow`.
RUNS = {
    "set-on-save": ("set-on-save", "save-read", "reader to SELECT, writer to end, reader to end"),
    "set-on-save-rollback": (
        "set-on-save",
        "rollback-read",
        "writer to set row 1, reader to end, writer to end",
    ),
    "set-on-commit": (
        "set-on-commit",
        "two-saves",
        "writer1 to UPDATE, writer2 to end, writer1 to end, reader to end",
    ),
    "delete-on-commit": (
        "delete-on-commit",
        "save-read",
        "reader to SELECT, writer to end, reader to end",
    ),
    "none-on-save": (
        "none-on-save",
        "paused-reader",
        "reader to SELECT, writer to end, later, reader to end",
    ),
    "set-on-commit-killed": (
        "set-on-commit",
        "killed-writer",
        "writer to UPDATE, kill-writer, reader to end",
    ),
    "lease": ("carsite", "save-read", "reader to SELECT, writer to end, reader to end"),
    "hold": ("carsite", "transaction-read", "writer to COMMIT, reader to end, writer to end"),
    "hold-rollback": ("carsite", "rollback-read", "writer to UPDATE, reader to end, writer to end"),
    "hold-killed": (
        "carsite",
        "killed-writer",
        "writer to UPDATE, kill-writer, reader to end, later",
    ),
    "holds": (
        "carsite",
        "two-saves",
        "writer1 to UPDATE, writer2 to end, reader to end, writer1 to end",
    ),
    "set-on-save-update": ("set-on-save", "update-read", "writer to end, reader to end"),
    "update": ("carsite", "update-read", "writer to end, reader to end"),
    "set-on-save-bulk": ("set-on-save", "bulk-read", "writer to end, reader to end"),
    "bulk": ("carsite", "bulk-read", "writer to end, reader to end"),
    "set-on-save-raw": ("set-on-save", "raw-sql", "writer to end, reader to end"),
    "raw": ("carsite", "raw-sql", "writer to end, reader to end"),
    "unseen-write": ("carsite", "unseen-write", "writer to end, reader to end"),
    "no-answer": (
        "carsite",
        "no-answer",
        "silent-writer, silent-writer, writer to UPDATE, reader to end, writer to end",
    ),
    "unreachable-server": (
        "carsite",
        "no-answer",
        "reader to SELECT owed, silent-writer, silent-writer, writer to UPDATE, reader to end, "
        "writer to end",
    ),
    "restart": (
        "carsite",
        "restarted-server",
        "writer to UPDATE, restart, reader1 to SELECT, writer to end, reader1 to end, "
        "reader2 to end",
    ),
    "lost-entry": (
        "carsite",
        "lost-entry",
        "writer before UPDATE, lost, reader1 to SELECT, writer to UPDATE, reader1 to end, "
        "reader2 to end, writer to end",
    ),
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


def without_name(rule: str) -> str:
    """Return the name of the run that shows what goes wrong without `rule`."""
    words = "".join(letter if letter.isalpha() else " " for letter in rule.lower())
    return "without-" + "-".join(words.split())
