"""The pages: what they show and what they do."""

import inspect
import re
from html import unescape

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, TestCase, override_settings
from django.urls import reverse
from django.utils.html import strip_tags

from cars import views
from cars.insight import source
from cars.lab import servers
from cars.lab.storm import results
from cars.models import Car
from cars.tests.support.caches import empty_cache
from carsite import settings as site


def makes(response):
    """Return the makes of the cars on a page of the list, in its order."""
    return [car.make for car, _ in response.context["rows"]]


class PageCase(TestCase):
    """A test case with an empty cache; `log_in()` logs in a user with the given permissions."""

    def setUp(self):
        empty_cache()

    def log_in(self, *permissions):
        user = User.objects.create_user("user")
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.client.force_login(user)


class StartPageTests(PageCase):
    def test_the_figures_of_the_claim_are_those_of_the_recorded_storms(self):
        page = self.client.get("/")
        storms = results.recorded()
        self.assertEqual({storm["seconds"] for storm in storms.values()}, {8})
        self.assertContains(page, f"{storms['2009']['stale']:,} stale rows</strong>")
        self.assertEqual(storms["today"]["stale"], 0)
        self.assertContains(page, '<strong class="good">none</strong>')
        for storm in storms.values():
            self.assertContains(page, f"{storm['reads']:,}")

    def test_the_lines_of_code_are_those_of_this_site(self):
        code = "".join(snippet.code for snippet in source.snippets())
        for line in filter(None, map(str.strip, code.splitlines())):
            if not line.startswith("def"):  # the view of this site has annotations
                self.assertIn(line, inspect.getsource(Car) + inspect.getsource(views.detail))
        page = unescape(strip_tags(self.client.get("/").content.decode()))
        self.assertIn(code.splitlines()[1], page)

    def test_two_buttons_lead_to_the_tutorial_and_to_the_installation(self):
        page = self.client.get("/")
        for url in ("/learn/", "/docs/your-project/", "/docs/protocol/", "/docs/reference/"):
            self.assertContains(page, f'href="{url}"')
            self.assertEqual(self.client.get(url).status_code, 200)

    def test_everybody_sees_where_they_are_and_the_link_to_watch(self):
        self.assertContains(self.client.get("/"), '<a href="/watch/">Watch</a>')
        self.assertContains(self.client.get("/cars/"), '<a href="/cars/" aria-current="page">')
        self.assertContains(self.client.get("/learn/"), '<a href="/learn/" aria-current="true">')
        self.assertRedirects(self.client.get("/watch/"), "/admin/login/?next=/watch/")

    def test_the_start_page_has_links_to_three_things_to_try(self):
        car = Car.objects.create(make="Toyota", model="Avensis")
        page = self.client.get("/")
        for url in ("/cars/", f"/cars/{car.pk}/", f"/admin/cars/car/{car.pk}/change/"):
            self.assertContains(page, f'href="{url}"')

    def test_without_cars_the_start_page_says_how_to_load_them(self):
        self.assertContains(self.client.get("/"), "import_cars")

    @override_settings(DEBUG=False)
    def test_without_debug_the_start_page_names_no_account(self):
        Car.objects.create(make="Toyota")
        self.assertNotContains(self.client.get("/"), "password")


class ListTests(PageCase):
    @classmethod
    def setUpTestData(cls):
        Car.objects.bulk_create(
            [
                Car(make="Toyota", model="Avensis", year=1997, body="saloon", origin="Japan"),
                Car(make="Volvo", model="240", year=1974, body="estate", origin="Sweden"),
                Car(make="Saab", model="900", year=1978, body="coupe", origin="Sweden"),
                Car(make="Trabant"),
            ]
        )

    def list(self, **query):
        response = self.client.get(reverse("cars:list"), query)
        self.assertEqual(response.status_code, 200)
        return response

    def test_each_car_is_shown_as_a_hit_or_a_miss(self):
        Car.objects.cache(Car.objects.get(make="Saab").pk)
        page = self.list()
        self.assertEqual([lookup.hit for _, lookup in page.context["rows"]], [True] + [False] * 3)
        self.assertContains(page, "1 hit,")
        self.assertContains(page, "3 misses,")
        self.assertEqual([lookup.hit for _, lookup in self.list().context["rows"]], [True] * 4)

    def test_cached_cars_cost_no_query(self):
        self.list()
        with self.assertNumQueries(3):  # the origins for the filter, the count, the pks
            self.list()

    def test_search_finds_words_in_make_and_model_together(self):
        self.assertEqual(makes(self.list(q="avens toy")), ["Toyota"])
        self.assertEqual(makes(self.list(q="240")), ["Volvo"])
        self.assertContains(self.list(q="nothing"), "No cars match.")

    def test_the_list_filters_by_origin_and_body(self):
        self.assertEqual(makes(self.list(origin="Sweden")), ["Saab", "Volvo"])
        self.assertEqual(makes(self.list(origin="Sweden", body="estate")), ["Volvo"])

    def test_cars_without_a_value_are_sorted_last_in_both_directions(self):
        self.assertEqual(makes(self.list(sort="year")), ["Volvo", "Saab", "Toyota", "Trabant"])
        self.assertEqual(makes(self.list(sort="-year")), ["Toyota", "Saab", "Volvo", "Trabant"])

    def test_invalid_values_in_the_query_are_ignored(self):
        for query in (
            {"sort": "password"},
            {"origin": "Atlantis"},
            {"body": "boat"},
            {"page": "many"},
            {"q": "x" * 101},
        ):
            with self.subTest(query):
                self.assertEqual(makes(self.list(**query)), ["Saab", "Toyota", "Trabant", "Volvo"])

    def test_a_valid_filter_applies_beside_an_invalid_value(self):
        page = self.list(origin="Sweden", sort="password")
        self.assertEqual(makes(page), ["Saab", "Volvo"])
        self.assertContains(page, '<option value="Sweden" selected>')

    def test_a_page_number_out_of_range_gives_the_last_page(self):
        Car.objects.bulk_create(Car(make=f"Zastava {n:02}") for n in range(30))
        self.assertEqual(len(makes(self.list())), 25)
        self.assertEqual(makes(self.list(page=999))[-1], "Zastava 29")

    def test_the_first_page_of_many_names_the_next_two_and_the_last(self):
        Car.objects.bulk_create(Car(make=f"Zastava {n:03}") for n in range(250))
        page = self.list().content.decode()
        _, _, pages = page.partition('aria-label="Pages"')
        numbers = re.findall(r"</span>(\d+)</a>|<span>(…)</span>", pages)
        self.assertEqual(["".join(each) for each in numbers], ["1", "2", "3", "…", "11"])

    def test_paging_keeps_search_filter_and_sort(self):
        Car.objects.bulk_create(Car(make="Zastava", body="saloon") for _ in range(30))
        page = self.list(q="zast", body="saloon", sort="-price")
        self.assertContains(page, 'href="?q=zast&amp;body=saloon&amp;sort=-price&amp;page=2"')
        self.assertNotContains(page, 'href="?page=')

    def test_a_missing_slash_is_added_with_debug_too(self):
        with override_settings(DEBUG=True):
            self.assertRedirects(self.client.get("/cars"), "/cars/", 301)


class DetailTests(PageCase):
    def test_the_first_read_is_a_miss_and_the_second_a_hit(self):
        car = Car.objects.create(make="Toyota", model="Avensis")
        empty_cache()
        first, second = (self.client.get(car.get_absolute_url()) for _ in range(2))
        self.assertContains(first, "Read from the database and put into the cache")
        self.assertContains(second, "Read from the cache.")
        self.assertContains(second, "<strong>1 hit, 0 misses</strong>")

    def test_a_hit_costs_no_query(self):
        car = Car.objects.create(make="Toyota")
        with self.assertNumQueries(0):
            self.client.get(car.get_absolute_url())

    def test_the_page_of_a_car_shows_its_key(self):
        car = Car.objects.create(make="Toyota")
        self.assertContains(self.client.get(car.get_absolute_url()), car.key())

    def test_html_in_the_name_of_a_car_is_escaped(self):
        car = Car.objects.create(make="<script>alert(1)</script>")
        for url in (car.get_absolute_url(), reverse("cars:list"), "/"):
            self.assertNotContains(self.client.get(url), "<script>alert")

    def test_links_to_change_a_car_need_the_permission(self):
        car = Car.objects.create(make="Toyota")
        edit, delete = (reverse(f"cars:{name}", args=[car.pk]) for name in ("edit", "delete"))
        self.assertNotContains(self.client.get(car.get_absolute_url()), edit)
        self.log_in("change_car")
        page = self.client.get(car.get_absolute_url())
        self.assertContains(page, edit)
        self.assertNotContains(page, delete)


class NotFoundTests(PageCase):
    def setUp(self):
        super().setUp()
        self.enterContext(self.assertLogs("django.request"))  # keeps the terminal clean

    def test_a_missing_page_gives_the_sites_404_page_with_and_without_debug(self):
        self.log_in("change_car", "delete_car")
        urls = [f"/cars/{pk}/" for pk in ("0", "999999", 2**63, "9" * 300, "9" * 5000, "abc")]
        urls += ["/cars/999999/edit/", "/cars/999999/delete/", "/nothing", "/nothing/"]
        for debug in (False, True):
            for url in urls:
                with self.subTest(url[:30], debug=debug), override_settings(DEBUG=debug):
                    page = self.client.get(url)
                    self.assertContains(page, "Page not found", status_code=404)
                    self.assertIn("Content-Security-Policy", page.headers)


class ChangeTests(PageCase):
    data = {"make": "Toyota", "model": "Auris", "year": 2006, "body": "hatchback"}

    def test_adding_shows_the_new_car_and_a_message(self):
        self.log_in("add_car")
        page = self.client.post(reverse("cars:add"), self.data, follow=True)
        self.assertRedirects(page, Car.objects.get().get_absolute_url())
        self.assertContains(page, "Toyota Auris was added")

    def test_an_edit_shows_on_the_page_of_the_car(self):
        self.log_in("change_car")
        car = Car.objects.create(make="Toyota", model="Avensis")
        page = self.client.post(reverse("cars:edit", args=[car.pk]), self.data, follow=True)
        self.assertContains(page, "Toyota Auris was saved")
        self.assertContains(page, "<h1>Toyota Auris</h1>")

    def test_the_edit_form_reads_the_database_and_not_the_cache(self):
        self.log_in("change_car")
        car = Car.objects.create(make="Stale")
        with connection.cursor() as cursor:  # without Django, so the cache isn't updated
            cursor.execute("UPDATE cars_car SET make = 'Toyota' WHERE id = %s", [car.pk])
        self.assertEqual(Car.objects.cache(car.pk).make, "Stale")
        page = self.client.get(reverse("cars:edit", args=[car.pk]))
        self.assertContains(page, 'value="Toyota"')
        self.assertNotContains(page, "Stale")

    def test_deleting_asks_for_confirmation_and_shows_a_message(self):
        self.log_in("delete_car")
        car = Car.objects.create(make="Toyota", model="Avensis")
        url = reverse("cars:delete", args=[car.pk])
        self.assertContains(self.client.get(url), "Delete Toyota Avensis?")
        self.assertTrue(Car.objects.exists())
        page = self.client.post(url, follow=True)
        self.assertRedirects(page, reverse("cars:list"))
        self.assertContains(page, "Toyota Avensis was deleted")
        self.assertFalse(Car.objects.exists())

    def test_an_invalid_value_is_rejected_and_nothing_is_saved(self):
        self.log_in("add_car")
        page = self.client.post(reverse("cars:add"), {**self.data, "year": 1700})
        self.assertContains(page, "The year must be 1886 or later.")
        self.assertFalse(Car.objects.exists())

    def urls(self):
        car = Car.objects.create(make="Toyota")
        return [reverse("cars:add")] + [
            reverse(f"cars:{name}", args=[car.pk]) for name in ("edit", "delete")
        ]

    def test_anonymous_users_are_redirected_to_the_login(self):
        for url in self.urls():
            for answer in (self.client.get(url), self.client.post(url, self.data)):
                self.assertRedirects(answer, f"/accounts/login/?next={url}")

    def test_users_without_permission_get_the_403_page(self):
        self.log_in()
        for url in self.urls():
            for answer in (self.client.get(url), self.client.post(url, self.data)):
                self.assertContains(answer, "Permission denied", status_code=403)
        self.assertEqual(Car.objects.get().make, "Toyota")

    def test_a_form_without_a_csrf_token_gets_a_page_that_says_what_to_do(self):
        client = Client(enforce_csrf_checks=True)
        page = client.post("/accounts/login/", {"username": "a", "password": "b"})
        self.assertContains(page, "send the form again", status_code=403)


class AccountTests(PageCase):
    def test_both_logins_name_the_published_account_with_debug_only(self):
        for url in ("/accounts/login/", "/admin/login/"):
            self.assertNotContains(self.client.get(url), "<kbd>demo</kbd>")
        with override_settings(DEBUG=True):
            self.assertContains(self.client.get("/admin/login/"), "<kbd>demo</kbd>", count=2)

    def test_login_redirects_to_the_requested_page(self):
        User.objects.create_user("user", password="secret")
        answer = self.client.post(
            "/accounts/login/?next=/cars/",
            {"username": "user", "password": "secret", "next": "/cars/"},
        )
        self.assertRedirects(answer, "/cars/")

    def test_logout_needs_a_post(self):
        self.log_in()
        self.assertEqual(self.client.get("/accounts/logout/").status_code, 405)
        page = self.client.post("/accounts/logout/", follow=True)
        self.assertContains(page, "Log in")


DUMMY = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


@override_settings(CACHES=DUMMY)
class CacheIsOffTests(PageCase):
    def test_the_page_of_a_car_works(self):
        car = Car.objects.create(make="Toyota")
        self.assertContains(self.client.get(car.get_absolute_url()), "<h1>Toyota</h1>")


class CacheIsDownTests(PageCase):
    """No page fails because the cache is down."""

    def setUp(self):
        super().setUp()
        caches = site.caches([f"127.0.0.1:{servers.free_port()}"])
        self.enterContext(override_settings(CACHES=caches))
        user = User.objects.create_superuser("root")
        self.client.force_login(user)
        self.car = Car.objects.create(make="Toyota", model="Avensis", price=100)

    def test_every_page_works(self):
        urls = ["/", "/cars/", "/cars/add/", "/accounts/login/", "/readyz", "/admin/"]
        urls += ["/admin/cars/car/", f"/admin/cars/car/{self.car.pk}/change/"]
        urls += [f"/cars/{self.car.pk}/{rest}" for rest in ("", "edit/", "delete/")]
        for url in urls:
            with self.subTest(url):
                self.assertEqual(self.client.get(url).status_code, 200)

    def test_the_page_of_a_car_says_that_the_cache_does_not_answer(self):
        page = self.client.get(self.car.get_absolute_url())
        self.assertContains(page, "Read from the database: the cache does not answer")
        self.assertContains(page, "1 without an answer")
        self.assertNotContains(page, "miss")

    def test_the_list_says_so_of_each_car_and_counts_no_misses(self):
        page = self.client.get("/cars/")
        self.assertContains(page, '<span class="badge no-answer">no answer</span>')
        self.assertContains(page, "1 without an answer")
        self.assertNotContains(page, "miss")

    def test_the_admin_says_so_on_the_page_of_a_car_and_shows_no_none(self):
        page = self.client.get(f"/admin/cars/car/{self.car.pk}/change/")
        self.assertContains(page, "The cache doesn’t answer.")
        self.assertContains(page, '<div class="readonly">–</div>', count=2, html=True)
        self.assertNotContains(page, "None")

    def test_the_admin_says_so_in_its_list_and_in_what_its_actions_say(self):
        self.assertContains(self.client.get("/admin/cars/car/"), "no answer")
        for action in ("remove_from_cache", "put_into_cache"):
            with self.subTest(action):
                page = self.client.post(
                    "/admin/cars/car/",
                    {"action": action, "_selected_action": [self.car.pk]},
                    follow=True,
                )
                self.assertContains(page, "The cache does not answer for 1 car:")
                self.assertNotContains(page, "0 cars")
                self.assertNotContains(page, "The action.")

    def test_every_page_of_a_car_shows_it(self):
        for url in ("/cars/", self.car.get_absolute_url()):
            self.assertContains(self.client.get(url), "Toyota Avensis")

    def test_saving_and_deleting_work(self):
        url = reverse("cars:edit", args=[self.car.pk])
        self.client.post(url, {"make": "Volvo"})
        self.assertContains(self.client.get(self.car.get_absolute_url()), "Volvo")
        self.client.post(reverse("cars:delete", args=[self.car.pk]))
        self.assertEqual(self.client.get(self.car.get_absolute_url()).status_code, 404)

    def test_the_admin_actions_work(self):
        for action in ("remove_from_cache", "put_into_cache", "mark_down"):
            answer = self.client.post(
                "/admin/cars/car/", {"action": action, "_selected_action": [self.car.pk]}
            )
            self.assertRedirects(answer, "/admin/cars/car/")
