"""What the recipe can't cover: system checks that say so, and what to do instead."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections
from django.db.models import Manager, Model, deletion

from .backends import LocalMemoryCache, SwapMixin
from .keys import cached_models, config_of, is_cached
from .manager import HoldingMixin

# Foreign keys that the database itself follows: from Django 6.1 on.
DATABASE_LEVEL = getattr(deletion, "DatabaseOnDelete", ())


@register
def check(**kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with the cached models, their caches and their databases."""
    messages = [*_names(), *_caches(), *_databases()]
    for model in apps.get_models(include_auto_created=True):
        if is_cached(model):
            messages += [*_managers(model), *_parents(model), *_fields(model)]
    return messages


def _managers(model: type[Model]) -> Iterator[CheckMessage]:
    base = model._base_manager
    for manager in {m.name: m for m in (*model._meta.managers, base)}.values():
        if not isinstance(manager.get_queryset(), HoldingMixin):
            yield Error(
                f"{_of(manager, base)} writes rows that are cached, and the cache isn't told.",
                hint="Make it a CacheManager, or one made by CacheManager.from_queryset().",
                obj=model,
                id="caching.E001",
            )
    query = base.get_queryset().query
    if query.where or query.is_sliced or query.distinct or query.combinator:
        yield Error(
            f"{_of(base, base)} leaves rows out, and Django needs all of them.",
            hint="Add a CacheManager that doesn't, and name it in Meta.base_manager_name.",
            obj=model,
            id="caching.E002",
        )


def _of(manager: Manager, base: Manager) -> str:
    return f"The {'base ' if manager is base else ''}manager {manager.name!r}"


def _parents(model: type[Model]) -> Iterator[CheckMessage]:
    links = {parent: link for parent, link in model._meta.parents.items() if link is not None}
    cached = [parent for parent in links if parent in set(cached_models())]
    if len(cached) > 1:
        yield Error(
            f"It has two cached parents: {', '.join(p._meta.label for p in cached)}.",
            hint="A row has one pk. Cache one of them, or none and this model.",
            obj=model,
            id="caching.E003",
        )
    for parent, link in links.items():
        if not link.primary_key:
            yield Error(
                f"It shares its row with {parent._meta.label} under another pk.",
                hint=f"Make the parent link {link.name!r} the primary key.",
                obj=model,
                id="caching.E004",
            )


def _fields(model: type[Model]) -> Iterator[CheckMessage]:
    for field in model._meta.local_fields:
        on_delete = getattr(field.remote_field, "on_delete", None)
        if DATABASE_LEVEL and isinstance(on_delete, DATABASE_LEVEL):
            yield Error(
                "The database itself changes rows that are cached, and the cache isn't told.",
                hint="Use an on_delete of Django's, as in models.CASCADE.",
                obj=field,
                id="caching.E005",
            )
        if field.primary_key and getattr(field, "db_collation", None):
            yield Warning(
                "Under a collation that takes different texts for equal, a row has several keys.",
                hint="Write the pk as it is stored, or use a collation that tells them apart.",
                obj=field,
                id="caching.W001",
            )


def _names() -> Iterator[CheckMessage]:
    names = Counter(
        (config_of(model).cache, config_of(model).prefix, model.__name__)
        for model in cached_models()
    )
    for model in cached_models():
        config = config_of(model)
        if names[config.cache, config.prefix, model.__name__] > 1:
            yield Error(
                "Two cached models have one name, and so one key for different rows.",
                hint='Give one a prefix: CacheManager(prefix="other.").',
                obj=model,
                id="caching.E006",
            )


def _caches() -> Iterator[CheckMessage]:
    for alias in {config_of(model).cache for model in cached_models()}:
        cache = caches[alias]
        if not isinstance(cache, SwapMixin):
            yield Error(
                f"CACHES[{alias!r}] can't compare and swap, which the cached models need.",
                hint=f"Use {SwapMixin.__module__}.MemcachedCache.",
                id="caching.E007",
            )
        elif isinstance(cache, LocalMemoryCache) and not settings.DEBUG:
            yield Error(
                f"CACHES[{alias!r}] is in the memory of one process: others serve stale rows.",
                hint=f"Use {SwapMixin.__module__}.MemcachedCache; this one is for trying out.",
                id="caching.E008",
            )


def _databases() -> Iterator[CheckMessage]:
    said = getattr(settings, "CACHING_SAME_DATABASE", {})
    for one, two in combinations(connections, 2):
        a, b = connections[one].settings_dict, connections[two].settings_dict
        alike = a["ENGINE"] == b["ENGINE"] and a["NAME"] == b["NAME"]
        there = (a["HOST"], str(a["PORT"])) == (b["HOST"], str(b["PORT"]))
        if alike and not there and two not in said and one not in said:
            yield Warning(
                f"Are the databases {one!r} and {two!r} the same one?",
                hint=(
                    f'If so, set CACHING_SAME_DATABASE = {{"{two}": "{one}"}}; '
                    f'if not, {{"{two}": "{two}"}}.'
                ),
                id="caching.W002",
            )
