"""Checks before the panel starts. Each raises CommandError with what is wrong and what to do."""

import errno
import os
import socket
from pathlib import Path

from django.conf import settings

from provisioning.management.console import FAILED, WRONG_USAGE, command_error

EMBEDDED_CLUSTER_MISSING = (
    "This installation has no embedded cluster: like the production image, it lacks the devcluster package. Set "
    "KUBECONFIG to the kubeconfig of your cluster."
)


def check_embedded_cluster() -> None:
    """Raise CommandError (1) if this installation has no embedded cluster."""
    if not settings.EMBEDDED_CLUSTER_INSTALLED:
        raise command_error(FAILED, EMBEDDED_CLUSTER_MISSING)


def check_port(port: int) -> None:
    """Raise CommandError (2) if there is no such port."""
    if not 0 < port < 65536:
        raise command_error(WRONG_USAGE, f"There is no port {port}. Choose one from 1 to 65535 with PORT or --port.")


def check_kubeconfig() -> None:
    """Raise CommandError (1) if KUBECONFIG names files, and none of them can be opened.

    Like kubectl it accepts several paths, separated by colons, and ignores missing ones among them. The contents are
    not checked here: the cluster may still be starting, and `doctor` checks more.
    """
    paths = [Path(name).expanduser() for name in settings.KUBECONFIG.split(os.pathsep) if name]
    problems = [problem for problem in map(_explain_unreadable, paths) if problem]
    if paths and len(problems) == len(paths):
        otherwise = ", or leave it unset to use the embedded cluster" if settings.EMBEDDED_CLUSTER_INSTALLED else ""
        raise command_error(FAILED, f"{' '.join(problems)} Set KUBECONFIG to the file of your cluster{otherwise}.")


def _explain_unreadable(path: Path) -> str:
    """Return why a kubeconfig can't be opened; "" if it can."""
    try:
        with path.open():
            return ""
    except FileNotFoundError:
        return f"There is no kubeconfig {path}."
    except OSError as error:
        return f"The kubeconfig {path} can't be read: {error.strerror}."


def check_address(host: str, port: int) -> None:
    """Raise CommandError if the panel can't listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except PermissionError:
        raise command_error(
            FAILED, f"This user can't listen on port {port}. Choose a port above 1023 with PORT."
        ) from None
    except socket.gaierror:
        raise command_error(
            WRONG_USAGE, f"The address {host} can't be resolved. Set --host to an address of this machine."
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise command_error(
                FAILED,
                f"Port {port} is in use by another program. Stop it, or choose another: PORT={min(port + 1, 65535)}",
            ) from None
        raise command_error(FAILED, f"The panel can't listen on {host}:{port}: {error.strerror}.") from None
