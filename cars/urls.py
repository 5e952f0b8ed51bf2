"""The URLs below /cars/."""

from django.db.models import BigIntegerField
from django.urls import path, register_converter
from django.urls.converters import IntConverter

from . import views


class PkConverter(IntConverter):
    """Matches a number that can be a pk; a larger number gives a 404."""

    def to_python(self, value: str) -> int:
        pk = int(value)
        if pk > BigIntegerField.MAX_BIGINT:
            raise ValueError(value)
        return pk


register_converter(PkConverter, "pk")

app_name = "cars"

urlpatterns = [
    path("", views.index, name="list"),
    path("add/", views.CarAdd.as_view(), name="add"),
    path("<pk:pk>/", views.detail, name="detail"),
    path("<pk:pk>/forget/", views.forget, name="forget"),
    path("<pk:pk>/edit/", views.CarEdit.as_view(), name="edit"),
    path("<pk:pk>/delete/", views.CarDelete.as_view(), name="delete"),
]
