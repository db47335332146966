"""KubeBlocks objects that the panel writes, for each release, and invalid variants of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.contract.objects import GONE
from tests.support.rest import Object

Release = Literal["v0.8.4", "v0.9.5", "v1.0.2"]
RELEASES: tuple[Release, ...] = ("v0.8.4", "v0.9.5", "v1.0.2")
REDUCED = Path(__file__).parents[2] / "devcluster" / "crds"

LEGACY: tuple[Release, ...] = ("v0.8.4", "v0.9.5")
NAMES_OF_CLUSTERS = {"v0.8.4": "clusterRef", "v0.9.5": "clusterName", "v1.0.2": "clusterName"}


@dataclass(frozen=True)
class Sample:
    """A valid spec of one kind of one release."""

    release: Release
    plural: Literal["clusters", "opsrequests", "backups"]
    version: str
    what: str
    spec: Object

    @property
    def label(self) -> str:
        return f"{self.release} {self.version} {self.what}"


def _storage(size: str) -> Object:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}


def _component(**extra: object) -> Object:
    amount = {"cpu": "500m", "memory": "512Mi"}
    return {
        "name": "postgresql",
        "replicas": 1,
        "resources": {"limits": amount, "requests": amount},
        "volumeClaimTemplates": [{"name": "data", "spec": _storage("20Gi")}],
        **extra,
    }


CLUSTER_V1: Object = {
    "clusterDef": "postgresql",
    "topology": "replication",
    "terminationPolicy": "Delete",
    "componentSpecs": [_component(serviceVersion="16.4.0")],
}
CLUSTER_LEGACY: Object = {
    "clusterDefinitionRef": "postgresql",
    "clusterVersionRef": "postgresql-14.8.0",
    "terminationPolicy": "Delete",
    "componentSpecs": [_component(componentDefRef="postgresql")],
}


def _operations(release: Release) -> dict[str, Object]:
    data = [{"name": "data", "storage": "30Gi"}]
    amount = {"cpu": "1", "memory": "1Gi"}
    found: dict[str, Object] = {
        "Start": {},
        "Stop": {},
        "Restart": {"restart": [{"componentName": "postgresql"}]},
        "VerticalScaling": {
            "verticalScaling": [{"componentName": "postgresql", "requests": amount, "limits": amount}],
        },
        "VolumeExpansion": {"volumeExpansion": [{"componentName": "postgresql", "volumeClaimTemplates": data}]},
    }
    if release == "v0.8.4":
        found["HorizontalScaling"] = {"horizontalScaling": [{"componentName": "postgresql", "replicas": 2}]}
    else:
        out = {"componentName": "postgresql", "scaleOut": {"replicaChanges": 1}}
        found["HorizontalScaling"] = {"horizontalScaling": [out]}
    if release == "v1.0.2":
        found["Backup"] = {"backup": {"backupName": "b1", "backupMethod": "pg-basebackup"}}
        found["Restore"] = {"restore": {"backupName": "b1", "backupNamespace": "demo"}}
    return {kind: {NAMES_OF_CLUSTERS[release]: "pg1", "type": kind, **body} for kind, body in found.items()}


def samples() -> list[Sample]:
    """Return each object for each release."""
    found: list[Sample] = []
    for release in RELEASES:
        if release in LEGACY:
            found.append(Sample(release, "clusters", "v1alpha1", "Cluster", CLUSTER_LEGACY))
        else:
            found.append(Sample(release, "clusters", "v1", "Cluster", CLUSTER_V1))
        for kind, spec in _operations(release).items():
            found.append(Sample(release, "opsrequests", "v1alpha1", kind, spec))
        policy = {"backupPolicyName": "pg1-postgresql-backup-policy", "backupMethod": "pg-basebackup"}
        found.append(Sample(release, "backups", "v1alpha1", "Backup", {**policy, "deletionPolicy": "Delete"}))
    return found


ANY: list[object] = ["", "x", "Upper_", "x" * 100, "-", 0, -1, 1.5, True, None, [], {}, ["x"], {"x": "y"}, GONE]
"""Values that replace each field, one at a time. Some are valid for some fields."""

TELLING: dict[str, list[object]] = {
    "terminationPolicy": ["DoNotTerminate", "Halt", "Delete", "WipeOut", "Sometimes"],
    "storage": ["1Gi", "0", "1.5Gi", "many", 5],
    "cpu": ["1", "0.5", "100m", "lots", 2],
    "memory": ["1Gi", "1e9", "-1Gi"],
    "type": ["Start", "Stop", "Restart", "Switchover", "Upgrade", "Reconfiguring", "Custom", "Dance"],
    "clusterDef": ["mysql", "a.b", "a..b", "1a"],
    "topology": ["standalone", "a" * 32, "a" * 33],
    "serviceVersion": ["16.4.0", "16", "v16", "16.4.0-alpha.1", "1" * 33],
    "replicas": [0, 1, 3, 16384, 16385],
    "replicaChanges": [0, 1, -1],
    "name": ["data", "a" * 22, "a" * 23, "a-b", "a.b", "1a"],
    "deletionPolicy": ["Delete", "Retain", "Perhaps"],
    "accessModes": [["ReadWriteOnce"], ["ReadOnlyMany", "ReadWriteOnce"]],
    "componentName": ["postgresql", "a.b", "a" * 64],
}
"""More values for fields of these names: those near the limits."""


def mutations(spec: object, path: str = "") -> list[tuple[str, object]]:
    """Yield each field of `spec` with each value to try in its place, as (dotted path, value)."""
    found: list[tuple[str, object]] = []
    children = spec.items() if isinstance(spec, dict) else enumerate(spec) if isinstance(spec, list) else ()
    for key, child in children:
        here = f"{path}.{key}" if path else str(key)
        values = ANY + TELLING.get(str(key), [])
        found += [(here, value) for value in values]
        found += mutations(child, here)
    if isinstance(spec, list) and len(spec) == 1:
        found.append((path, [spec[0], spec[0]]))
    return found
