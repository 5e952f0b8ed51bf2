"""System checks: what is missing in the project, what can't be covered, and what to do instead."""

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import combinations
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, router
from django.db.models import Manager, Model, deletion

from .backends import LocalMemoryCache, MemcachedCache
from .entries import SwapCache
from .queryset import CacheQuerySet
from .registry import cached_models, config_of, is_cached, names_of, sharing

# Foreign keys that the database itself follows: from Django 6.1 on.
DATABASE_LEVEL = getattr(deletion, "DatabaseOnDelete", ())

MEMCACHED = f"{__package__}.backends.MemcachedCache"


def register_all() -> None:
    """Register the checks with Django; those of production run with `check --deploy` only."""
    register(check)
    register(check_production, deploy=True)
    register(check_tables, Tags.database, deploy=True)


def check(**kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with the cached models, their caches and their databases."""
    messages = [*_names(), *_caches(), *_databases()]
    for model in apps.get_models(include_auto_created=True):
        if is_cached(model):
            messages += [*_managers(model), *_parents(model), *_fields(model)]
    return messages


def check_production(**kwargs: Any) -> list[CheckMessage]:
    """Return what production needs: a cache that all processes share, and that can swap."""
    return [*_caches(Error)]


def check_tables(databases: Collection[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return which of `databases` have no table for what is owed: for `check --database ALIAS`."""
    table = apps.get_model("caching", "Owed")._meta.db_table
    return [
        Error(
            f"The database {alias!r} has no table {table}: what a writer can't tell Memcached is "
            "lost, and the old row is served.",
            hint=f"Run: manage.py migrate caching --database {alias}",
            id="caching.E013",
        )
        for alias in databases or ()
        if any(router.allow_migrate_model(alias, model) for model in cached_models())
        if table not in connections[alias].introspection.table_names()
    ]


def check_installation(model: type[Model]) -> list[CheckMessage]:
    """Return what is missing where the app isn't installed, so that `check` doesn't run.

    Each cached `model` asks; the first one gets the answer.
    """
    if apps.is_installed(__package__) or model is not next(iter(cached_models()), None):
        return []
    app = Error(
        f"{__package__!r} is not in INSTALLED_APPS: its checks and commands are missing, and "
        "transactions are not settled at the end of a request.",
        hint=f'Add "{__package__}" to INSTALLED_APPS, before the apps with models.',
        id="caching.E009",
    )
    return [app, *_caches()]


# The models


def _managers(model: type[Model]) -> Iterator[CheckMessage]:
    base = model._base_manager
    failed = False
    for manager in model._meta.managers:
        for message in _manager(model, manager):
            failed = True
            yield message
    # The base manager is often one of the others, or holds when these are right.
    if not failed and base.name not in {manager.name for manager in model._meta.managers}:
        yield from _manager(model, base)
    query = base.get_queryset().query if not failed else None
    if query and (query.where or query.is_sliced or query.distinct or query.combinator):
        yield Error(
            f"The base manager {base.name!r} leaves rows out, and Django needs all of them.",
            hint="Add a CacheManager that doesn't, and name it in Meta.base_manager_name.",
            obj=model,
            id="caching.E002",
        )


def _manager(model: type[Model], manager: Manager[Any]) -> Iterator[CheckMessage]:
    try:
        queryset = manager.get_queryset()
    except Exception as error:
        yield Error(
            f"get_queryset() of the manager {manager.name!r} raises {error!r}.",
            hint="Let it return a QuerySet outside of a request too: Django's own writes use it.",
            obj=model,
            id="caching.E010",
        )
        return
    if not isinstance(queryset, CacheQuerySet):
        name = f"The manager {manager.name!r}"
        hint = "Make it a CacheManager, or one made by CacheManager.from_queryset()."
        if model._meta.auto_created:
            owner: Any = model._meta.auto_created
            name = f"The table that Django made for {owner._meta.label}"
            hint = "Declare the table as a model with a CacheManager, and name it in through=."
        elif manager is model._base_manager:
            name = f"The base manager {manager.name!r}"
            hint = "Name a CacheManager that leaves no rows out in Meta.base_manager_name."
        yield Error(
            f"{name} writes rows that are cached, and the cache isn't told.",
            hint=hint,
            obj=model,
            id="caching.E001",
        )


def _parents(model: type[Model]) -> Iterator[CheckMessage]:
    links = {parent: link for parent, link in model._meta.parents.items() if link is not None}
    if len(links) > 1:
        labels = " and ".join(parent._meta.label for parent in links)
        yield Error(
            f"It has several parents, {labels}: a row of it is known by several pks.",
            hint=(
                "Have one parent, and a OneToOneField without parent_link to each other one; or "
                "cache none of these models."
            ),
            obj=model,
            id="caching.E003",
        )
    for twin in sharing(model):
        pks = [[field.column for field in m._meta.pk_fields] for m in (model, twin)]
        if twin._meta.db_table == model._meta.db_table and pks[0] != pks[1]:
            yield Error(
                f"It shares the table of {twin._meta.label} with another pk: its writes hold "
                "other rows than they change.",
                hint="Give both the same primary key.",
                obj=model,
                id="caching.E012",
            )
    for parent, link in links.items():
        if len(links) == 1 and not link.primary_key:
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
                hint="Use an on_delete that Django carries out, for example models.CASCADE.",
                obj=field,
                id="caching.E005",
            )
        if field.primary_key and getattr(field, "db_collation", None):
            yield Warning(
                "Under a collation that takes different strings for equal, a row has several keys.",
                hint="Write the pk as it is stored, or use a collation that tells them apart.",
                obj=field,
                id="caching.W001",
            )


def _names() -> Iterator[CheckMessage]:
    names = Counter(names_of(model) for model in cached_models())
    for model in cached_models():
        if names[names_of(model)] > 1:
            yield Error(
                "Two cached models have the same name, and so the same keys for different rows.",
                hint='Give one of them a prefix: CacheManager(prefix="other.").',
                obj=model,
                id="caching.E006",
            )


# The caches


def _caches(level: type[Error] | type[Warning] = Warning) -> Iterator[CheckMessage]:
    """Yield what is wrong with the caches: warnings, or errors where that is production."""
    for alias in sorted({config_of(model).cache for model in cached_models()}):
        cache = caches[alias]
        if isinstance(cache, DummyCache):  # Django's way to switch caching off
            continue
        if not isinstance(cache, SwapCache):
            yield level(
                f"CACHES[{alias!r}] can't compare and swap: cached models are read from the "
                "database.",
                hint=f'Use "BACKEND": "{MEMCACHED}", "LOCATION": "127.0.0.1:11211".',
                id="caching.E007" if level is Error else "caching.W003",
            )
        elif isinstance(cache, MemcachedCache) and not any(cache._servers):
            yield level(
                f"CACHES[{alias!r}] has no LOCATION: cached models are read from the database.",
                hint='Add the address of Memcached, for example "LOCATION": "127.0.0.1:11211".',
                id="caching.E011" if level is Error else "caching.W005",
            )
        elif isinstance(cache, LocalMemoryCache) and not settings.DEBUG:
            yield level(
                f"CACHES[{alias!r}] is in the memory of one process: others serve stale rows.",
                hint=f'Use "BACKEND": "{MEMCACHED}" where more than one process runs.',
                id="caching.E008" if level is Error else "caching.W004",
            )


# The databases


def _databases() -> Iterator[CheckMessage]:
    answered = getattr(settings, "CACHING_SAME_DATABASE", {})
    for one, two in combinations(connections, 2):
        a, b = connections[one].settings_dict, connections[two].settings_dict
        if one not in answered and two not in answered and (reason := _doubt(a, b)):
            yield Warning(
                f"Are the databases {one!r} and {two!r} the same one? {reason}",
                hint=(
                    f'If so, set CACHING_SAME_DATABASE = {{"{two}": "{one}"}}; '
                    f'if not, {{"{two}": "{two}"}}.'
                ),
                id="caching.W002",
            )


def _doubt(a: dict[str, Any], b: dict[str, Any]) -> str:
    """Return why two configurations don't say whether it is the same database; "" if they do."""

    def differ(*parts: str) -> bool:
        return any(str(a[part]) != str(b[part]) for part in parts)

    if differ("ENGINE"):
        return ""
    by_service = any("service" in c["OPTIONS"] and not c["NAME"] for c in (a, b))
    if by_service and differ("HOST", "PORT", "NAME", "OPTIONS"):
        return "A service says where it is."
    if differ("NAME"):
        return ""
    if differ("HOST", "PORT"):
        return "They have one name, under different hosts or ports."
    if differ("USER", "OPTIONS"):
        return "They differ in USER or OPTIONS, which can choose another schema or service."
    return ""
