"""At the end of a request its transaction is settled: holds are released or withdrawn."""

import logging
from unittest.mock import patch

from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.core.cache import close_caches
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.db import close_old_connections, connection, connections, transaction
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory, SimpleTestCase, override_settings
from django.urls import path

from cars.caching import hooks, protocol, transactions
from cars.caching.entries import Holds
from cars.tests.support.other_clients import (
    ClientsTestCase,
    entry_under,
    evict,
    in_another_thread,
    read,
)
from cars.tests.support.zoo.models import Plain


def rename(request, pk, fail):
    """Save the row, and then return a response or raise."""
    Plain.objects.filter(pk=pk).get()
    Plain(pk=pk, name="new").save()
    if fail:
        raise RuntimeError("no answer")
    return HttpResponse("done")


def rename_in_a_block(request, pk):
    """Save the row in a block that is rolled back, and return a response."""
    try:
        with transaction.atomic():
            rename(request, pk, fail=True)
    except RuntimeError:
        return HttpResponse("undone")


def show(request, pk):
    """Read the row through the cache."""
    return HttpResponse(" ".join(read(pk)))


def show_then_fail(request, pk):
    """Read the row through the cache, and raise."""
    raise RuntimeError(read(pk))


def handler500(request):
    """Return the response for a view that has raised."""
    return HttpResponse("failed", status=500)


urlpatterns = [
    path("save/<int:pk>", rename, {"fail": False}),
    path("fail/<int:pk>", rename, {"fail": True}),
    path("undo/<int:pk>", rename_in_a_block),
    path("show/<int:pk>", show),
    path("show-then-fail/<int:pk>", show_then_fail),
]


class ReceiverOrderTests(SimpleTestCase):
    def test_holds_are_settled_before_connections_and_caches_are_closed(self):
        request_finished.disconnect(transactions.settle_all)  # as at start-up
        hooks.settle_before_connections_close()
        receivers = request_finished._live_receivers(None)[0]
        settling = receivers.index(transactions.settle_all)
        self.assertLess(settling, receivers.index(close_old_connections))
        self.assertLess(settling, receivers.index(close_caches))

    def test_a_request_without_a_database_makes_no_connection_at_its_end(self):
        def made():
            transactions.settle_all()
            return connections.all(initialized_only=True)

        self.assertEqual(in_another_thread(made), [])


@override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[])
class RequestTests(ClientsTestCase):
    def get(self, what):
        """Get a page as a WSGI server does; at the end it closes connections and caches."""
        environ = RequestFactory().get(f"/{what}/{self.plain.pk}").environ
        response = WSGIHandler()(environ, lambda *args: None)
        content = b"".join(response).decode()
        response.close()
        self.assertIsNone(connection.connection)
        return content

    async def get_async(self, what):
        """Get a page as an ASGI server does."""
        scope = AsyncRequestFactory().get(f"/{what}/{self.plain.pk}").scope
        server = ApplicationCommunicator(ASGIHandler(), scope)
        await server.send_input({"type": "http.request"})
        self.assertEqual((await server.receive_output())["status"], 200)
        await server.receive_output()
        await server.wait()

    def setUp(self):
        super().setUp()
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        self.enterContext(patch.dict(connection.settings_dict, CONN_MAX_AGE=0))
        connection.close()

    def assertWithdrawn(self):
        self.assertIsNone(entry_under(self.key))
        self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "miss"))
        self.assertEqual(in_another_thread(read, self.plain.pk), ("old", "hit"))

    def test_the_hold_of_an_undone_block_is_withdrawn_before_the_connection_is_closed(self):
        self.assertEqual(self.get("undo"), "undone")
        self.assertWithdrawn()

    def test_the_hold_of_an_undone_block_is_withdrawn_with_the_test_client_too(self):
        self.client.get(f"/undo/{self.plain.pk}")
        self.assertWithdrawn()

    def test_the_hold_of_an_undone_block_is_withdrawn_under_asgi_too(self):
        async_to_sync(self.get_async)("undo")
        self.assertWithdrawn()

    def test_the_hold_of_a_view_that_raises_in_its_transaction_is_withdrawn(self):
        with patch.dict(connection.settings_dict, ATOMIC_REQUESTS=True):
            self.get("fail")
        self.assertWithdrawn()

    def test_the_hold_of_a_view_that_saves_in_its_transaction_is_released(self):
        with patch.dict(connection.settings_dict, ATOMIC_REQUESTS=True):
            self.assertEqual(self.get("save"), "done")
        self.assertEqual(in_another_thread(read, self.plain.pk), ("new", "hit"))

    def test_what_a_view_misses_in_its_transaction_is_filled_after_the_commit(self):
        evict(self.key)
        with patch.dict(connection.settings_dict, ATOMIC_REQUESTS=True):
            self.assertEqual(self.get("show"), "old miss")
            self.assertEqual(self.get("show"), "old hit")

    def test_what_a_view_that_raises_has_missed_is_not_filled(self):
        evict(self.key)
        with patch.dict(connection.settings_dict, ATOMIC_REQUESTS=True):
            self.get("show-then-fail")
        self.assertIsNone(entry_under(self.key))

    def test_a_cache_that_fails_at_the_end_does_not_keep_connections_open(self):
        logging.disable(logging.NOTSET)
        with patch.object(protocol, "withdraw", side_effect=OSError("no cache")):
            with self.assertLogs("cars.caching", logging.ERROR):
                self.get("undo")
        self.assertIsInstance(entry_under(self.key), Holds)

    def test_a_cache_that_fails_in_the_commit_hook_does_not_fail_the_page(self):
        for failing in ("release", "warm"):
            with patch.object(protocol, failing, side_effect=OSError("no cache")):
                with patch.dict(connection.settings_dict, ATOMIC_REQUESTS=True):
                    evict(self.key)
                    self.assertEqual(self.get("save"), "done")
            self.assertEqual(in_another_thread(read, self.plain.pk)[0], "new")
