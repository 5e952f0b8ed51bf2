"""The URLs below /watch/."""

from django.urls import path

from . import plug, views

app_name = "watch"

urlpatterns = [
    path("", views.page, name="page"),
    path("events", views.events, name="events"),
    path("memcached", plug.plug, name="plug"),
]
