"""Addresses that an annotation of a Service gives, and the hosts for which it is believed. Pure.

Anybody who may patch Services can write such an annotation. An address in it counts only where the owner of the panel
has listed its host (ENDPOINT_HOSTS).
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from provisioning.objects.names import ENDPOINT_ANNOTATION
from provisioning.objects.readers import Object, annotations_of

# As the panel's rows have it.
_LONGEST_HOST = 253
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class EndpointHosts:
    """The hosts that annotations may name: `host.example.com`, `*.example.com` (any name below it), `192.0.2.7`,
    `10.0.0.0/8`."""

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[_Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "EndpointHosts":
        """Return the hosts of a setting. Raises ValueError with the entry that is none of the four forms."""
        names, suffixes, networks = set(), [], []
        for entry in entries:
            bare = entry.removeprefix("*.")
            try:
                networks.append(ipaddress.ip_network(entry.removeprefix("[").removesuffix("]")))
                continue
            except ValueError:
                # Digits and dots are an address that someone mistyped; `*` alone would allow every host.
                if not is_host(bare) or ":" in bare or bare.replace(".", "").isdigit() or bare.strip(".") != bare:
                    raise ValueError(entry) from None
            if bare == entry:
                names.add(entry.lower())
            else:
                suffixes.append(f".{bare.lower()}")
        return cls(frozenset(names), tuple(suffixes), tuple(networks))

    def allows(self, host: str) -> bool:
        """Whether an annotation may name this host. A name is compared as it is written: it is never resolved."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.lower()
            return name in self.names or name.endswith(self.suffixes)
        return any(address.version == network.version and address in network for network in self.networks)


NO_HOSTS = EndpointHosts()


def is_host(host: str) -> bool:
    """Whether `host` is a name, or an IPv4 or IPv6 address: nothing that a URL would read in another way."""
    if ":" not in host:
        return len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None
    try:
        return not ipaddress.IPv6Address(host).scope_id
    except ValueError:
        return False


def read_port(digits: str | None) -> int | None:
    """Return a port from its digits; None for anything else, of any length."""
    if not digits or len(digits) > 5 or not digits.isascii() or not digits.isdecimal():
        return None
    return int(digits) if 0 < int(digits) < 65536 else None


def read_endpoint(annotation: str) -> tuple[str, int] | None:
    """Return (host, port) of an annotation that says HOST:PORT; None for anything else: it ends up in URLs."""
    host, _, digits = annotation.rpartition(":")
    host, port = host.removeprefix("[").removesuffix("]"), read_port(digits)
    return (host, port) if port and is_host(host) else None


def annotated_endpoint(service: Object | None, hosts: EndpointHosts, port_name: str = "") -> tuple[str, int] | None:
    """Return the (host, port) that a Service's annotation gives, for the port of this name where it has several; None
    without such an annotation, and for a host that is not allowed."""
    name = f"{ENDPOINT_ANNOTATION}.{port_name}" if port_name else ENDPOINT_ANNOTATION
    endpoint = read_endpoint(annotations_of(service).get(name, ""))
    return endpoint if endpoint is not None and hosts.allows(endpoint[0]) else None


def disallowed_endpoint_host(service: Object | None, hosts: EndpointHosts) -> str:
    """Return the host that a Service's annotation names and the owner has not allowed; "" where there is none."""
    endpoint = read_endpoint(annotations_of(service).get(ENDPOINT_ANNOTATION, ""))
    return endpoint[0] if endpoint is not None and not hosts.allows(endpoint[0]) else ""
