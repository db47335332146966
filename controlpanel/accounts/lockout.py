"""Locks after failed log-ins. django-axes locks a pair of user name and IP address; after more failures, the address is
locked for all names."""

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

# The maximum length of a user name. Failed log-ins are stored by name, and clients send names of any length.
_MAX_NAME_LENGTH = 150
_LOG_IN_VIEWS = frozenset({"admin:login", "account_login", "account_reauthenticate"})


def attempted_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """Return the user name of a log-in attempt, cut to the column's length; None without one."""
    name = credentials.get("username") if credentials else request.POST.get("username")
    return plain(name[:_MAX_NAME_LENGTH]) if isinstance(name, str) else None


def is_address_locked(address: str, now: datetime) -> bool:
    """Whether too many recent log-ins from this address failed, over all names.

    The addresses of an IPv6 /64 network count as one: a single client usually has all of them.
    """
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
    """Answers 429 to log-ins from a locked address, before the password is checked or an attempt is recorded."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        match = request.resolver_match
        is_log_in = request.method == "POST" and match is not None and match.view_name in _LOG_IN_VIEWS
        address = request.META.get("REMOTE_ADDR", "")
        if not is_log_in or not address or not is_address_locked(address, timezone.now()):
            return None
        return locked_out(request, limit=settings.LOGIN_ATTEMPTS_PER_ADDRESS)


def locked_out(
    request: HttpRequest, credentials: dict[str, Any] | None = None, *, limit: int | None = None
) -> HttpResponse:
    """Return a 429 page with the duration of the lock. For htmx requests it replaces the whole page."""
    context = {
        "username": "" if limit else get_client_username(request, credentials) or "",
        "is_address_locked": limit is not None,
        "failure_limit": limit or settings.AXES_FAILURE_LIMIT,
        "lock_s": settings.AXES_COOLOFF_TIME.total_seconds(),
    }
    if "HX-Request" not in request.headers:
        return render(request, "locked_out.html", context, status=429)
    # htmx doesn't swap in error responses, hence 200.
    response = render(request, "locked_out.html", context)
    response.headers["HX-Retarget"] = "body"
    response.headers["HX-Reswap"] = "innerHTML"
    return response
