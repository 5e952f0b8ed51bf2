"""Walk the interleavings of readers and writers of one row."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from tqdm import tqdm

from cars.lab.walks.database import test_database


class Command(BaseCommand):
    help = (
        "Run the caching recipe under every interleaving of a few readers and writers of one row, "
        "in a test database beside that of DATABASE_URL. On PostgreSQL transactions stand side by "
        "side; on SQLite one waits for the other. A case is written in words, as in "
        "'save atomic read cached lost'."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--case", action="append", help="which (again for more); a list of them"
        )
        parser.add_argument("--schedules", type=int, metavar="N", help="N of each, at random; all")
        parser.add_argument("--seed", type=int, default=0, help="of the random ones; 0")
        parser.add_argument("--replay", type=int, metavar="NUMBER", help="run that schedule again")
        parser.add_argument("--without", metavar="RULE", help="switch that rule of the design off")

    def handle(self, *args: Any, **options: Any) -> None:
        with test_database():
            from cars.lab.walks import cases  # needs the lab's models

            names = options["case"]
            names = names or [*cases.ONE_WRITER, *cases.TWO_WRITERS, *cases.TWO_AND_TWO]
            wrong = [name for name in names if self.walk(name, **options)]
        if wrong:
            raise CommandError(f"Something is wrong in: {'; '.join(wrong)}")

    def walk(self, name: str, **options: Any) -> bool:
        """Walk the case `name`, print what was found, and return whether anything is wrong."""
        from cars.lab.walks.determined import world
        from cars.lab.walks.rules import RULES, without
        from cars.lab.walks.walk import replay, walk_all, walk_some

        rule, schedules = options["without"], options["schedules"]
        if rule and rule not in RULES:
            raise CommandError(f"There is no rule {rule!r}; there are: {', '.join(RULES)}")
        try:
            with (
                without(rule),
                world(name) as its,
                tqdm(total=schedules, desc=name, leave=False) as bar,
            ):
                if options["replay"] is not None:
                    findings = replay(its, options["replay"])
                    self.stdout.write("\n".join(its.steps))
                elif schedules:
                    findings = walk_some(its, schedules, options["seed"], bar.update)
                else:
                    findings = walk_all(its, bar.update)
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{findings}\n{findings.explain()}".strip())
        return bool(findings.wrong)
