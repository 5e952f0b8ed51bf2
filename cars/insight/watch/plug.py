"""The button that stops and starts the demo's own Memcached.

The server belongs to the process of `manage.py demo`, which listens to these signals.
"""

import os
import signal
import time

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from . import server

SIGNALS = {"stop": signal.SIGUSR1, "start": signal.SIGUSR2}
DONE = {
    "stop": "Memcached was stopped. Open and save cars: everything works, from the database.",
    "start": "Memcached was started, and is empty. The next read of each car is a miss.",
}
PATIENCE = 10  # seconds


@staff_member_required
@require_POST
def plug(request: HttpRequest) -> HttpResponse:
    """Stop or start Memcached, as the field `do` says, and wait until that is done."""
    if not settings.DEMO_PID:
        raise Http404("Only the Memcached that `manage.py demo` has started can be stopped here.")
    do = request.POST.get("do", "")
    if do not in SIGNALS:
        return HttpResponseBadRequest("do is stop or start.")
    os.kill(settings.DEMO_PID, SIGNALS[do])
    deadline = time.monotonic() + PATIENCE
    while runs() is not (do == "start"):
        if time.monotonic() > deadline:
            messages.warning(request, f"Memcached did not {do}. The terminal may say why.")
            break
        time.sleep(0.05)
    else:
        messages.success(request, DONE[do])
    return redirect("watch:page")


def runs() -> bool:
    """Does the Memcached of this site answer?"""
    return all(server.counters(address) for address in settings.MEMCACHED_SERVERS)
