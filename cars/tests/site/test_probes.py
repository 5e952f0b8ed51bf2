"""What other programs ask: /healthz, /readyz and /metrics."""

import re
from contextlib import ExitStack
from unittest import skipUnless
from unittest.mock import patch

from django.db import OperationalError, connections
from django.test import Client, SimpleTestCase, TestCase, modify_settings, override_settings

from cars.lab import servers
from cars.models import Car
from cars.tests.support.caches import empty_cache


class HealthTests(SimpleTestCase):  # which may send no query
    @override_settings(MEMCACHED_SERVERS=["127.0.0.1:1"])
    def test_the_site_is_alive_without_database_and_cache(self):
        answer = self.client.get("/healthz")
        self.assertEqual((answer.status_code, answer.json()), (200, {"status": "ok"}))
        self.assertEqual(answer["Cache-Control"], "no-store")

    @override_settings(SECURE_SSL_REDIRECT=True, ALLOWED_HOSTS=["cars.example.com"])
    def test_a_probe_needs_no_https_and_may_name_any_host(self):
        client = Client(headers={"host": "10.0.0.1"})
        self.assertEqual(client.get("/healthz").status_code, 200)
        with self.assertLogs("django.security"):
            self.assertEqual(client.get("/").status_code, 400)

    def test_a_post_is_no_probe(self):
        self.assertEqual(self.client.post("/healthz").status_code, 404)


class ReadyTests(TestCase):
    def ready(self, *addresses):
        """Return the status code and the JSON of /readyz, with Memcached at `addresses`."""
        with override_settings(MEMCACHED_SERVERS=list(addresses)):
            answer = self.client.get("/readyz")
        return answer.status_code, answer.json()

    def test_without_memcached_servers_only_the_database_is_asked(self):
        with self.assertNumQueries(1):
            self.assertEqual(
                self.ready(),
                (200, {"status": "ready", "database": "reachable", "cache": "reachable"}),
            )

    @skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
    def test_with_a_memcached_away_the_site_is_degraded(self):
        away = f"127.0.0.1:{servers.free_port()}"
        with ExitStack() as stack:
            here = stack.enter_context(servers.memcached())
            self.assertEqual(self.ready(here)[1]["status"], "ready")
            with self.assertLogs("carsite.probes", "WARNING"):
                code, answer = self.ready(here, away)
        self.assertEqual((code, answer["status"]), (200, "degraded"))
        self.assertEqual(answer["cache"], "1 of 2 servers are away")

    def test_with_the_database_away_the_site_is_unavailable(self):
        error = OperationalError("connection refused")
        with (
            patch.object(connections["default"], "cursor", side_effect=error),
            self.assertLogs("carsite.probes", "WARNING"),
            self.assertLogs("django.request", "ERROR"),
        ):
            code, answer = self.ready()
        self.assertEqual((code, answer["status"]), (503, "unavailable"))
        self.assertEqual(answer["database"], "unreachable")


@override_settings(METRICS_TOKEN="secret")
@modify_settings(MIDDLEWARE={"append": "carsite.metrics.MetricsMiddleware"})
class MetricsTests(TestCase):
    def metrics(self, token="secret"):
        return self.client.get("/metrics", headers={"authorization": f"Bearer {token}"})

    def count(self, outcome):
        """Return how many lookups of cars ended with `outcome`."""
        pattern = rf'^carsite_cache_seconds_count{{model="cars.Car",outcome="{outcome}"}} (\S+)$'
        found = re.search(pattern, self.metrics().content.decode(), re.MULTILINE)
        return float(found[1]) if found else 0

    def test_hits_and_misses_are_counted_by_model(self):
        car = Car.objects.create(make="Toyota")
        empty_cache()
        hits, misses = self.count("hit"), self.count("miss")
        for _ in range(3):
            self.client.get(car.get_absolute_url())
        self.assertEqual((self.count("hit") - hits, self.count("miss") - misses), (2, 1))

    def test_without_the_token_there_are_no_metrics(self):
        for answer in (self.client.get("/metrics"), self.metrics("wrong"), self.metrics("ü")):
            self.assertEqual(answer.status_code, 401)
            self.assertNotIn(b"carsite_cache", answer.content)

    @override_settings(METRICS_TOKEN="")
    def test_unless_a_token_is_set_there_is_no_such_page(self):
        self.assertEqual(self.metrics().status_code, 404)
        self.assertEqual(self.metrics("").status_code, 404)
