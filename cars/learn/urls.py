"""The URLs below /learn/."""

from django.urls import path

from . import views

app_name = "learn"

urlpatterns = [
    path("", views.index, name="index"),
    path("lab/", views.lab, name="lab"),
    path("races/", views.races, name="races"),
    path("tests/<slug:name>/", views.show_proofs, name="proofs"),
    path("lot/", views.write_on_lot, name="lot"),
    path("<slug:slug>/", views.page, name="page"),
]
