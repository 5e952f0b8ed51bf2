"""The admin site: what its pages take from a URL, and what the published account may not do."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.apps import AdminConfig
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

PUBLISHED_ACCOUNT = "demo"  # everyone knows its password: `manage.py demo` prints it


class SiteConfig(AdminConfig):
    """Makes Site the default admin site."""

    default_site = "cars.admin_site.Site"


class Site(admin.AdminSite):
    """Django's admin site, which keeps the password of the published account as it is."""

    site_header = site_title = "carsite admin"
    index_title = "Cars and accounts"

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return the context of every page, with `debug`: then the account is published."""
        return super().each_context(request) | {"debug": settings.DEBUG}

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form, but not to the published account: a new password would lock others out.

        That account exists with debug only.
        """
        if settings.DEBUG and request.user.get_username() == PUBLISHED_ACCOUNT:
            messages.warning(request, "The password of this account is published and can't change.")
            return redirect("admin:index")
        return super().password_change(request, extra_context)


class StrictAdmin(admin.ModelAdmin):
    """A ModelAdmin that accepts from a URL only what its own pages put there.

    Django's allows every lookup of the model's fields. Some raise errors that it doesn't catch
    (`price__range=9`), others take long (`make__regex=...`).
    """

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Is `lookup` one that a filter of the list sets? Django answers 400 to the others."""
        names = [
            item[0] if isinstance(item, tuple) else item for item in self.get_list_filter(request)
        ]
        path = lookup.removesuffix("__exact").removesuffix("__isnull").removesuffix("__id")
        return path in names and super().lookup_allowed(lookup, value, request)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        # Django takes the empty value of `?_to_field=` for the name of a field.
        return super().get_object(request, object_id, from_field or None)
