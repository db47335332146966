"""What someone is told whose log-in is locked."""

from typing import Any

from axes.helpers import get_client_username
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from projects.confidential.plain_text import plain

# As long as a user's name can be. Failed log-ins are kept by it: anyone may send any.
_LONGEST_NAME = 150


def name_tried(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """Return the name of a log-in that is tried, cut to what a row holds; None where there is none."""
    name = credentials.get("username") if credentials else request.POST.get("username")
    return plain(name[:_LONGEST_NAME]) if isinstance(name, str) else None


def answer_locked_out(request: HttpRequest, credentials: dict[str, Any] | None = None) -> HttpResponse:
    """Answer 429 with a page that says for how long; a fragment's request gets it in place of the whole page."""
    context = {
        "username": get_client_username(request, credentials) or "",
        "failure_limit": settings.AXES_FAILURE_LIMIT,
        "lock_s": settings.AXES_COOLOFF_TIME.total_seconds(),
    }
    if "HX-Request" not in request.headers:
        return render(request, "locked_out.html", context, status=429)
    # htmx shows nothing of an answer that is an error.
    response = render(request, "locked_out.html", context)
    response.headers["HX-Retarget"] = "body"
    response.headers["HX-Reswap"] = "innerHTML"
    return response
