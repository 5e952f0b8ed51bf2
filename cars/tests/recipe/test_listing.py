"""What a Memcached server lists, and what is said if it refuses."""

from contextlib import closing
from unittest import mock, skipUnless

from django.core.cache import caches
from django.test import SimpleTestCase
from pymemcache.client.base import Client, normalize_server_spec

from cars.caching.backends import MemcachedCache, listing
from cars.caching.backends.client import SafeClient
from cars.caching.backends.listing import Item, parse_item
from cars.caching.backends.serde import Serde
from cars.caching.entries import ListingError, Row
from cars.lab import servers
from cars.tests.support.caches import on_servers
from cars.tests.support.fake_server import FakeServer

LINE = b"key=a%20b exp=1795379286 la=1795375686 cas=7 fetch=no cls=1 size=73\n"


def client_of(address):
    return SafeClient(normalize_server_spec(address), timeout=5)


class ItemTests(SimpleTestCase):
    def test_lines_of_metadump_are_parsed(self):
        self.assertEqual(parse_item(LINE), Item("a b", 1795379286, 1795375686, False, 73))
        no_expiry = b"key=a exp=-1 la=1795375681 cas=5 fetch=yes cls=1 size=72\n"
        self.assertEqual(parse_item(no_expiry), Item("a", None, 1795375681, True, 72))
        self.assertIsNone(parse_item(b"BUSY currently processing crawler request\r\n"))


class AnswersTests(SimpleTestCase):
    """The server is one that answers what the test says."""

    def keys(self, *answers, **options):
        """Return the keys of the items that are listed; note what was asked in `asked`."""
        self.asked = []
        with FakeServer(answers, self.asked) as address:
            return [item.key for item in listing.items(client_of(address), **options)]

    def test_the_hash_table_is_walked_since_no_item_moves_in_it(self):
        self.assertEqual(self.keys(LINE + b"END\r\n"), ["a b"])
        self.assertEqual(self.asked, [b"lru_crawler metadump hash\r\n"])

    def test_a_server_that_knows_only_all_is_asked_for_all(self):
        self.assertEqual(self.keys(b"BADCLASS invalid class id\r\n", LINE + b"END\r\n"), ["a b"])
        self.assertEqual(self.asked[1], b"lru_crawler metadump all\r\n")

    def test_a_server_that_knows_neither_is_an_error(self):
        with self.assertRaisesMessage(ListingError, "answers b'BADCLASS"):
            self.keys(b"BADCLASS invalid class id\r\n", b"BADCLASS invalid class id\r\n")

    def test_a_server_that_is_busy_is_asked_again(self):
        self.assertEqual(self.keys(b"BUSY\r\n", b"BUSY\r\n", LINE + b"END\r\n"), ["a b"])

    def test_a_server_that_stays_busy_is_an_error(self):
        with self.assertRaisesMessage(ListingError, "answers b'BUSY"):
            self.keys(b"BUSY currently processing\r\n", busy=0)

    def test_a_listing_that_breaks_off_is_an_error(self):
        with self.assertRaisesMessage(ListingError, "answers b''"):
            self.keys(LINE)

    def test_a_line_that_can_not_be_read_is_an_error(self):
        with self.assertRaisesMessage(ListingError, "answers b'key=b"):
            self.keys(LINE + b"key=b\r\nEND\r\n")

    def test_a_server_without_the_meta_commands_is_an_error(self):
        clients = []

        def new_client():
            answer = LINE.replace(b"a%20b", b"a") + b"END\r\n" if clients else b"ERROR\r\n"
            address = self.enterContext(FakeServer([answer], []))
            clients.append(client_of(address))
            return clients[-1]

        with self.assertRaisesMessage(ListingError, "doesn't show what it has, but answers b'ERR"):
            list(listing.rows(new_client))


@skipUnless(servers.has_memcached(), "no `memcached` on the PATH")
class RowsTests(SimpleTestCase):
    """The server is a Memcached."""

    def fill(self, address, **values):
        with closing(Client(normalize_server_spec(address), serde=Serde(pickle=True))) as client:
            client.set_many(values, noreply=False)

    def assertListed(self, rows):
        self.assertCountEqual(caches["default"].rows(), rows.items())

    def test_the_rows_of_all_servers_are_listed_and_nothing_else(self):
        addresses = [self.enterContext(servers.memcached()) for _ in range(2)]
        self.enterContext(on_servers(addresses))
        self.fill(addresses[0], a=Row(b"1\r\n2"), text="HD f256", pickled={1, 2})
        self.fill(addresses[1], b=Row(b""), number=256)
        self.assertListed({"a": b"1\r\n2", "b": b""})

    def test_values_of_others_are_not_sent(self):
        address = self.enterContext(servers.memcached())
        self.enterContext(on_servers([address]))
        self.fill(address, large=b"x" * 500_000)
        self.assertListed({})
        with closing(Client(normalize_server_spec(address))) as client:
            self.assertLess(client.stats()[b"bytes_written"], 5_000)

    def test_a_key_that_only_binary_clients_can_use_is_passed_over(self):
        address = self.enterContext(servers.memcached())
        self.enterContext(on_servers([address]))
        self.fill(address, a=Row(b"1"))
        client = client_of(address)
        with client.opened() as lines:
            client.send(b"ms YSBi 1 b\r\nx\r\n")  # base64 of "a b"
            self.assertEqual(lines.readline(), b"HD\r\n")
        self.assertListed({"a": b"1"})

    def test_more_rows_than_a_chunk_are_all_listed(self):
        self.enterContext(mock.patch.object(listing, "CHUNK", 3))
        address = self.enterContext(servers.memcached())
        self.enterContext(on_servers([address]))
        rows = {f"row{number}": Row(str(number).encode()) for number in range(10)}
        self.fill(address, **rows)
        self.assertListed(rows)

    def test_listing_the_rows_is_no_access(self):
        address = self.enterContext(servers.memcached())
        self.enterContext(on_servers([address]))
        self.fill(address, a=Row(b"1"))
        for _ in range(2):
            self.assertListed({"a": b"1"})
        self.assertFalse(any(item.fetched for item in listing.items(client_of(address))))

    def test_a_server_that_is_away_is_named(self):
        address = f"127.0.0.1:{servers.free_port()}"
        self.enterContext(on_servers([self.enterContext(servers.memcached()), address]))
        with self.assertRaisesMessage(ListingError, f"{address} doesn't answer: "):
            list(caches["default"].rows())

    def test_a_server_that_refuses_to_list_is_named_with_its_answer(self):
        address = self.enterContext(servers.memcached("-X"))
        self.enterContext(on_servers([address]))
        with self.assertRaisesMessage(
            ListingError, f"{address} doesn't list what it has, but answ"
        ):
            list(caches["default"].rows())

    def test_a_cache_without_a_server_lists_nothing(self):
        self.assertEqual(list(MemcachedCache("", {}).rows()), [])
