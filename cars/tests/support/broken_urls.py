"""The URLs of the site, with a start page that raises an error."""

from django.urls import path

from carsite.urls import handler404, urlpatterns


def broken(request):
    raise RuntimeError("on purpose")


__all__ = ["handler404", "urlpatterns"]
urlpatterns = [path("", broken), *urlpatterns]
