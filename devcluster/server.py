"""The embedded Kubernetes API server, as the rest of the devcluster package and the tests use it."""

from __future__ import annotations

from .apiserver.faults import Fault, Faults, RequestCounts
from .apiserver.identity import MASTERS, Identity
from .apiserver.server import ApiServer, KubeblocksVersion

__all__ = ["MASTERS", "ApiServer", "Fault", "Faults", "Identity", "KubeblocksVersion", "RequestCounts"]
