"""Threads and tasks: each gets the answers to its requests."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache
from django.db import connections
from django.test import SimpleTestCase

from cars.tests.support.caches import MemcachedMixin, empty_cache
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    in_local_memory,
    recorded_outcomes,
)
from cars.tests.support.zoo.models import Plain


class ClientOfThreadTests(MemcachedMixin, SimpleTestCase):
    def test_each_thread_has_another_client(self):
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(lambda: cache._cache).result()
        self.assertIsNot(other, cache._cache)
        self.assertIs(cache._cache, cache._cache)

    def test_concurrent_tasks_read_the_values_they_asked_for(self):
        empty_cache()
        names = [f"name{number}" for number in range(200)]
        cache.set_many({name: name for name in names})  # `caches` is used before the loop starts

        async def get_all():
            get = sync_to_async(cache.get, thread_sensitive=False)
            return await asyncio.gather(*map(get, names))

        for _ in range(5):
            self.assertEqual(async_to_sync(get_all)(), names)


class TaskTests(ClientsTestCase):
    def setUp(self):
        super().setUp()
        self.rows = [Plain.objects.create(name=f"name {number}") for number in range(50)]
        self.names = {row.pk: row.name for row in self.rows}
        Plain.objects.cache(self.plain.pk)  # `caches` is used before the loop starts

    def test_concurrent_acache_gives_each_task_the_row_it_asked_for(self):
        async def read_all():
            return await asyncio.gather(*(Plain.objects.acache(pk) for pk in self.names))

        for row, name in zip(async_to_sync(read_all)(), self.names.values(), strict=True):
            self.assertEqual(row.name, name)

    def test_concurrent_reads_in_threads_give_each_the_row_it_asked_for(self):
        def name(pk):
            try:
                return Plain.objects.cache(pk).name
            finally:
                connections.close_all()

        async def read_all():
            read = sync_to_async(name, thread_sensitive=False)
            return await asyncio.gather(*map(read, self.names))

        for cold in (False, True):
            if cold:
                empty_cache()
            self.assertEqual(async_to_sync(read_all)(), list(self.names.values()))

    def test_acache_many_returns_rows_by_pk_in_the_order_of_the_pks(self):
        pks = [self.rows[3].pk, self.plain.pk + 1000, self.rows[1].pk]
        found = async_to_sync(Plain.objects.acache_many)(pks)
        self.assertEqual([row.name for row in found.values()], ["name 3", "name 1"])

    def test_acache_raises_what_cache_raises(self):
        with self.assertRaises(Plain.DoesNotExist):
            async_to_sync(Plain.objects.acache)(self.plain.pk + 1000)

    def test_asave_releases_and_its_task_gets_the_events(self):
        async def rename():
            with recorded_outcomes() as outcomes:
                self.plain.name = "new"
                await self.plain.asave()
                return (await Plain.objects.acache(self.plain.pk)).name, outcomes

        self.assertEqual(async_to_sync(rename)(), ("new", ["filled", "hit"]))
        self.assertIsNotNone(entry_under(self.key))


@in_local_memory
class LocalMemoryTaskTests(TaskTests):
    pass
