"""The client's IP address. Everything behind this middleware, such as rate limits and the audit log, reads
`REMOTE_ADDR` only."""

import ipaddress
import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from provisioning.proxy_reports import report_unreadable


def client_address(remote: str, forwarded_for: str, proxies: int) -> str:
    """Return the client's address as the outermost trusted proxy saw it.

    Each proxy appends the address of its client to X-Forwarded-For. Behind N proxies, the Nth entry from the right is
    the client's address; entries further left come from the client and are not trusted. Returns `remote`, the address
    of the connection, if there are fewer entries than proxies or the entry is not an IP address.
    """
    entry = _outermost_entry(forwarded_for, proxies)
    return (read_address(entry) if entry else "") or remote


def find_unreadable(forwarded_for: str, proxies: int) -> str:
    """Return the entry that should be the client's address and isn't one, or the whole header if it has fewer entries
    than there are proxies. "" if the address can be read, and without proxies or a header, as for health probes."""
    if proxies < 1 or not forwarded_for.strip():
        return ""
    entry = _outermost_entry(forwarded_for, proxies)
    return forwarded_for if entry is None else "" if read_address(entry) else entry or "(empty)"


def _outermost_entry(forwarded_for: str, proxies: int) -> str | None:
    """Return the entry that the outermost trusted proxy wrote, None if there are fewer entries than proxies."""
    entries = [entry.strip() for entry in forwarded_for.split(",")] if forwarded_for.strip() else []
    return entries[-proxies] if 0 < proxies <= len(entries) else None


def read_address(entry: str) -> str:
    """Return the address in an entry of X-Forwarded-For, without the port and the brackets that some proxies write
    (`192.0.2.7:49152`, `[2001:db8::7]:49152`, `"[2001:db8::7]"`); "" where there is none."""
    bare = entry.strip().strip('"')
    if bare.startswith("["):
        bare, closing, port = bare[1:].partition("]")
        if not closing:
            return ""
    elif bare.count(":") == 1:
        bare, _, port = bare.partition(":")
        port = f":{port}"
    else:
        port = ""
    if port and not re.fullmatch(r":[0-9]{1,5}", port):
        return ""
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class ClientAddressMiddleware:
    """Sets REMOTE_ADDR to the client's address and removes X-Forwarded-For, so that no other code interprets it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        forwarded_for = request.META.pop("HTTP_X_FORWARDED_FOR", "")
        remote = request.META.get("REMOTE_ADDR", "")
        if unreadable := find_unreadable(forwarded_for, settings.TRUSTED_PROXIES):
            report_unreadable(unreadable, remote)
        request.META["REMOTE_ADDR"] = client_address(remote, forwarded_for, settings.TRUSTED_PROXIES)
        return self._get_response(request)
