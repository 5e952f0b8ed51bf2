"""Makes the database of a run: `python -m cars.lab.faults.prepare ROWS` writes that many cars."""

import sys

import django
from django.core.management import call_command


def prepare(rows: int) -> None:
    """Create the tables, the account of the demo, and `rows` cars."""
    from cars.management.commands.demo import make_account
    from cars.models import Car

    from .database import MAKE, model_of

    call_command("migrate", verbosity=0)
    make_account()
    Car.objects.bulk_create(Car(make=MAKE, model=model_of(0)) for _ in range(rows))


if __name__ == "__main__":
    django.setup()
    prepare(int(sys.argv[1]))
