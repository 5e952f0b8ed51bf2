"""What a write did, as a message on the next page."""

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString


def described(request: HttpRequest, done: str) -> SafeString:
    """Return the HTML of a message: `done`, and the steps of this request that did it."""
    context = {"done": done, "steps": request.lookups.steps}
    return render_to_string("cars/_write.html", context)
