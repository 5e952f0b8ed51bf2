"""The cases that can be chosen in the lab: who is at work, and what may fail."""

from dataclasses import dataclass


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
