"""Reads the address of a database from an annotation of its Service, for allowed hosts only. Pure.

Anyone who may patch Services can write this annotation. It counts only for hosts in ENDPOINT_HOSTS.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from provisioning.objects.names import ENDPOINT_ANNOTATION
from provisioning.objects.readers import Object, annotations_of

# The limit of the column.
_LONGEST_HOST = 253
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class EndpointHosts:
    """Hosts that annotations may name: `host.example.com`, `*.example.com` (any name below it), `192.0.2.7`,
    `10.0.0.0/8`."""

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[_Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "EndpointHosts":
        """Return the hosts of a setting. Raises ValueError with an entry that has none of the four forms."""
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
        """Whether an annotation may name this host. Names are compared as written and never resolved."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.lower()
            return name in self.names or name.endswith(self.suffixes)
        return any(address.version == network.version and address in network for network in self.networks)


NO_HOSTS = EndpointHosts()


def is_host(host: str) -> bool:
    """Whether `host` is a name, an IPv4 or an IPv6 address that a URL can't misread."""
    if ":" not in host:
        return len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None
    try:
        return not ipaddress.IPv6Address(host).scope_id
    except ValueError:
        return False


def read_port(digits: str | None) -> int | None:
    """Return the port in `digits`, or None for anything else."""
    if not digits or len(digits) > 5 or not digits.isascii() or not digits.isdecimal():
        return None
    return int(digits) if 0 < int(digits) < 65536 else None


def read_endpoint(annotation: str) -> tuple[str, int] | None:
    """Return (host, port) of an annotation HOST:PORT, or None for anything else: it ends up in URLs."""
    host, _, digits = annotation.rpartition(":")
    host, port = host.removeprefix("[").removesuffix("]"), read_port(digits)
    return (host, port) if port and is_host(host) else None


class AnnotatedEndpoint(NamedTuple):
    """What a Service's endpoint annotation says. `allowed`: its (host, port), None without a usable annotation;
    `refused_host`: its host, if that isn't allowed, else ""."""

    allowed: tuple[str, int] | None = None
    refused_host: str = ""


def annotated_endpoint(service: Object | None, hosts: EndpointHosts, port_name: str = "") -> AnnotatedEndpoint:
    """Read a Service's annotation; for the port of this name if the Service has several."""
    name = f"{ENDPOINT_ANNOTATION}.{port_name}" if port_name else ENDPOINT_ANNOTATION
    endpoint = read_endpoint(annotations_of(service).get(name, ""))
    if endpoint is None:
        return AnnotatedEndpoint()
    return AnnotatedEndpoint(endpoint) if hosts.allows(endpoint[0]) else AnnotatedEndpoint(refused_host=endpoint[0])
