"""The scale of a workload: its replicas as an object, whose managedFields are those of the workload's replicas.

After pkg/registry/apps/statefulset/storage and apimachinery's util/managedfields/scalehandler.go, v1.36.
"""

from __future__ import annotations

from typing import Any

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.schema.typed_values import Path
from devcluster.apiserver.writes import ownership
from devcluster.apiserver.writes.ownership import ManagedEntry

SCALE = ResourceType("autoscaling", "v1", "scales", "Scale", True, (), type_name="autoscaling.v1.Scale")
_REPLICAS: Path = ("f:spec", "f:replicas")


def scale_of(body: JsonObject) -> JsonObject:
    """Return the scale of a workload, as a client sees it."""
    metadata = body["metadata"]
    spec, status = body.get("spec") or {}, body.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector: Any = (spec.get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": spec.get("replicas", 1)} if spec.get("replicas", 1) else {},
        "status": {
            "replicas": status.get("replicas", 0),
            "selector": ",".join(f"{name}={value}" for name, value in sorted(selector.items())),
        },
    }


def owned_scale_of(body: JsonObject) -> JsonObject:
    """Return the scale with the managedFields of the replicas."""
    scale = scale_of(body)
    entries = [
        ManagedEntry(one.manager, one.operation, SCALE.api_version, one.subresource, one.time, {_REPLICAS})
        for one in ownership.read_entries(body)
        if _REPLICAS in one.fields
    ]
    ownership.write_entries(scale, entries)
    return scale


def check_scale(kind: ResourceType, scale: JsonObject, live: JsonObject) -> None:
    """Check a changed scale. ApiError 422 for negative replicas, 409 for another uid."""
    name = live["metadata"]["name"]
    replicas = scale["spec"].get("replicas", 0)
    if replicas < 0:
        cause = errors.cause_invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid(SCALE.group, SCALE.kind, name, [cause])
    uid, known = scale["metadata"].get("uid"), live["metadata"]["uid"]
    if uid and uid != known:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {known}"
        raise errors.conflict(kind.group, f"{kind.plural}/scale", name, why)


def scaled(live: JsonObject, scale: JsonObject) -> JsonObject:
    """Return the workload with the replicas, resourceVersion and managedFields of its changed scale."""
    metadata = {**live["metadata"], "resourceVersion": scale["metadata"].get("resourceVersion", "")}
    changed = {
        **live, "metadata": metadata, "spec": {**live["spec"], "replicas": scale["spec"].get("replicas", 0)},
    }  # fmt: skip
    mine = {one.identity: one for one in ownership.read_entries(scale)}
    known = {one.identity: one for one in ownership.read_entries(live)}
    left: list[ManagedEntry] = []
    for identity, entry in known.items():
        if _REPLICAS in entry.fields and mine.pop(identity, None) is None:
            entry.fields = entry.fields - {_REPLICAS}
        left.append(entry)
    for identity, entry in mine.items():
        time = known[identity].time if identity in known else ""  # an entry of another identity has no time
        version = live["apiVersion"]
        left.append(ManagedEntry(entry.manager, entry.operation, version, entry.subresource, time, {_REPLICAS}))
    ownership.write_entries(changed, left)
    return changed
