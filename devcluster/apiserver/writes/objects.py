"""Helpers for whole objects: metadata, generated names, API versions, equality."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.go_values import go_kind
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.writes import admission

MAX_GENERATED_BASE = 58


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def present(body: JsonObject, kind: ResourceType) -> JsonObject:
    """Return a stored object in the API version of the request. Versions have the same fields (conversion None)."""
    body["apiVersion"] = kind.api_version
    body["kind"] = kind.kind
    return body


def metadata_of(body: JsonObject, kind: ResourceType) -> JsonObject:
    """Return the metadata; adds it if it is missing.

    ApiError 400 with the decoder's message if the metadata or the name has a wrong type.
    """
    metadata = body.get("metadata")
    if metadata is None:
        metadata = body["metadata"] = {}
    field, wanted, given = "", "", metadata
    if not isinstance(metadata, dict):
        field, wanted = f"{kind.kind}.metadata", "v1.ObjectMeta"
    else:
        for name in ("name", "namespace", "generateName", "resourceVersion", "uid"):
            if metadata.get(name) is not None and not isinstance(metadata[name], str):
                field, wanted, given = f"ObjectMeta.metadata.{name}", "string", metadata[name]
                break
    if field:
        prefix = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
        raise errors.bad_request(
            f"{prefix}json: cannot unmarshal {go_kind(given)} into Go struct field {field} of type {wanted}"
        )
    checked: JsonObject = metadata
    return checked


def match_namespace(metadata: JsonObject, kind: ResourceType, namespace: str) -> None:
    if not kind.namespaced:
        metadata.pop("namespace", None)
        return
    if metadata.get("namespace") not in (None, "", namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = namespace


def generate_name(base: str) -> str:
    if not base:
        return ""
    return base[:MAX_GENERATED_BASE] + "".join(secrets.choice(admission.NAME_ALPHABET) for _ in range(5))


def is_same(one: JsonObject, other: JsonObject) -> bool:
    """Return whether two objects differ only in times of managedFields. Such a write keeps the resourceVersion."""
    if one == other:
        return True

    def without_times(body: JsonObject) -> JsonObject:
        metadata = dict(body["metadata"])
        metadata["managedFields"] = [
            {name: value for name, value in entry.items() if name != "time"}
            for entry in metadata.get("managedFields") or ()
        ]
        return {**body, "metadata": metadata}

    return without_times(one) == without_times(other)
