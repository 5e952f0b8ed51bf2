"""The parser of Memcached's log, with lines written by Memcached and with any other input."""

from random import Random

from django.test import SimpleTestCase, tag
from hypothesis import given, settings
from hypothesis import strategies as some

from cars.insight.watch import log
from cars.insight.watch.log import Deletion, Eviction, Fetch, Store

# From 1.6.18: get, set, get; add; cas; a late cas; a cas that expires; a set that is too large.
OLD = b"""\
ts=1795375678.337565 gid=2 type=item_get key=Car.1 status=not_found clsid=0 cfd=25 size=0
ts=1795375678.592609 gid=3 type=item_get key=Car.1 status=not_found clsid=0 cfd=25 size=0
ts=1795375678.592660 gid=4 type=item_store key=Car.1 status=stored cmd=set ttl=3600 clsid=1 cfd=25 size=5
ts=1795375678.842152 gid=5 type=item_get key=Car.1 status=found clsid=1 cfd=25 size=5
ts=1795375679.93155 gid=6 type=item_get key=Car.2 status=not_found clsid=0 cfd=25 size=0
ts=1795375679.93163 gid=7 type=item_store key=Car.2 status=stored cmd=add ttl=10 clsid=1 cfd=25 size=5
ts=1795375679.593517 gid=10 type=item_get key=Car.2 status=found clsid=1 cfd=25 size=5
ts=1795375679.843997 gid=11 type=item_get key=Car.2 status=found clsid=1 cfd=25 size=5
ts=1795375679.843999 gid=12 type=item_store key=Car.2 status=stored cmd=cas ttl=602 clsid=1 cfd=25 size=5
ts=1795375680.94173 gid=13 type=item_get key=Car.2 status=found clsid=1 cfd=25 size=5
ts=1795375680.94173 gid=14 type=item_store key=Car.2 status=exists cmd=cas ttl=602 clsid=1 cfd=25 size=5
ts=1795375680.594591 gid=16 type=item_get key=Car.2 status=found clsid=1 cfd=25 size=5
ts=1795375680.594594 gid=17 type=item_store key=Car.2 status=stored cmd=cas ttl=4294967232 clsid=1 cfd=25 size=0
ts=1795375682.351816 gid=28 type=item_store key=big status=too_large cmd=set ttl=0 clsid=25 cfd=-1583240544 size=0
ts=1795375682.351820 gid=29 type=item_get key=big status=not_found clsid=0 cfd=25 size=0
ts=1795375685.557884 gid=35 type=item_get key=Car.5 status=expired clsid=0 cfd=25 size=0
ts=1795375688.544790 gid=41 type=item_get key=Car.1 status=flushed clsid=0 cfd=25 size=0
"""  # noqa: E501

# From 1.6.38: a delete, an unusual key, an eviction.
NEW = b"""\
ts=1795375882.889957 gid=21 type=item_get key=Car.1 status=found clsid=1 cfd=29 size=5
ts=1795375882.889958 gid=22 type=deleted key=Car.1 cmd=delete clsid=1 size=5
ts=1795375883.391074 gid=24 type=item_get key=a%2520b%2525%C3%83%C2%A9 status=not_found clsid=0 cfd=29 size=0
ts=1795375883.391116 gid=25 type=item_store key=a%2520b%2525%C3%83%C2%A9 status=stored cmd=set ttl=0 clsid=1 cfd=29 size=1
ts=1795375892.453493 gid=44 type=eviction key=big.0 fetch=no ttl=599 la=1 clsid=39 size=500000
"""  # noqa: E501


def folded(data):
    return log.fold(line for text in data.splitlines() if (line := log.parse(text)))


def item_get(gid, key="Car.1", connection=25):
    return b"ts=1795375678.%d gid=%d type=item_get key=%s status=found clsid=1 cfd=%d size=5\n" % (
        gid,
        gid,
        key.encode(),
        connection,
    )


@tag("any-database")
class RealLinesTests(SimpleTestCase):
    def test_every_line_is_parsed(self):
        for text in (OLD + NEW).splitlines():
            with self.subTest(text):
                self.assertIsNotNone(log.parse(text))

    def test_each_write_is_one_line(self):
        self.assertEqual(
            [(line.key, line.status, getattr(line, "timeout", None)) for line in folded(OLD)],
            [
                ("Car.1", "not_found", None),
                ("Car.1", "stored", 3600),
                ("Car.1", "found", None),
                ("Car.2", "stored", 10),
                ("Car.2", "found", None),
                ("Car.2", "stored", 602),
                ("Car.2", "exists", 602),
                ("Car.2", "stored", -1),
                ("big", "too_large", 0),
                ("Car.5", "expired", None),
                ("Car.1", "flushed", None),
            ],
        )

    def test_deletions_and_evictions_are_parsed(self):
        deletion, store, eviction = folded(NEW)
        self.assertEqual((type(deletion), deletion.key, deletion.size), (Deletion, "Car.1", 5))
        self.assertEqual((type(store), store.timeout), (Store, 0))
        self.assertEqual(type(eviction), Eviction)
        self.assertEqual((eviction.key, eviction.fetched, eviction.size), ("big.0", False, 500_000))

    def test_microseconds_lack_their_leading_zeros(self):
        times = [line.time for line in folded(OLD)]
        self.assertEqual(times, sorted(times))
        self.assertAlmostEqual(times[3], 1795375679.093163, places=6)

    def test_keys_are_decoded_once(self):
        self.assertEqual(folded(NEW)[1].key, "a%20b%25Ã©")

    def test_skipped_lines_are_counted(self):
        reader = log.Log()
        reader.feed(b"skipped=12\nskipped=x\nts=1.", 0)
        self.assertEqual(reader.skipped, 12)


@tag("any-database")
class OrderTests(SimpleTestCase):
    def take(self, *pieces):
        reader = log.Log()
        for piece in pieces:
            reader.feed(piece, 0)
        return reader.take(log.PATIENCE)

    def test_lines_are_ordered_by_gid_and_not_by_arrival(self):
        lines = [item_get(gid, f"Car.{gid}") for gid in range(1, 20)]
        Random(1).shuffle(lines)
        self.assertEqual([line.gid for line in self.take(*lines)], list(range(1, 20)))

    def test_lines_that_arrive_in_pieces_are_joined(self):
        whole = self.take(OLD)
        self.assertEqual(self.take(*(OLD[i : i + 7] for i in range(0, len(OLD), 7))), whole)
        self.assertEqual(len(whole), 11)

    def test_a_line_waits_for_earlier_lines_but_not_for_ever(self):
        reader = log.Log()
        reader.feed(item_get(2), 10)
        self.assertEqual(reader.take(10), [])
        reader.feed(item_get(1), 10.01)
        self.assertEqual([line.gid for line in reader.take(10.3)], [1, 2])
        self.assertEqual(reader.take(99), [])

    def test_a_write_is_one_line_even_if_its_fetch_arrives_much_earlier(self):
        get, store = OLD.splitlines(keepends=True)[1:3]
        reader = log.Log()
        reader.feed(get, 10)
        reader.feed(store, 10.15)
        first, later = reader.take(10.2), reader.take(10.4)
        self.assertEqual(first, [])
        self.assertEqual([type(line) for line in later], [Store])

    def test_a_fetch_of_another_connection_is_kept(self):
        _, get, store = OLD.splitlines()[:3]
        other = item_get(3, connection=26).strip()
        self.assertEqual(
            [
                type(line)
                for line in folded(b"\n".join([get.replace(b"gid=3", b"gid=1"), other, store]))
            ],
            [Fetch, Store],
        )

    def test_only_one_of_two_fetches_is_part_of_a_write(self):
        self.assertEqual([type(line) for line in folded(OLD)][:2], [Fetch, Store])

    def test_gids_may_start_again(self):
        reader = log.Log()
        reader.feed(item_get(1000), 10)
        self.assertEqual([line.gid for line in reader.take(11)], [1000])
        reader.feed(item_get(1), 12)
        self.assertEqual([line.gid for line in reader.take(13)], [1])


pieces = some.sampled_from(
    [b"ts=", b"gid=", b" ", b"\n", b"=", b".", b"%", b"%FF", b"-1", b"99999999999999999999999"]
    + (OLD + NEW).splitlines(keepends=True)
    + (OLD + NEW).split()
)
noise = some.lists(pieces | some.binary(max_size=20), max_size=40).map(b"".join)


@some.composite
def corrupted(draw):
    """A line of the log in which one field is missing, changed or doubled."""
    fields = draw(some.sampled_from((OLD + NEW).splitlines())).split()
    at = draw(some.integers(0, len(fields) - 1))
    name, _, value = fields[at].partition(b"=")
    values = [b"", b"x", b"-1", b"1.5", b"99999999999999999999999", b"%", b"%FF%00", value]
    field = name + b"=" + draw(some.sampled_from(values) | some.binary(max_size=8))
    fields[at : at + 1] = draw(some.sampled_from([[], [field], [field, field]]))
    return b" ".join(fields)


@tag("any-database")
class FuzzTests(SimpleTestCase):
    @given(some.lists(corrupted(), max_size=5))
    @settings(derandomize=True, deadline=None, max_examples=500)
    def test_corrupted_lines_never_raise(self, lines):
        reader = log.Log()
        reader.feed(b"\n".join([*lines, b""]), 0)
        for line in reader.take(1):
            self.assertTrue(any(log.parse(part) == line for part in b"\n".join(lines).split(b"\n")))

    @given(noise)
    @settings(derandomize=True, deadline=None, max_examples=500)
    def test_any_bytes_give_at_most_one_line_per_line_of_text_and_never_raise(self, data):
        reader = log.Log()
        reader.feed(data, 0)
        lines = reader.take(1)
        texts = data.split(b"\n")
        self.assertLessEqual(len(lines), len(texts))
        for line in lines:
            self.assertTrue(any(log.parse(text) == line for text in texts))

    @given(some.binary(max_size=200))
    @settings(derandomize=True, deadline=None)
    def test_text_that_is_not_from_the_log_is_ignored(self, line):
        self.assertIsNone(log.parse(line))

    @given(some.lists(some.integers(1, 200), max_size=30), some.data())
    @settings(derandomize=True, deadline=None)
    def test_the_result_does_not_depend_on_where_the_data_is_cut(self, gids, data):
        whole = b"".join(map(item_get, gids))
        cut = data.draw(some.integers(0, len(whole)))
        one, two = log.Log(), log.Log()
        one.feed(whole, 0)
        two.feed(whole[:cut], 0)
        two.feed(whole[cut:], 0)
        self.assertEqual(one.take(1), two.take(1))

    @given(some.text(max_size=60))
    @settings(derandomize=True, deadline=None)
    def test_garbage_between_valid_lines_hides_none_of_them(self, text):
        garbage = text.replace("\n", " ").encode("utf-8", "replace")
        reader = log.Log()
        reader.feed(item_get(1) + garbage + b"\n" + item_get(2), 0)
        self.assertEqual([line.gid for line in reader.take(1)], [1, 2])
