"""The parts of one API server that its request handlers use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster.apiserver.auth.identity import Authenticator
from devcluster.apiserver.auth.rbac import Authorizer
from devcluster.apiserver.http.faults import Faults, RequestCounts
from devcluster.apiserver.schema.resources import Registry
from devcluster.apiserver.storage.store import Store
from devcluster.apiserver.writes.deletion import Lifecycle
from devcluster.apiserver.writes.operations import Operations


@dataclass(frozen=True, slots=True)
class Backend:
    """One instance per server; the server and its handlers share it."""

    store: Store
    registry: Registry
    lifecycle: Lifecycle
    operations: Operations
    authenticator: Authenticator
    authorizer: Authorizer
    faults: Faults
    request_counts: RequestCounts
    pod_logs: Mapping[str, Path]
    """The log file of each Pod that has one, by the Pod's uid. No object names a path."""
