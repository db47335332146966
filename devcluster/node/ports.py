"""Loopback addresses of this machine, and free TCP ports on them.

Cookies ignore ports: a browser sends those of the panel to every server on 127.0.0.1. Sandboxes therefore have another
address, which needs no DNS either.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"
# macOS has no 127.0.0.2 unless somebody adds it. The panel doesn't listen on ::1 by default.
_SANDBOX_HOSTS = ("127.0.0.2", "::1")


def choose_sandbox_host() -> str:
    """Return the address of this machine on which sandboxes are served. OSError if it has none but 127.0.0.1."""
    for host in _SANDBOX_HOSTS:
        if is_free(0, host):
            return host
    raise OSError(f"This machine has no loopback address for sandboxes (tried: {', '.join(_SANDBOX_HOSTS)}).")


def join_address(host: str, port: int) -> str:
    """Return HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server can listen on the port; with port 0, on any port of the address."""
    try:
        probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:  # no IPv6
        return False
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose_port(ports: range, taken: Collection[int], host: str = LOOPBACK) -> int:
    """Return a random free port of the range that is not in `taken`. OSError after 1,000 attempts.

    Random ports make collisions between embedded clusters on one machine unlikely.
    """
    for _ in range(1000):
        port = ports.start + secrets.randbelow(len(ports))
        if port not in taken and is_free(port, host):
            return port
    raise OSError(f"No free port between {ports.start} and {ports.stop} on {host}: too many programs are listening.")
