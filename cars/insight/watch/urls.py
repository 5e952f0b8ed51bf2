"""The URLs below /watch/."""

from django.urls import path

from . import views

app_name = "watch"

urlpatterns = [
    path("", views.page, name="page"),
    path("events", views.events, name="events"),
]
