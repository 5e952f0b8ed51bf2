"""The addresses below /cars/."""

from django.urls import path

from . import views

app_name = "cars"

urlpatterns = [
    path("", views.CarList.as_view(), name="list"),
    path("add/", views.CarAdd.as_view(), name="add"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/edit/", views.CarEdit.as_view(), name="edit"),
    path("<int:pk>/delete/", views.CarDelete.as_view(), name="delete"),
]
