"""What the actors do: the kinds of writers and readers, and cases made of them."""

from dataclasses import dataclass, field
from unittest import mock

from django.db import IntegrityError, OperationalError
from django.db.transaction import atomic

from cars.caching.transactions import settle_all
from cars.lab.models import Counted, Counted2009

from .steps import Step, stop

PK = 1  # of the one row that all is about


class Undo(Exception):
    """What a transaction that is to be rolled back raises."""


def save(model, actor):
    model(pk=PK, number=actor.number).save()


def save_in_atomic(model, actor):
    with atomic():
        save(model, actor)


def roll_back(model, actor):
    try:
        with atomic():
            save(model, actor)
            raise Undo
    except Undo:
        pass


def roll_back_to_savepoint(model, actor):
    with atomic():
        roll_back(model, actor)


def create(model, actor):
    model.objects.create(pk=PK, number=actor.number)


def insert(model, actor):
    """Create, the pk being chosen by the database."""
    model.objects.create(number=actor.number)


def delete(model, actor):
    model(pk=PK).delete()


def update(model, actor):
    model.objects.filter(pk=PK).update(number=actor.number)


def be_left_in_doubt(model, actor):
    """Lose the connection in the COMMIT, which the server then carries out all the same."""
    connection = actor.connection
    connection.ensure_connection()
    server = connection.connection

    def lost():
        raise OperationalError("the connection is lost")

    broken = {
        "_commit": lambda: stop(Step("COMMIT sent, connection lost"), lost),
        "_rollback": lost,
        "_close": lambda: None,
    }
    try:
        with mock.patch.multiple(connection, **broken):
            try:
                save_in_atomic(model, actor)
            except OperationalError:
                pass
        settle_all()
        stop(Step("COMMIT"), server.commit)
    finally:
        server.rollback()
        server.close()
        if connection.connection is server:  # abandoned before
            connection.connection = None


def read(model, actor):
    try:
        number = model.objects.cache(PK).number
    except model.DoesNotExist:
        number = None
    actor.world.answered(actor, number)


def read_in_atomic(model, actor):
    with atomic():
        read(model, actor)


WRITERS = {
    "save": save,
    "atomic": save_in_atomic,
    "rollback": roll_back,
    "savepoint": roll_back_to_savepoint,
    "create": create,
    "insert": insert,
    "delete": delete,
    "update": update,
    "doubt": be_left_in_doubt,
}
READERS = {"read": read, "read-atomic": read_in_atomic}
STARTS = {"cached", "absent"}  # the row is in the cache; there is no row
FAULTS = {"lost", "killed"}  # the entry, at any time; a writer, any time after its COMMIT


@dataclass
class Case:
    """Who acts, how it starts and what may go wrong, as in "save atomic read cached lost"."""

    name: str
    model: type = Counted
    writers: list = field(default_factory=list)
    readers: list = field(default_factory=list)
    start: str = ""
    faults: set = field(default_factory=set)

    def __post_init__(self):
        for word in self.name.split():
            if word in WRITERS:
                self.writers.append(word)
            elif word in READERS:
                self.readers.append(word)
            elif word in STARTS:
                self.start = word
            elif word in FAULTS:
                self.faults.add(word)
            elif word == "2009":
                self.model = Counted2009
            else:
                words = ", ".join([*WRITERS, *READERS, *sorted(STARTS | FAULTS), "2009"])
                raise ValueError(f"{word!r} is no word of a case; these are: {words}")

    def program(self, word):
        """Return the program `word`, to be run by an actor: a request, settled at its end."""
        run = WRITERS.get(word) or READERS[word]

        def program(actor):
            try:
                run(self.model, actor)
            except IntegrityError:
                pass  # somebody else has made the row meanwhile
            settle_all()

        return program
