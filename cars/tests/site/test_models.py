"""The model Car: validation, name, URL and order."""

from datetime import date
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import connection
from django.test import TestCase

from cars.models import MOST_KM, Car


class ValidationTests(TestCase):
    """Values that are rejected, and the error messages."""

    def assertRejected(self, message: str, **values):
        """Assert that a car with `values` is invalid, with `message` for the last of them."""
        with self.assertRaises(ValidationError) as caught:
            Car(**{"make": "Toyota"} | values).full_clean()
        self.assertEqual(caught.exception.message_dict, {[*values][-1]: [message]})

    def test_only_the_make_is_required(self):
        Car(make="Toyota").full_clean()
        self.assertRejected("This field cannot be blank.", make="")

    def test_a_car_with_all_values_is_valid(self):
        car = Car(
            make="Toyota",
            model="Avensis",
            year=1997,
            body=Car.Body.SALOON,
            origin="Japan",
            mileage=180_000,
            price=Decimal("2499.50"),
        )
        car.full_clean()
        car.save()
        car.refresh_from_db()
        self.assertEqual(car.price, Decimal("2499.50"))

    def test_a_make_has_up_to_255_characters(self):
        Car(make="x" * 255).full_clean()
        self.assertRejected(
            "Ensure this value has at most 255 characters (it has 256).", make="x" * 256
        )

    def test_a_year_before_the_first_car_is_rejected(self):
        Car(make="Benz", year=1886).full_clean()
        self.assertRejected("The year must be 1886 or later.", year=1700)

    def test_next_year_is_the_latest_allowed_year(self):
        newest = date.today().year + 1
        Car(make="Toyota", year=newest).full_clean()
        self.assertRejected(f"The year must be {newest} or earlier.", year=newest + 1)

    def test_an_unknown_body_is_rejected(self):
        self.assertRejected("Value 'boat' is not a valid choice.", body="boat")

    def test_a_negative_mileage_is_rejected(self):
        Car(make="Toyota", mileage=0).full_clean()
        self.assertRejected("A mileage can't be negative.", mileage=-1)

    def test_a_mileage_that_no_car_reaches_is_rejected(self):
        Car(make="Toyota", mileage=MOST_KM).full_clean()
        self.assertRejected(f"The mileage must be {MOST_KM} km or less.", mileage=MOST_KM + 1)

    def test_a_negative_price_is_rejected(self):
        Car(make="Toyota", price=0).full_clean()
        self.assertRejected("A price can't be negative.", price=Decimal("-0.01"))

    def test_a_price_has_two_decimals(self):
        self.assertRejected(
            "Ensure that there are no more than 2 decimal places.", price=Decimal("1.001")
        )

    def test_a_string_with_a_null_character_is_rejected(self):
        for field in ("make", "model", "origin"):
            with self.subTest(field=field):
                self.assertRejected("Null characters are not allowed.", **{field: "a\0b"})


class CarTests(TestCase):
    """The name, the URL and the order of cars."""

    def test_the_name_of_a_car_is_its_make_and_model(self):
        self.assertEqual(str(Car(make="Toyota", model="Avensis")), "Toyota Avensis")
        self.assertEqual(str(Car(make="Toyota")), "Toyota")

    def test_each_car_has_a_url(self):
        self.assertEqual(Car(pk=7, make="Toyota").get_absolute_url(), "/cars/7/")

    def test_the_order_is_alphabetical_without_regard_to_case_and_accents(self):
        makes = ["Acura", "AMC", "DAF", "De Tomaso", "SEAT", "Škoda", "Smart", "Zeekr"]
        Car.objects.bulk_create(Car(make=make) for make in reversed(makes))
        self.assertEqual(list(Car.objects.values_list("make", flat=True)), makes)

    def test_an_index_serves_the_order(self):
        if connection.vendor == "sqlite":  # others sort a table as small as this
            self.assertIn("car_by_name", Car.objects.all()[:25].explain())

    def test_cars_are_ordered_by_make_model_and_pk(self):
        rows = [("Volvo", "V70"), ("Toyota", "Avensis"), ("Toyota", "Auris"), ("Toyota", "Auris")]
        cars = [Car.objects.create(make=make, model=model) for make, model in rows]
        volvo, avensis, auris, second_auris = cars
        self.assertEqual(list(Car.objects.all()), [auris, second_auris, avensis, volvo])
