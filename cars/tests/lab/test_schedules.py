from copy import deepcopy
from inspect import isclass, isroutine
from threading import Thread

from django.conf import settings
from django.core.cache import caches
from django.db import connection, connections
from django.test import TransactionTestCase

from cars.caching import entries, protocol, transactions
from cars.lab.schedules.world import open_world
from cars.lab.walks.determined import determined


def recipe():
    """Return what the modules of the protocol define, and the methods of their classes."""
    found = {}
    for module in (protocol, transactions, entries):
        for name, value in vars(module).items():
            found[module.__name__, name] = value
            if isclass(value) and value.__module__ == module.__name__:
                found |= {
                    (module.__name__, name, attribute): method
                    for attribute, method in vars(value).items()
                    # Others can appear at any time: pickle adds `__slotnames__` to a class.
                    if isroutine(method) or isinstance(method, property)
                }
    return found


def process():
    """Return what a schedule must not change, to be compared by identity."""
    connection = connections["default"]
    return recipe() | {
        "CACHES": settings.CACHES,
        "cache": caches["default"],
        "class of the cache": type(caches["default"]),
        "connection": connection,
        "database": connection.settings_dict,
        "COMMIT": connection._commit.__func__,
        "ROLLBACK": connection._rollback.__func__,
        "wrappers": tuple(connection.execute_wrappers),
    }


class SchedulesTests(TransactionTestCase):
    def assert_untouched(self, before):
        after = process()
        self.assertEqual(after.keys(), before.keys())
        touched = [name for name in before if after[name] is not before[name]]
        self.assertEqual(touched, [])

    def test_a_schedule_runs_with_a_real_clock_and_leaves_its_process_untouched(self):
        before, caches_setting = process(), deepcopy(settings.CACHES)
        with open_world("atomic read cached") as world:
            world.start()
            self.assert_untouched(before)
            while world.able:
                world.take(world.able[0])
                self.assert_untouched(before)
            self.assertEqual(settings.CACHES, caches_setting)
        self.assert_untouched(before)
        self.assertEqual(world.problems, [])
        self.assertEqual((world.committed, world.entry.number), (1, 1))

    def test_an_actor_that_waits_for_the_lock_of_another_fails(self):
        limit = {"sqlite": "PRAGMA busy_timeout", "postgresql": "SHOW lock_timeout"}
        with open_world("atomic save") as world:
            world.start()
            with world.by_name["save2"].connection.cursor() as cursor:
                cursor.execute(limit[connection.vendor])
                self.assertIn(cursor.fetchone()[0], (1000, "1s"))  # else the test could hang
            while not world.lock:
                world.take("atomic1")
            while "save2" in world.able:
                world.take("save2")
            self.assertEqual(world.problems, [])
            world.take("save2")  # which would wait
        self.assertEqual(world.problems[0], "error")
        self.assertIn("lock", world.steps[-1])

    def test_a_schedule_leaves_other_threads_untouched(self):
        seen = []

        def look():
            seen.append((type(caches["default"]), "_commit" in vars(connections["default"])))
            connections["default"].close()

        with open_world("atomic read") as world:
            world.start()
            thread = Thread(target=look)
            thread.start()
            thread.join()
        self.assertEqual(seen, [(type(caches["default"]), False)])

    def test_the_patches_of_a_walk_are_noticed(self):
        before = process()
        with determined(), self.assertRaises(AssertionError):
            self.assert_untouched(before)
        self.assert_untouched(before)
