"""Locks after failed log-ins: django-axes locks a name at an address, and an address locks for all names after more."""

import ipaddress
from collections.abc import Callable
from datetime import datetime
from typing import Any

from axes.helpers import get_client_username
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from projects.confidential.plain_text import plain

# As long as a user's name can be. Failed log-ins are kept by it: anyone may send any.
_LONGEST_NAME = 150
_LOG_INS = frozenset({"admin:login", "account_login", "account_reauthenticate"})


def name_tried(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """Return the name of a log-in that is tried, cut to what a row holds; None where there is none."""
    name = credentials.get("username") if credentials else request.POST.get("username")
    return plain(name[:_LONGEST_NAME]) if isinstance(name, str) else None


def is_address_locked(address: str, now: datetime) -> bool:
    """Whether log-ins from this address have failed too often lately, counted over all names. The addresses of an IPv6
    /64 count together: one client usually has all of them."""
    since = now - settings.AXES_COOLOFF_TIME
    recent = AccessAttempt.objects.filter(attempt_time__gte=since)
    if ":" in address:
        network = ipaddress.ip_network(f"{address}/64", strict=False)
        counted = sum(
            failures
            for other, failures in recent.values_list("ip_address", "failures_since_start")
            if other and ipaddress.ip_address(other) in network
        )
    else:
        counted = recent.filter(ip_address=address).aggregate(sum=Sum("failures_since_start"))["sum"] or 0
    return bool(counted >= settings.LOGIN_ATTEMPTS_PER_ADDRESS)


class AddressLimitMiddleware:
    """Answers 429 to log-ins from an address that is locked, before anything is checked or recorded."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        found = request.resolver_match
        is_log_in = request.method == "POST" and found is not None and found.view_name in _LOG_INS
        address = request.META.get("REMOTE_ADDR", "")
        if not is_log_in or not address or not is_address_locked(address, timezone.now()):
            return None
        return answer_locked_out(request, limit=settings.LOGIN_ATTEMPTS_PER_ADDRESS)


def answer_locked_out(
    request: HttpRequest, credentials: dict[str, Any] | None = None, *, limit: int | None = None
) -> HttpResponse:
    """Answer 429 with a page that says for how long; a fragment's request gets it in place of the whole page."""
    context = {
        "username": get_client_username(request, credentials) or "",
        "failure_limit": limit or settings.AXES_FAILURE_LIMIT,
        "lock_s": settings.AXES_COOLOFF_TIME.total_seconds(),
    }
    if "HX-Request" not in request.headers:
        return render(request, "locked_out.html", context, status=429)
    # htmx shows nothing of an answer that is an error.
    response = render(request, "locked_out.html", context)
    response.headers["HX-Retarget"] = "body"
    response.headers["HX-Reswap"] = "innerHTML"
    return response
