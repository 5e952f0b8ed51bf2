"""The cases that the tests walk, and that `manage.py interleavings` walks unless told others."""

ONE_WRITER = (
    "save read read",
    "atomic read read",
    "rollback read read",
    "savepoint read read",
    "delete read read",
    "update read read",
    "create read read absent",
    "insert read read absent",
    "doubt read read",
    "atomic read read-atomic",
    "atomic read read cached",
    "atomic read read killed",
    "save read read lost cached",
    "rollback read read lost",
    "save read lost killed cached",
    "save read later",
    "atomic read killed later cached",
)
# The cache is restarted, or doesn't answer.
OUTAGES = (
    "save read read restart cached",
    "atomic read restart cached",
    "rollback read restart cached",
    "savepoint read restart",
    "delete read restart cached",
    "update read restart",
    "create read restart absent",
    "insert read restart absent",
    "atomic read restart killed cached",
    "save read-looked no-answer cached",
    "atomic read-looked no-answer cached",
    "rollback read-looked no-answer cached",
    "savepoint read-looked no-answer cached",
    "delete read-looked no-answer cached",
    "update read-looked no-answer cached",
    "create read-looked no-answer absent",
    "insert read-looked no-answer absent",
    "doubt read-looked no-answer cached",
    "save look read no-answer cached",
    "save look read-looked no-answer cached",
    "atomic look read-looked no-answer cached",
    "save look read-looked killed no-answer cached",
    "atomic read-looked no-answer restart cached",
    "save read-looked lost no-answer cached",
    "save save restart",
    "save atomic no-answer cached",
)
TWO_WRITERS = (
    "save save read",
    "save atomic read",
    "atomic atomic read",
    "save rollback read",
    "atomic rollback read",
    "atomic savepoint read",
    "save delete read",
    "update delete read",
    "create delete read",
    "create atomic read absent",
    "insert update read absent",
    "save save read cached",
    "atomic update read cached",
    "atomic delete read cached",
    "rollback update read cached",
    "doubt atomic read cached",
    "atomic atomic read killed cached",
    "save delete read killed cached",
)
TWO_WRITERS_WITH_A_LOSS = ("save rollback read lost cached",)  # more steps than all of those
TWO_WRITERS_ON_SQLITE = (
    "save save read",
    "save atomic read",
    "atomic atomic read",
    "atomic rollback read",
    "atomic delete read cached",
    "update save read cached",
)
TWO_AND_TWO = ("save atomic read read", "atomic update read read cached")
TWO_AND_TWO_WITH_A_ROLLBACK = ("save rollback read read", "save rollback read read cached")

# The case that goes wrong when a rule is switched off.
CATCHES = {
    "hold before COMMIT": "atomic atomic read",
    "holds are a set": "save save read",
    "never a plain delete": "save save save read",
    "rewrite when lost": "save save lost cached",
    "fill only alone": "save save read",
    "compare the token": "atomic read read",
    "fresh SELECT": "save save read cached",
    "unknown outcome: keep the hold": "doubt atomic read cached",
    "no answer is not absent": "atomic read no-answer restart cached",
    "once more on a fresh connection": "save read read restart cached",
    "owed counts as held": "save read-looked no-answer cached",
    "inserted in the same transaction": "atomic read-looked no-answer cached",
    "inserted before the write in autocommit": "save read-looked no-answer cached",
    "under way until the write has ended": "save look read-looked no-answer cached",
    "withdraw expires leases": "atomic look read no-answer",
    "withdraw rewrites holds": "save save look no-answer",
    "withdraw, then delete": "save look read-looked no-answer cached",
}

# Cases small enough to run every schedule, with all rules or with the named one switched off.
SMALL: tuple[tuple[str, str | None], ...] = (
    ("atomic read", None),
    ("read read lost cached", None),
    ("atomic read", "compare the token"),
    ("save save", "fresh SELECT"),
    ("none-on-save save read later", None),
    ("save read killed later cached", None),
    ("save no-answer restart cached", None),
    ("save look no-answer cached", None),
    ("savepoint look no-answer cached", None),
)

# Where each of the repairs in `cars.recipes` goes wrong, and this project's recipe doesn't.
REPAIRS = (
    "set-on-commit save save",
    "set-on-commit atomic read",
    "delete-on-commit atomic read cached",
    "delete-on-commit save read",
    "none-on-save save read later",
    "none-on-save atomic read later",
)
RECIPE_2009 = ("2009 save save read", "2009 rollback save read", "2009 atomic read read")
