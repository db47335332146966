"""API servers for the contract: the embedded cluster, a cluster with a kubeconfig, or a control plane from binaries.

The suite uses only `Target`. `open_target` chooses one by the environment.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.contract.controlplane import ControlPlane
from tests.contract.throttling import Throttle, fault_throttle, flow_schema_throttle
from tests.support.api_server import running
from tests.support.kubeconfig import load_kubeconfig
from tests.support.rest import Access


@dataclass(frozen=True)
class Target:
    """One API server, with the access of an administrator (group system:masters)."""

    name: str
    access: Access
    has_controllers: bool
    """Whether garbage collection, namespace deletion and default ServiceAccounts happen."""
    throttle: Throttle


@contextmanager
def open_target() -> Iterator[Target]:
    """Start or connect to the server of CONTRACT_KUBECONFIG or KUBEBUILDER_ASSETS; by default, the embedded cluster."""
    kubeconfig = os.environ.get("CONTRACT_KUBECONFIG")
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if kubeconfig:
        with tempfile.TemporaryDirectory(prefix="contract-") as scratch:
            access = load_kubeconfig(Path(kubeconfig), Path(scratch))
            yield Target(f"the cluster of {kubeconfig}", access, True, flow_schema_throttle(access))
    elif assets:
        with ControlPlane(Path(assets)) as plane:
            access = Access(plane.url, token=plane.admin_token, ca_file=str(plane.ca_file))
            yield Target(f"the binaries in {assets}", access, plane.has_controllers, flow_schema_throttle(access))
    else:
        with open_embedded_target() as target:
            yield target


@contextmanager
def open_embedded_target() -> Iterator[Target]:
    """An embedded API server on a state directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="contract-") as directory, running(Path(directory)) as server:
        yield Target("the embedded cluster", server.access, True, fault_throttle(server.access))
