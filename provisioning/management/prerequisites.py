"""What has to be right before the panel starts: each check says in one sentence what is wrong and what to do."""

import errno
import os
import socket
from pathlib import Path

from django.conf import settings

from provisioning.management.console import FAILED, WRONG_USAGE, stop

EMBEDDED_CLUSTER_MISSING = (
    "There is no embedded cluster in this installation, which lacks the devcluster package as the production image "
    "does: set KUBECONFIG to the kubeconfig of your cluster."
)


def check_embedded_cluster() -> None:
    """Raise CommandError (1) if this installation has no embedded cluster."""
    if not settings.EMBEDDED_CLUSTER_INSTALLED:
        raise stop(FAILED, EMBEDDED_CLUSTER_MISSING)


def check_port(port: int) -> None:
    """Raise CommandError (2) if there is no such port."""
    if not 0 < port < 65536:
        raise stop(WRONG_USAGE, f"There is no port {port}. Choose one from 1 to 65535 with PORT or --port.")


def check_kubeconfig() -> None:
    """Raise CommandError (1) if KUBECONFIG names files, and none of them can be opened.

    As for kubectl it may name several, with colons between; one that is missing among others is no mistake.
    What the files say is not looked at here: the cluster may still be on its way, and `doctor` knows better.
    """
    paths = [Path(name).expanduser() for name in settings.KUBECONFIG.split(os.pathsep) if name]
    troubles = [trouble for trouble in map(_explain_unreadable, paths) if trouble]
    if paths and len(troubles) == len(paths):
        otherwise = ", or leave it unset to use the embedded cluster" if settings.EMBEDDED_CLUSTER_INSTALLED else ""
        raise stop(FAILED, f"{' '.join(troubles)} Set KUBECONFIG to the file of your cluster{otherwise}.")


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
    """Raise CommandError if nothing can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except PermissionError:
        raise stop(FAILED, f"This user may not listen on port {port}. Choose one above 1023 with PORT.") from None
    except socket.gaierror:
        raise stop(
            WRONG_USAGE, f"The address {host} can't be resolved. Give --host an address of this machine."
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise stop(
                FAILED,
                f"Port {port} is in use by another program. Stop that, or choose another: PORT={min(port + 1, 65535)}",
            ) from None
        raise stop(FAILED, f"Nothing can listen on {host}:{port}: {error.strerror}.") from None
