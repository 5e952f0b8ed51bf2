"""The strip: each step of a page's reads, and of a save, between page, cache and database."""

import re
from unittest.mock import patch

from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.template.loader import render_to_string
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils.html import strip_tags

from cars.caching import events, owed
from cars.insight.steps import UNASKED, WORDS, Steps
from cars.lab import servers
from cars.models import Car
from cars.tests.support.caches import empty_cache
from carsite import settings as site


def strip(page):
    """Return the steps of a page's strip: lane, question, answer."""
    trip = r'class="trip to-(.+?)">(.*?)class="time"'
    steps = re.findall(trip, page.content.decode(), re.DOTALL)
    return [
        (lane, *(" ".join(strip_tags(part).split()) for part in re.findall(SPAN, step, re.DOTALL)))
        for lane, step in steps
    ]


SPAN = r'<span class="(?:ask|answer)">(.*?)</span>'
READ = [("cache", "get Car.1", "no row"), ("cache", "take the lease", "leased: a miss")]
READ += [("database", "SELECT", "the row as it is now"), ("cache", "put the row", "stored")]


class StepsCase(TestCase):
    def setUp(self):
        empty_cache()
        self.car = Car.objects.create(pk=1, make="Toyota")
        self.url = self.car.get_absolute_url()


class HeldTests(TestCase):
    def told(self, *outcomes):
        """Return the steps of reads that ended so, with what was asked."""
        told = enumerate(outcomes)
        steps = Steps(events.Event(outcome, "Car.1", Car, 0.1, at) for at, outcome in told)
        return steps, [step.ask for step in steps]

    def test_a_row_that_a_look_finds_held_took_a_round_trip(self):
        steps, asked = self.told(events.LOOKED, events.HELD)
        self.assertEqual((asked, steps.trips), (["get", "take the lease"], 2))

    def test_of_a_row_that_is_known_to_be_held_the_cache_is_not_asked(self):
        steps, asked = self.told(events.HELD, events.SELECTED)
        self.assertEqual((asked, steps.trips), (["not asked", "SELECT"], 0))
        shown = render_to_string("cars/_strip.html", {"steps": steps})
        self.assertInHTML('<span class="ask">not asked <code>Car.1</code></span>', shown)
        self.assertIn('class="trip to-cache saved"', shown)


class CarPageTests(StepsCase):
    def test_a_miss_shows_each_round_trip(self):
        empty_cache()
        self.assertEqual(strip(self.client.get(self.url)), READ)

    def test_a_hit_is_one_round_trip_and_saves_the_select(self):
        hit, saved = strip(self.client.get(self.url))
        self.assertEqual(hit, ("cache", "get Car.1", "the row: a hit"))
        self.assertEqual(saved[0], "database saved")
        self.assertContains(self.client.get(self.url), "1 round trip to the cache")

    def test_without_an_answer_no_round_trip_is_counted(self):
        with override_settings(CACHES=site.caches([f"127.0.0.1:{servers.free_port()}"])):
            page = self.client.get(self.url)
        failed = [step for step in strip(page) if step[0] == "cache failed"]
        self.assertEqual([answer for *_, answer in failed], ["no answer", WORDS["no answer"][2]])
        self.assertNotContains(page, "round trip")

    def test_while_a_withdrawal_is_owed_the_page_promises_no_fill_by_the_next_read(self):
        empty_cache()
        with (
            patch.object(owed, "is_trusted", return_value=False),
            patch.object(owed, "held", side_effect=lambda cached, keys, fingerprint: keys),
        ):
            page = self.client.get(self.url)
        self.assertEqual(strip(page)[0][1:], ("not asked Car.1", UNASKED[2]))
        self.assertContains(page, "Nothing: a read fills it, unless something is owed.")
        self.assertNotContains(page, "the next read fills it")

    def test_the_page_says_what_stands_under_the_key(self):
        page = self.client.get(self.url)
        for text in ("A row: reads are served from it.", "s ago", "Ends in", " bytes"):
            self.assertContains(page, text)


class ForgetTests(StepsCase):
    def forget(self, **user):
        account = User.objects.create_user("user", **user)
        account.user_permissions.set(Permission.objects.filter(codename="change_car"))
        self.client.force_login(account)
        return self.client.post(f"{self.url}forget/", follow=True)

    def test_staff_remove_a_car_from_the_cache_and_the_next_read_is_a_miss(self):
        page = self.forget(is_staff=True)
        self.assertContains(page, "The car was removed from the cache.")
        self.assertEqual(strip(page), READ)

    def test_others_may_not(self):
        self.assertEqual(self.client.post(f"{self.url}forget/").status_code, 403)
        self.assertEqual(self.forget().status_code, 403)
        self.assertTrue(cache.has_key(self.car.key()))

    def test_it_takes_a_post(self):
        self.assertEqual(self.forget(is_staff=True).status_code, 200)
        self.assertEqual(self.client.get(f"{self.url}forget/").status_code, 405)


class WordsTests(TestCase):
    def event(self, outcome, key, started):
        return events.Event(outcome, key, Car, 0.25, started)

    def test_every_outcome_has_words(self):
        self.assertEqual(WORDS.keys(), {*events.LOOKUPS, *events.STEPS, *OTHERS})

    def test_keys_of_one_round_trip_are_one_step(self):
        told = [self.event(events.HIT, f"Car.{pk}", 1.0) for pk in range(1, 26)]
        steps = Steps([*told, self.event(events.LOOKED, "Car.26", 1.0)])
        self.assertEqual(
            [step.named for step in steps], ["Car.1, Car.2, Car.3 and 22 more", "Car.26"]
        )
        self.assertEqual((steps.trips, steps.milliseconds), (1, 250))


OTHERS = (events.FILLED, events.EXPIRED, events.OWED, events.REFUSED)


class WriteTests(TransactionTestCase):
    """A save says what it did."""

    def setUp(self):
        empty_cache()
        self.car = Car.objects.create(pk=1, make="Toyota", price=100)
        self.url = self.car.get_absolute_url()
        self.admin = "/admin/cars/car/"
        self.client.force_login(User.objects.create_superuser("root"))

    summary = "held, written and committed, read again, put. 3 round trips to the cache, "
    steps = [
        ("cache", "look Car.1", "what stands there"),
        ("cache", "put a hold", "held"),
        ("database", "write and COMMIT", "committed"),
        ("database", "SELECT", "the row as it is now"),
        ("cache", "put the row", "stored"),
    ]

    def post(self, url, **data):
        return self.client.post(url, data, follow=True)

    def test_an_edit_shows_its_steps(self):
        page = self.post(f"{self.url}edit/", make="Volvo")
        self.assertContains(page, f"Volvo was saved: {self.summary}")
        self.assertEqual(strip(page)[:5], self.steps)

    def test_a_save_in_the_admin_shows_its_steps(self):
        page = self.post(f"{self.admin}1/change/", make="Volvo")
        self.assertContains(page, f"The save: {self.summary}")
        self.assertEqual(strip(page), self.steps)

    def test_marking_down_shows_its_steps(self):
        page = self.post(self.admin, action="mark_down", _selected_action=[1])
        self.assertContains(page, f"The action: {self.summary}")
        self.assertEqual(strip(page), self.steps)

    def test_removing_from_the_cache_shows_its_steps(self):
        page = self.post(self.admin, action="remove_from_cache", _selected_action=[1])
        self.assertContains(page, "The action: removed. 2 round trips to the cache, ")

    def test_a_delete_shows_its_steps(self):
        for url, data in ((f"{self.url}delete/", {}), (f"{self.admin}2/delete/", {"post": "yes"})):
            Car.objects.get_or_create(pk=2, make="Volvo")
            page = self.post(url, **data)
            self.assertContains(page, "held, written and committed, hold removed. 3 round trips")

    def test_a_refused_save_says_that_nothing_was_held(self):
        for url in (f"{self.url}edit/", f"{self.admin}1/change/"):
            page = self.post(url, make="")
            self.assertContains(page, "ot saved: nothing was held or written")
            self.assertEqual(strip(page), [])

    def test_without_an_answer_a_save_says_so(self):
        with override_settings(CACHES=site.caches([f"127.0.0.1:{servers.free_port()}"])):
            page = self.post(f"{self.url}edit/", make="Volvo")
        self.assertContains(
            page,
            "Volvo was saved: not held, since the cache does not answer, written and committed",
        )
        look = ("cache failed", "no answer")  # twice before the write, and twice after it
        self.assertEqual(
            [(lane, answer) for lane, _, answer in strip(page)[:5]],
            [look, look, ("database", "committed"), look, look],
        )
        self.assertEqual(strip(page)[0][1], "look Car.1")

    def test_an_action_that_changed_nothing_shows_no_steps(self):
        page = self.post(self.admin, action="put_into_cache", _selected_action=[1])
        self.assertContains(page, "1 car was put into the cache.")
        self.assertNotContains(page, "The action")

    def test_a_name_is_escaped_in_the_message(self):
        page = self.post(f"{self.url}edit/", make="<b>")
        self.assertContains(page, "&lt;b&gt; was saved:")
