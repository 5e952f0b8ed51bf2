"""Tests and a running site share a Memcached, and neither sees the other's rows."""

import os
import subprocess
import sys
import tempfile
from unittest import skipUnless

from django.conf import settings
from django.test import SimpleTestCase, tag
from pymemcache.client.base import normalize_server_spec

from cars.caching.backends import listing
from cars.caching.backends.client import SafeClient
from cars.lab import servers

from .test_demo import Demo

PKS = range(1, 26)  # cars in the tests have these pks too


@tag("any-database")
@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class IsolationTests(SimpleTestCase):
    """Starts a Memcached, a site and a test run."""

    def setUp(self):
        memcached = self.enterContext(servers.memcached())
        self.memcached = SafeClient(normalize_server_spec(memcached))
        self.addCleanup(self.memcached.close)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.environ = {
            **os.environ,
            "DJANGO_DEBUG": "on",
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "MEMCACHED_SERVERS": memcached,
        }
        self.site = Demo([], self.environ)
        self.addCleanup(self.site.end)
        self.site.wait_until_it_serves()

    def contents(self):
        """Return all values in Memcached, by key."""
        return self.memcached.get_many([item.key for item in listing.items(self.memcached)])

    def run_tests(self, *options):
        """Run tests that write and read cars, with the site's Memcached."""
        command = [sys.executable, settings.BASE_DIR / "manage.py", "test", *options]
        result = subprocess.run(
            [*command, "cars.tests.recipe.test_recipe"],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_neither_the_site_nor_the_tests_see_a_row_of_the_other(self):
        for pk in PKS:
            self.site.get(f"/cars/{pk}/").close()
        site_rows = self.contents()
        self.assertGreaterEqual(len(site_rows), len(PKS))
        for options in [], ["--parallel", "2"]:
            with self.subTest(options=options):
                self.run_tests(*options)
                contents = self.contents()
                test_keys = [key for key in contents if key.startswith("test-")]
                self.assertGreater(len(test_keys), 0)
                for key in test_keys:
                    self.memcached.delete(key)
                    del contents[key]
                self.assertEqual(contents, site_rows)
