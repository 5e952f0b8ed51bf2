"""Compare what is cached with the database."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from tqdm import tqdm

from ... import verify


class Command(BaseCommand):
    """The command `verify_cache`."""

    help = "Compare what is cached with the database; exit with status 1 if anything is stale."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--sample",
            type=int,
            metavar="N",
            help="compare N rows of each model, drawn at random, instead of all",
        )

        parser.add_argument(
            "--database",
            choices=list(connections),
            help="the database to compare with, instead of the one that each model is written to",
        )

    def handle(self, *args: Any, sample: int | None, database: str | None, **options: Any) -> None:
        if sample is not None and sample < 1:
            raise CommandError("--sample takes a number of rows, 1 or more.")
        stale = 0
        for table in verify.tables(database):
            outcomes = self._compare(table, sample)
            counts = Counter(outcomes.values())
            stale += counts[verify.STALE]
            figures = ", ".join(f"{counts[what]} {what}" for what in verify.OUTCOMES)
            self.stdout.write(f"{table.model._meta.label} ({table.alias}): {figures}")
            for key in [key for key, what in outcomes.items() if what == verify.STALE][:10]:
                self.stdout.write(f"  stale: {key}")
        if stale:
            raise CommandError(
                f"{stale} stale. Were they written past Django? Tell the cache by "
                "Model.objects.expire(pks)."
            )

    def _compare(self, table: verify.Table, sample: int | None) -> dict[str, str]:
        outcomes: dict[str, str] = {}
        rows = verify.count(table, sample)
        with tqdm(total=rows, desc=table.model.__name__, unit="row", disable=None) as bar:
            for pks in verify.chunks(table, sample):
                outcomes |= verify.compare(table, pks)
                bar.update(min(len(pks), rows - bar.n))
        return outcomes
