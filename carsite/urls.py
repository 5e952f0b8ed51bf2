"""The URLs of the site."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from cars import views

handler404 = "cars.errors.page_not_found"
handler500 = "cars.errors.server_error"

login = LoginView.as_view(extra_context={"debug": settings.DEBUG})  # when it names the account

urlpatterns = [
    path("", views.home, name="home"),
    path("cars/", include("cars.urls")),
    path("accounts/login/", login, name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("docs/", views.documentation, name="documents"),
    path("docs/pictures/<str:name>", views.picture, name="picture"),
    path("docs/<slug:name>/", views.document, name="document"),
    path("learn/", include("cars.learn.urls")),
    path("watch/", include("cars.insight.watch.urls")),
]

if "debug_toolbar" in settings.INSTALLED_APPS:
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
