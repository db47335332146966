"""Free TCP ports on this machine's loopback address."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return whether a server can listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose_port(ports: range, taken: Collection[int]) -> int:
    """Return a random free port of the range that is not in `taken`. OSError after 1,000 attempts.

    Random ports make collisions between embedded clusters on one machine unlikely.
    """
    for _ in range(1000):
        port = ports.start + secrets.randbelow(len(ports))
        if port not in taken and is_free(port):
            return port
    raise OSError(
        f"No free port between {ports.start} and {ports.stop} on {LOOPBACK}: too many programs are listening."
    )
