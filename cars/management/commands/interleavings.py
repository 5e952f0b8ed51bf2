"""Walk the interleavings of readers and writers of one row."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from tqdm import tqdm

from cars.lab.walks.database import test_database


class Command(BaseCommand):
    help = (
        "Run the caching recipe under every interleaving of a few readers and writers of one row, "
        "in a test database beside that of DATABASE_URL. On PostgreSQL two transactions can be "
        "open at the same time; on SQLite one waits for the other. A case is a list of words, for "
        "example 'save atomic read cached lost' or 'save read-looked no-answer'."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--case",
            action="append",
            help="the case to walk; can be given several times (default: those that the tests "
            "walk, or with --without the one that needs the rule)",
        )
        parser.add_argument(
            "--schedules",
            type=int,
            metavar="N",
            help="walk N schedules of each case, chosen at random (default: all)",
        )
        parser.add_argument("--seed", type=int, default=0, help="for --schedules (%(default)s)")
        parser.add_argument("--replay", type=int, metavar="NUMBER", help="run that schedule again")
        parser.add_argument(
            "--without", metavar="RULE", help="switch that rule of the protocol off"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with test_database():
            from cars.lab.walks import cases  # needs the lab's models
            from cars.lab.walks.rules import RULES

            rule, names = options["without"], options["case"]
            if rule and rule not in RULES:
                raise CommandError(f"There is no rule {rule!r}. The rules are: {', '.join(RULES)}.")
            if not names and rule:
                names = [cases.CATCHES[rule]]
            names = names or [
                *cases.ONE_WRITER,
                *cases.OUTAGES,
                *cases.TWO_WRITERS,
                *cases.TWO_WRITERS_WITH_A_LOSS,
                *cases.TWO_AND_TWO,
                *cases.TWO_AND_TWO_WITH_A_ROLLBACK,
            ]
            wrong = [name for name in names if self.walk(name, **options)]
        if wrong:
            found = f"Without {rule!r}, as expected, something" if rule else "Something"
            raise CommandError(f"{found} is wrong in: {'; '.join(wrong)}")

    def walk(self, name: str, **options: Any) -> bool:
        """Walk the case `name`, print what was found, and return whether anything is wrong."""
        from cars.lab.walks.cases import CATCHES
        from cars.lab.walks.determined import determined_world
        from cars.lab.walks.rules import without
        from cars.lab.walks.walk import replay, walk_all, walk_some

        rule, schedules = options["without"], options["schedules"]
        try:
            with (
                without(rule),
                determined_world(name) as world,
                tqdm(total=schedules, desc=name, leave=False) as bar,
            ):
                if options["replay"] is not None:
                    findings = replay(world, options["replay"])
                    self.stdout.write("\n".join(world.steps))
                elif schedules:
                    findings = walk_some(world, schedules, options["seed"], bar.update)
                else:
                    findings = walk_all(world, bar.update)
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{findings}\n{findings.explain()}".strip())
        if rule and not findings.wrong:
            self.stdout.write(f"Nothing was found for the case '{name}' without '{rule}'.")
            if name != CATCHES[rule]:
                self.stdout.write(f"The case '{CATCHES[rule]}' needs that rule.")
        return bool(findings.wrong)
