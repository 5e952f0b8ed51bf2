"""What the actors run: the kinds of writers and readers, and the cases made of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from unittest import mock

from django.db import IntegrityError, OperationalError
from django.db.transaction import atomic

from cars.caching import owed
from cars.caching.registry import cached_model
from cars.caching.rows import fingerprint_of
from cars.caching.transactions import settle_all
from cars.lab.models import (
    Counted,
    Counted2009,
    CountedDeleteOnCommit,
    CountedNoneOnSave,
    CountedSetOnCommit,
)

from .actors import Actor, Program
from .steps import Step, stop

PK = 1  # of the row that all actors read and write

Cached = (
    type[Counted]
    | type[Counted2009]
    | type[CountedNoneOnSave]
    | type[CountedSetOnCommit]
    | type[CountedDeleteOnCommit]
)
Run = Callable[[Cached, Actor], None]


class Undo(Exception):
    """Raised to roll a transaction back."""


def save(model: Cached, actor: Actor) -> None:
    """Save in autocommit."""
    model(pk=PK, number=actor.number).save()


def save_in_atomic(model: Cached, actor: Actor) -> None:
    """Save in a transaction."""
    with atomic():
        save(model, actor)


def roll_back(model: Cached, actor: Actor) -> None:
    """Save, and roll back."""
    try:
        with atomic():
            save(model, actor)
            raise Undo
    except Undo:
        pass


def roll_back_to_savepoint(model: Cached, actor: Actor) -> None:
    """Save in a savepoint, roll that back, and commit."""
    with atomic():
        roll_back(model, actor)


def create(model: Cached, actor: Actor) -> None:
    """Create the row with its pk."""
    model.objects.create(pk=PK, number=actor.number)


def insert(model: Cached, actor: Actor) -> None:
    """Create the row with a pk that the database chooses."""
    model.objects.create(number=actor.number)


def delete(model: Cached, actor: Actor) -> None:
    """Delete the row."""
    model(pk=PK).delete()


def update(model: Cached, actor: Actor) -> None:
    """Write the row by `QuerySet.update()`."""
    model.objects.filter(pk=PK).update(number=actor.number)


def bulk_update(model: Cached, actor: Actor) -> None:
    """Write the row by `QuerySet.bulk_update()`."""
    model.objects.bulk_update([model(pk=PK, number=actor.number)], ["number"])


def write_raw(model: Cached, actor: Actor) -> None:
    """Write the row by raw SQL in a transaction, of which the cache isn't told."""
    with atomic(), actor.connection.cursor() as cursor:
        cursor.execute(f"UPDATE {actor.table} SET number = {actor.number} WHERE id = {PK}")


def write_raw_and_expire(model: Cached, actor: Actor) -> None:
    """Write the row by raw SQL, and tell the cache, if it is this project's recipe."""
    with atomic():
        if hasattr(model.objects, "expire"):
            model.objects.expire([PK])
        write_raw(model, actor)


def lose_connection_in_commit(model: Cached, actor: Actor) -> None:
    """Lose the connection in the COMMIT, which the server then does anyway."""
    connection = actor.connection
    connection.ensure_connection()
    server = connection.connection

    def lost() -> None:
        raise OperationalError("the connection is lost")

    try:
        with mock.patch.multiple(
            connection,
            _commit=lambda: stop(Step("COMMIT sent, connection lost"), lost),
            _rollback=lost,
            _close=lambda: None,
        ):
            try:
                save_in_atomic(model, actor)
            except OperationalError:
                pass
        settle_all()
        stop(Step("COMMIT"), server.commit)
    finally:
        server.rollback()
        server.close()
        if connection.connection is server:  # the run was abandoned before the connection was lost
            connection.connection = None


def read(model: Cached, actor: Actor) -> None:
    """Read the row through the cache."""
    number = None
    try:
        row = model.objects.cache(PK)
    except model.DoesNotExist:
        pass
    else:
        assert isinstance(row, model)  # the managers' own type says Model
        number = row.number
    actor.world.check_answer(actor, number)


def read_in_atomic(model: Cached, actor: Actor) -> None:
    """Read the row through the cache in a transaction."""
    with atomic():
        read(model, actor)


def look(model: Cached, actor: Actor) -> None:
    """Look at what is owed, twice: the process withdraws it, and deletes the record."""
    cached = cached_model(model, "default")
    for _ in range(2):
        actor.seconds += owed.FRESH
        owed.held(cached, {cached.key(PK): PK}, fingerprint_of(cached))


def look_and_read(model: Cached, actor: Actor) -> None:
    """Look at what is owed, and read the row through the cache."""
    actor.seconds += owed.FRESH
    read(model, actor)


WRITERS: dict[str, Run] = {
    "save": save,
    "atomic": save_in_atomic,
    "rollback": roll_back,
    "savepoint": roll_back_to_savepoint,
    "create": create,
    "insert": insert,
    "delete": delete,
    "update": update,
    "bulk": bulk_update,
    "raw": write_raw,
    "raw-told": write_raw_and_expire,
    "doubt": lose_connection_in_commit,
}
READERS: dict[str, Run] = {
    "read": read,
    "read-atomic": read_in_atomic,
    "read-looked": look_and_read,
    "look": look,
}
STARTS = {"cached", "absent"}  # the row is in the cache; the row doesn't exist
# The entry is lost, at any time; a writer is killed, at any time after its COMMIT; so much time
# passes that the entry ends, if it is neither a row nor the holds of a writer that is alive.
# The cache is restarted, at any time: the entry is lost, and the next call of each actor gets no
# answer. Or the answers to a call of one actor, and to any number of calls after it, are lost.
OUTAGES = {"restart", "no-answer"}
FAULTS = {"lost", "killed", "later", *OUTAGES}
RECIPES: dict[str, Cached] = {  # without one of these words: this project's recipe
    "2009": Counted2009,
    "none-on-save": CountedNoneOnSave,
    "set-on-commit": CountedSetOnCommit,
    "delete-on-commit": CountedDeleteOnCommit,
}


@dataclass
class Case:
    """Which actors there are, how a run starts and what may fail.

    It is parsed from its name, for example "save atomic read cached lost". Raises ValueError for a
    word that it doesn't know.
    """

    name: str
    model: Cached = Counted
    writers: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    start: str = ""
    faults: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for word in self.name.split():
            if word in WRITERS:
                self.writers.append(word)
            elif word in READERS:
                self.readers.append(word)
            elif word in STARTS:
                self.start = word
            elif word in FAULTS:
                self.faults.add(word)
            elif word in RECIPES:
                self.model = RECIPES[word]
            else:
                words = ", ".join([*WRITERS, *READERS, *sorted(STARTS | FAULTS), *RECIPES])
                raise ValueError(f"A case can't have the word {word!r}. The words are: {words}.")

    def program(self, word: str) -> Program:
        """Return the program `word` for an actor: a request, settled at its end."""
        run = WRITERS.get(word) or READERS[word]

        def program(actor: Actor) -> None:
            try:
                run(self.model, actor)
            except IntegrityError:
                pass  # another actor has created the row meanwhile
            settle_all()

        return program
