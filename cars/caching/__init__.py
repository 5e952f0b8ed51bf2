"""Django objects in Memcached, kept up to date by signals: the recipe.

Put `objects = CacheManager()` on a model. Then `Model.objects.cache(pk)` reads through the cache,
and saves, deletes and updates keep the cache up to date. To use it in another project, copy this
folder. It needs Django, pymemcache and msgspec.

What is where, in reading order; in this first list each module imports only modules further down:

    hooks          which classes and signals hold and release; the end of a request
    manager        CacheManager: cache, cache_many, expire, forget
    queryset       the QuerySet whose mass writes hold
    reads          a read, in a transaction or without
    transactions   when holds are taken, released and withdrawn
    owed           what couldn't be withdrawn, since the server didn't answer
    records        the table of what is owed
    protocol       look up, fill, hold, release, withdraw: the rules that keep rows from being stale
    entries        what stands under a key: nothing, a row, a lease or holds

The rest is detail, which these import:

    models         the model of what is owed
    checks         system checks: what is missing, and what can't be covered
    inspection     what stands under a key now
    verify         what is cached, compared with the database
    backends/      Django cache backends that can compare and swap
    selects        the SELECT of rows by pk, compiled once
    rows/          values packed, fingerprints, instances
    registry       which models are cached, and which share a row
    keys           the key of a row, made from its pk
    databases      which aliases lead to the same database
    events         what happened, for listeners
    testing        a mixin for the tests of a project
    management/    the command verify_cache

The path of five things: the functions that they call, in the order of their first call. Shown are
those of manager, queryset, reads, transactions and protocol. The names in lower case without a
module are the calls that reach the cache.

a hit:
    CacheManager.cache, manager._is_none, CacheManager._cached, reads.read_one,
    protocol.look_up, get
a miss with its fill:
    CacheManager.cache, manager._is_none, CacheManager._cached, reads.read_one,
    protocol.look_up, get, reads._read_misses, transactions.current, transactions.settle,
    protocol.read_misses, protocol._take_leases, protocol.setting, swap_and_look, protocol.fill,
    protocol._packed, cas_many
a save in autocommit:
    transactions.before_save, transactions.current, transactions.settle, Writer.__init__,
    Writer.hold, Writer._hold, protocol.hold, protocol.setting, protocol._change, gets_many,
    protocol.add_holds, swap_and_look, transactions.after_save, transactions._end_save,
    transactions.withdraw_saves, Writer.tell_committed, Writer.end, protocol.release,
    protocol.release_holds, protocol.fill_or_log, protocol.fill, protocol._packed, cas_many
an update() in a transaction:
    CacheQuerySet.update, queryset._holding, queryset._Returning.__call__,
    queryset._Returning.fetch, transactions.hold, transactions.current, transactions.settle,
    Transaction.__init__, Writer.__init__, Transaction.listen, Transaction.is_registered,
    Writer.hold, Writer._hold, protocol.hold, protocol.setting, protocol._change, gets_many,
    protocol.add_holds, swap_and_look, Transaction.finish, Transaction.is_left_behind,
    Writer.tell_committed, Writer.end, protocol.release, protocol.release_holds,
    protocol.fill_or_log, protocol.fill, protocol._packed, cas_many
a savepoint rolled back:
    transactions.before_save, transactions.current, transactions.settle, Transaction.__init__,
    Writer.__init__, Transaction.listen, Transaction.is_registered, Writer.hold, Writer._hold,
    protocol.hold, protocol.setting, protocol._change, gets_many, protocol.add_holds,
    swap_and_look, transactions.after_save, Transaction.outcome, Transaction.is_left_behind,
    Writer.has_lost_its_connection, transactions.settle_all, Writer.end, protocol.withdraw,
    protocol.remove_holds, protocol._without, cas_many, transactions.withdraw_saves
"""

# Copyright (c) the authors of carsite. All rights reserved.
# Licensed under the BSD 3-Clause License: see the file LICENSE in this folder.

from . import hooks
from .manager import CacheManager

__all__ = ["CacheManager", "__version__", "hooks"]
__version__ = "1.0"
