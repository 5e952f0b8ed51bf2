"""The alphabetical order of names: without regard to case, and with Škoda under S."""

from django.db.models import CharField, Func


class Alphabetical(Func):
    """What to order a text field by.

    The letters are those that names of cars begin with. The SQL has no parameters, so that an index
    on the same expression serves it.
    """

    template = "LOWER(REPLACE(REPLACE(%(expressions)s, 'Š', 'S'), 'Ö', 'O'))"
    output_field = CharField()
    arity = 1


BY_NAME = (Alphabetical("make"), Alphabetical("model"), "pk")
