"""Comparing what the cache serves with the database, during one test."""

from collections.abc import Iterable
from functools import cache as memoize

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, QuerySet

from cars.caching.events import FILLED, Event
from cars.caching.protocol import look_up_many
from cars.caching.reads import read_many
from cars.caching.registry import cached_model, cached_models
from cars.caching.rows import is_same


class Comparison:
    """Compares what the cache serves with the database, for a test of the app `label`.

    It is a listener of the recipe's events, and so knows which entries the test has filled.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.filled: dict[type[Model], set[str]] = {}
        self.rows = 0  # compared so far

    def __call__(self, event: Event) -> None:
        """Note the entry that is filled."""
        if event.outcome == FILLED:
            self.filled.setdefault(event.model, set()).add(event.key)

    def warm(self, aliases: Iterable[str]) -> list[str]:
        """Read all rows of the app through the cache; return what differs from the database."""
        own = [
            model
            for model in apps.get_models(include_auto_created=True)
            if model._meta.app_label == self.label and model in cached_models()
        ]
        return self._compare(aliases, {model: set() for model in own})

    def compare(self, aliases: Iterable[str]) -> list[str]:
        """Compare the models that have an entry filled; return what differs.

        Their rows are read through the cache, and the entries that were filled are looked at, so
        that the row of a deleted pk is found too.
        """
        return self._compare(aliases, dict(self.filled))

    def _compare(self, aliases: Iterable[str], filled: dict[type[Model], set[str]]) -> list[str]:
        differences = []
        for alias in sorted(aliases):
            if connections[alias].needs_rollback:
                continue  # the test has left a transaction that takes no more queries
            for model, keys in filled.items():
                if model._meta.db_table in _tables(alias):
                    differences += self._differences(model, alias, keys)
        return differences

    def _differences(self, model: type[Model], alias: str, keys: set[str]) -> list[str]:
        cached = cached_model(model, alias)
        # Django's own QuerySet leaves no rows out, and knows nothing of the cache.
        found: list[Model] = list(QuerySet(model, using=alias).order_by())
        if not found and not keys:
            return []
        self.rows += len(found)
        rows = {cached.key(row.pk): row for row in found}
        # What cache_many() calls; it takes only pks that can be hashed, as in_bulk() does, and some
        # managers refuse it.
        served = read_many(cached, {key: row.pk for key, row in rows.items()})
        # A key ends in the alias of its database, unless that is the default one.
        database = "" if alias == DEFAULT_DB_ALIAS else alias
        own = {key for key in keys if key.partition("@")[2] == database}
        standing = look_up_many(cached, own - served.keys())
        return [
            *(f"{key} isn't served" for key in rows.keys() - served.keys()),
            *(f"{key} is served, but it was deleted" for key in standing if key not in rows),
            *(
                f"{key} is served with {values(served[key])}, but is {values(rows[key])}"
                for key in rows.keys() & served.keys()
                if not is_same(values(served[key]), values(rows[key]))
            ),
        ]


def values(row: Model) -> dict[str, object]:
    """Return the values of the fields of `row` as they came from the database."""
    return {field.attname: row.__dict__[field.attname] for field in row._meta.concrete_fields}


@memoize
def _tables(alias: str) -> frozenset[str]:
    """Return the tables of the database; those that a test makes later are not compared."""
    return frozenset(connections[alias].introspection.table_names())
