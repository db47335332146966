"""From where a request comes. What is behind this middleware (throttling, the audit log) reads `REMOTE_ADDR` only."""

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


def client_address(remote: str, forwarded_for: str, proxies: int) -> str:
    """Return the address that the outermost of our own proxies saw.

    Each proxy appends whom it was asked by to X-Forwarded-For: behind `proxies` of them, the entry so many from the
    right is the client's, and what stands left of it is whatever the client wrote. With fewer entries than proxies, or
    something that is no address, nothing is trusted but the connection's other end, `remote`.
    """
    entries = [entry.strip() for entry in forwarded_for.split(",")] if forwarded_for.strip() else []
    if not 0 < proxies <= len(entries):
        return remote
    try:
        return str(ipaddress.ip_address(entries[-proxies]))
    except ValueError:
        return remote


class ClientAddressMiddleware:
    """Puts the client's address into REMOTE_ADDR and takes X-Forwarded-For away, so that nobody else guesses by it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        forwarded_for = request.META.pop("HTTP_X_FORWARDED_FOR", "")
        remote = request.META.get("REMOTE_ADDR", "")
        request.META["REMOTE_ADDR"] = client_address(remote, forwarded_for, settings.TRUSTED_PROXIES)
        return self._get_response(request)
