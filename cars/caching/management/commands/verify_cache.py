"""Compare what is cached with the database."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from ... import verify
from ...entries import ListingError, State
from ...registry import CachedModel
from ..progress import progress

OTHERS = (State.LEASE, State.HOLDS, State.OTHER, State.NOTHING, State.NO_ANSWER)
SHOWN = 10  # keys of stale rows, of each model


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
        self.counts: dict[CachedModel, Counter[str]] = {}
        self.stale: dict[CachedModel, list[str]] = {}  # the first keys of each model
        by_cache: dict[str, list[CachedModel]] = {}
        for cached in verify.all_cached(database):
            self.counts[cached], self.stale[cached] = Counter(), []
            by_cache.setdefault(cached.config.cache, []).append(cached)
        unlisted = {alias for alias, models in by_cache.items() if not self._list(alias, models)}
        for cached in self.counts:
            self._compare(cached, sample)
            self._report(cached)
        if stale := sum(counts[verify.STALE] for counts in self.counts.values()):
            raise CommandError(
                f"{stale} stale. Were they written by SQL that Django doesn't see? Tell the cache "
                "with Model.objects.expire(pks)."
            )
        if unlisted:
            raise CommandError(
                "Not every cache lists its rows, so cached rows that the database doesn't have may "
                "have been missed."
            )

    def _list(self, alias: str, models: list[CachedModel]) -> bool:
        """Look for cached rows that the database doesn't have; return whether all were listed."""
        with progress(None, f"CACHES[{alias!r}]", "row") as advance:
            try:
                for cached, pks in verify.listed(models):
                    self._note(cached, dict.fromkeys(verify.deleted(cached, pks), verify.STALE))
                    advance(len(pks))
            except ListingError as error:
                self.stderr.write(f"CACHES[{alias!r}]: {error}")
                return False
        return True

    def _compare(self, cached: CachedModel, sample: int | None) -> None:
        """Compare the rows that the database has with what is cached of them."""
        rows = verify.count(cached, sample)
        with progress(rows, cached.model.__name__, "row") as advance:
            for pks in verify.chunks(cached, sample):
                self._note(cached, verify.compare(cached, pks))
                advance(len(pks))

    def _note(self, cached: CachedModel, outcomes: dict[str, str]) -> None:
        self.counts[cached].update(outcomes.values())
        stale = [key for key, what in outcomes.items() if what == verify.STALE]
        self.stale[cached] = (self.stale[cached] + stale)[:SHOWN]

    def _report(self, cached: CachedModel) -> None:
        counts = self.counts[cached]
        rows = ", ".join(f"{counts[what]} {what}" for what in (verify.FRESH, verify.STALE))
        others = ", ".join(f"{counts[state]} {state}" for state in OTHERS)
        self.stdout.write(f"{cached.model._meta.label} ({cached.alias}): {rows}; {others}")
        for key in self.stale[cached]:
            self.stdout.write(f"  stale: {key}")
