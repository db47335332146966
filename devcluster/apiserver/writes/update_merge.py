"""Merge of updates: which fields a resource or its /status can change, and which fields the server keeps."""

from __future__ import annotations

from typing import Any

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.resources import ResourceType


def merge_for_update(kind: ResourceType, live: JsonObject, body: JsonObject, subresource: str) -> JsonObject:
    """Return the object to store. The main resource can't change status; `/status` changes only status."""
    if subresource == "finalize":
        changed = dict(live)
        changed["metadata"] = dict(body["metadata"])
        changed["spec"] = body.get("spec") or {}
        _copy_or_drop(changed["metadata"], live["metadata"], "labels")
        return changed
    if subresource == "status":
        changed = dict(live)
        changed["metadata"] = dict(live["metadata"]) if not kind.builtin else _metadata_on_status(kind, live, body)
        _copy_or_drop(changed["metadata"], body["metadata"], "managedFields")
        _copy_or_drop(changed, body, "status")
        return changed
    changed = dict(body)
    changed["metadata"] = dict(body["metadata"])
    if kind.builtin and kind.table == "services":
        changed["spec"] = _keep_addresses(live.get("spec") or {}, dict(body.get("spec") or {}))
    if kind.has_status:
        _copy_or_drop(changed, live, "status")
    if kind.builtin and kind.table == "namespaces":
        _copy_or_drop(changed, live, "spec")
        name = live["metadata"]["name"]
        changed["metadata"]["labels"] = {
            **(changed["metadata"].get("labels") or {}),
            "kubernetes.io/metadata.name": name,
        }
    return changed


def _metadata_on_status(kind: ResourceType, live: JsonObject, body: JsonObject) -> JsonObject:
    """Return the metadata after an update of /status.

    The owners of a Pod and the labels of a Deployment can't change.
    """
    metadata = dict(body["metadata"])
    old = live["metadata"]
    kept = {"pods": "ownerReferences", "deployments.apps": "labels"}.get(kind.table)
    if kept is not None:
        _copy_or_drop(metadata, old, kept)
    return metadata


def _keep_addresses(old: JsonObject, new: JsonObject) -> JsonObject:
    """Return the Service with the addresses and node ports that the body omits."""
    if "ExternalName" in {new.get("type"), old.get("type")} and new.get("type", "ClusterIP") != old.get("type"):
        return new
    if not new.get("clusterIP") and not new.get("clusterIPs"):
        for name in ("clusterIP", "clusterIPs"):
            if name in old:
                new[name] = old[name]
    elif new.get("clusterIP") != old.get("clusterIP") and new.get("clusterIPs") == old.get("clusterIPs"):
        new["clusterIPs"] = [new["clusterIP"]] if new.get("clusterIP") else []
    elif (
        new.get("clusterIPs") != old.get("clusterIPs")
        and new.get("clusterIP") == old.get("clusterIP")
        and new.get("clusterIPs")
    ):
        new["clusterIP"] = new["clusterIPs"][0]
    before = {(port.get("port"), port.get("protocol")): port.get("nodePort") for port in old.get("ports") or ()}
    if new.get("type", old.get("type")) in {"NodePort", "LoadBalancer"}:
        for port in new.get("ports") or ():
            known = before.get((port.get("port"), port.get("protocol", "TCP")))
            if known and not port.get("nodePort"):
                port["nodePort"] = known
    for name in ("ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "sessionAffinity", "type"):
        if name in old and not new.get(name):
            new[name] = old[name]
    return new


def _copy_or_drop(into: JsonObject, source: JsonObject, name: str) -> None:
    value: Any = source.get(name)
    if value is None:
        into.pop(name, None)
    else:
        into[name] = value
