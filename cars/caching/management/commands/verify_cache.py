"""Compare what is cached with the database."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from ... import verify
from ...entries import State
from ...registry import CachedModel
from ..progress import progress

OTHERS = (State.LEASE, State.HOLDS, State.OTHER, State.NOTHING)


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
        for cached in verify.all_cached(database):
            outcomes = self._compare(cached, sample)
            counts = Counter(outcomes.values())
            stale += counts[verify.STALE]
            rows = ", ".join(f"{counts[what]} {what}" for what in (verify.FRESH, verify.STALE))
            others = ", ".join(f"{counts[state]} {state}" for state in OTHERS)
            self.stdout.write(f"{cached.model._meta.label} ({cached.alias}): {rows}; {others}")
            for key in [key for key, what in outcomes.items() if what == verify.STALE][:10]:
                self.stdout.write(f"  stale: {key}")
        if stale:
            raise CommandError(
                f"{stale} stale. Were they written by SQL that Django doesn't see? Tell the cache "
                "with Model.objects.expire(pks)."
            )

    def _compare(self, cached: CachedModel, sample: int | None) -> dict[str, str]:
        outcomes: dict[str, str] = {}
        rows = verify.count(cached, sample)
        with progress(rows, cached.model.__name__, "row") as advance:
            for pks in verify.chunks(cached, sample):
                outcomes |= verify.compare(cached, pks)
                advance(len(pks))
        return outcomes
