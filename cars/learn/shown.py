"""The runs that the texts of the tutorial show."""

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


def without_name(rule: str) -> str:
    """Return the name of the run that shows what goes wrong without `rule`."""
    words = "".join(letter if letter.isalpha() else " " for letter in rule.lower())
    return "without-" + "-".join(words.split())
