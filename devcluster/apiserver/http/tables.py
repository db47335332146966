"""Representations that a client selects by its Accept header: whole objects, metadata, or the table of kubectl."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.http import listing
from devcluster.apiserver.http.watching import Show
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.storage.records import Record, dump

Column = tuple[str, str, Callable[[JsonObject], Any]]


def wanted_style(accept: str) -> str:
    """Return `plain`, `table` or `metadata`: the first supported representation in the header."""
    for part in accept.split(","):
        parameters = part.replace(" ", "").split(";")
        if "as=Table" in parameters:
            return "table"
        if "as=PartialObjectMetadata" in parameters or "as=PartialObjectMetadataList" in parameters:
            return "metadata"
        if parameters[0] in {"application/json", "*/*", "application/*"}:
            return "plain"
    return "plain"


def shower(style: str, kind: ResourceType) -> Show:
    if style == "metadata":
        return lambda record: listing.show_metadata(record, kind)
    if style == "table":
        return lambda record: dump(build_table(kind, [record], str(record.revision)))
    return lambda record: listing.show_plain(record, kind)


def build_table(  # a continue token  # nosec B107
    kind: ResourceType, records: list[Record], revision: str, continue_token: str = "", remaining: int | None = None
) -> JsonObject:
    columns = _columns_of(kind)
    narrow = len(columns)
    columns += _WIDE.get(kind.table, []) if kind.builtin else []
    metadata: JsonObject = {"resourceVersion": revision}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    rows = []
    for record in records:
        body = record.parse()
        rows.append(
            {
                "cells": [_cell(read, body) for _, _, read in columns],
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": body["metadata"],
                },
            }
        )
    definitions = [
        {
            "name": name,
            "type": kind_of_cell,
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": 0 if number < narrow else 1,
        }
        for number, (name, kind_of_cell, _) in enumerate(columns)
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _cell(read: Callable[[JsonObject], Any], body: JsonObject) -> Any:
    try:
        return read(body)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return "<unknown>"


def _path(*names: str, default: Any = "<none>") -> Callable[[JsonObject], Any]:
    def read(body: JsonObject) -> Any:
        value: Any = body
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return default if value is None else value

    return read


def age_of(text: str | None) -> str:
    """Return the age of a timestamp as kubectl prints it, such as `5m`."""
    if not text:
        return "<unknown>"
    seconds = max(int((datetime.now(UTC) - datetime.fromisoformat(text.replace("Z", "+00:00"))).total_seconds()), 0)
    for unit, length, below in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < below:
            return f"{seconds // length}{unit}"
    return f"{seconds // 86_400}d"


_NAME: Column = ("Name", "string", _path("metadata", "name"))
_AGE: Column = ("Age", "string", lambda body: age_of(body["metadata"].get("creationTimestamp")))


def _age_at(read: Callable[[JsonObject], Any]) -> Callable[[JsonObject], Any]:
    return lambda body: age_of(read(body))


def _ready(body: JsonObject) -> str:
    return f"{(body.get('status') or {}).get('readyReplicas', 0)}/{(body.get('spec') or {}).get('replicas', 1)}"


def _pod_ready(body: JsonObject) -> str:
    statuses = (body.get("status") or {}).get("containerStatuses") or []
    return f"{sum(1 for one in statuses if one.get('ready'))}/{len(body['spec']['containers'])}"


def _pod_status(body: JsonObject) -> str:
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    status = body.get("status") or {}
    for one in status.get("containerStatuses") or []:
        waiting = (one.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason"):
            return str(waiting["reason"])
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _pod_restarts(body: JsonObject) -> int:
    return sum(one.get("restartCount", 0) for one in (body.get("status") or {}).get("containerStatuses") or [])


def _service_ports(body: JsonObject) -> str:
    ports = (body.get("spec") or {}).get("ports") or []
    return ",".join(f"{one['port']}/{one.get('protocol', 'TCP')}" for one in ports) or "<none>"


def _node_status(body: JsonObject) -> str:
    conditions = (body.get("status") or {}).get("conditions") or []
    ready = [one for one in conditions if one.get("type") == "Ready"]
    status = "Unknown" if not ready else "Ready" if ready[0].get("status") == "True" else "NotReady"
    return f"{status},SchedulingDisabled" if (body.get("spec") or {}).get("unschedulable") else status


def _quota_usage(prefix: str) -> Callable[[JsonObject], str]:
    """Return a reader of used and hard amounts, such as `pods: 1/5, secrets: 2/9`, of `limits.…` or of all others."""

    def read(body: JsonObject) -> str:
        status = body.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        names = sorted(name for name in hard if name.startswith("limits.") == bool(prefix))
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return read


def _containers(read: Callable[[JsonObject], str]) -> Callable[[JsonObject], str]:
    return lambda body: ",".join(read(one) for one in body["spec"]["template"]["spec"]["containers"])


_WIDE: dict[str, list[Column]] = {
    "pods": [
        ("IP", "string", _path("status", "podIP")),
        ("Node", "string", _path("spec", "nodeName")),
        ("Nominated Node", "string", _path("status", "nominatedNodeName")),
        ("Readiness Gates", "string", lambda body: "<none>"),
    ],
    "statefulsets.apps": [
        ("Containers", "string", _containers(lambda one: str(one["name"]))),
        ("Images", "string", _containers(lambda one: str(one["image"]))),
    ],
}
"""Columns that only `kubectl get -o wide` prints."""
_BUILTIN: dict[str, list[Column]] = {
    "pods": [
        ("Ready", "string", _pod_ready),
        ("Status", "string", _pod_status),
        ("Restarts", "integer", _pod_restarts),
    ],
    "statefulsets.apps": [("Ready", "string", _ready)],
    "nodes": [("Status", "string", _node_status)],
    "resourcequotas": [("Request", "string", _quota_usage("")), ("Limit", "string", _quota_usage("limits."))],
    "leases.coordination.k8s.io": [("Holder", "string", _path("spec", "holderIdentity", default=""))],
    "deployments.apps": [
        ("Ready", "string", _ready),
        ("Up-to-date", "integer", _path("status", "updatedReplicas", default=0)),
        ("Available", "integer", _path("status", "availableReplicas", default=0)),
    ],
    "services": [
        ("Type", "string", _path("spec", "type")),
        ("Cluster-IP", "string", _path("spec", "clusterIP")),
        ("External-IP", "string", lambda body: "<none>"),
        ("Port(s)", "string", _service_ports),
    ],
    "secrets": [
        ("Type", "string", _path("type")),
        ("Data", "integer", lambda body: len(body.get("data") or {})),
    ],
    "configmaps": [("Data", "integer", lambda body: len(body.get("data") or {}) + len(body.get("binaryData") or {}))],
    "namespaces": [("Status", "string", _path("status", "phase"))],
    "persistentvolumeclaims": [
        ("Status", "string", _path("status", "phase")),
        ("Volume", "string", _path("spec", "volumeName", default="")),
        ("Capacity", "string", _path("status", "capacity", "storage", default="")),
        ("Access Modes", "string", lambda body: ",".join((body.get("status") or {}).get("accessModes") or [])),
        ("StorageClass", "string", _path("spec", "storageClassName", default="")),
    ],
    "ingresses.networking.k8s.io": [
        ("Class", "string", _path("spec", "ingressClassName")),
        (
            "Hosts",
            "string",
            lambda body: ",".join(one.get("host", "*") for one in body["spec"].get("rules") or []) or "*",
        ),
    ],
    "events": [
        ("Type", "string", _path("type", default="")),
        ("Reason", "string", _path("reason", default="")),
        (
            "Object",
            "string",
            lambda body: f"{body['involvedObject'].get('kind', '').lower()}/{body['involvedObject'].get('name', '')}",
        ),
        ("Message", "string", _path("message", default="")),
    ],
}


def _columns_of(kind: ResourceType) -> list[Column]:
    if kind.builtin:
        return [_NAME, *_BUILTIN.get(kind.table, []), _AGE]
    columns: list[Column] = [_NAME]
    for one in kind.printer_columns:
        names = [part for part in one.get("jsonPath", "").strip(".").split(".") if part]
        if one.get("type") == "date":
            columns.append((one["name"], "date", _age_at(_path(*names))))
        else:
            columns.append((one["name"], one.get("type", "string"), _path(*names)))
    if not kind.printer_columns:
        columns.append(_AGE)
    return columns
