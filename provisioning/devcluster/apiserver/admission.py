"""What happens to a body between the wire and the rules: type checks, unknown fields, allocation of addresses, checks against other objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import decoding, errors
from .errors import JsonObject
from .resources import ResourceType
from .store import Store

if TYPE_CHECKING:
    from .operations import WriteOptions


def check_type(body: JsonObject, kind: ResourceType) -> None:
    """kind and apiVersion of the body against the URL's. Built-in kinds may leave them out: the URL decides."""
    for name, value in (("kind", kind.kind), ("apiVersion", kind.api_version)):
        if body.get(name):
            continue
        if not kind.builtin:
            what = "Kind" if name == "kind" else "apiVersion"
            shown = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
            raise errors.bad_request(f"Object '{what}' is missing in '{shown}'")
        body[name] = value
    given, version = body["kind"], body["apiVersion"]
    if not isinstance(given, str) or not isinstance(version, str):
        raise errors.bad_request("couldn't get version/kind; json parse error: apiVersion and kind must be strings")
    if given != kind.kind or version != kind.api_version:
        short = version.rpartition("/")[2]
        raise errors.bad_request(
            f'{given} in version "{short}" cannot be handled as a {kind.kind}: '
            f'no kind "{given}" is registered for version "{version}"'
        )


def check_patched(changed: JsonObject, live: JsonObject, kind: ResourceType) -> None:
    """A patch may not rename an object or change its type."""
    metadata = changed.get("metadata")
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata must be an object")
    for name in ("apiVersion", "kind"):
        changed.setdefault(name, live[name])
    check_type(changed, kind)
    old = live["metadata"]
    if metadata.get("name") != old["name"]:
        raise errors.bad_request(
            f"the name of the object ({metadata.get('name')}) does not match the name on the URL ({old['name']})"
        )
    if metadata.get("namespace", "") != old.get("namespace", ""):
        raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")


def check_apply(config: Any, name: str, namespace: str, kind: ResourceType) -> None:
    if not isinstance(config, dict):
        raise errors.bad_request("error decoding YAML: the body is not an object")
    check_type(config, kind)
    metadata = config.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata must be an object")
    if metadata.get("name", name) != name:
        raise errors.bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    if kind.namespaced and metadata.get("namespace", namespace) not in ("", namespace):
        raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")


def decode(body: JsonObject, kind: ResourceType, options: WriteOptions) -> JsonObject:
    """Types checked (400), unknown fields dropped and warned of (or refused, with `fieldValidation=Strict`)."""
    return decoding.decode_object(body, kind, options.field_validation, options.warnings)


def intent_of(kind: ResourceType, body: JsonObject) -> JsonObject:
    """What `metadata.generation` counts: everything but metadata and status."""
    return {name: value for name, value in body.items() if name not in {"metadata", "status", "apiVersion", "kind"}}


def check_create(kind: ResourceType, body: JsonObject, store: Store) -> None:
    """Rules that look at other objects."""


def allocate(kind: ResourceType, body: JsonObject, store: Store) -> None:
    """Cluster addresses of Services, once the object is sure to be written."""
    if kind.builtin and kind.table == "services":
        spec = body["spec"]
        if spec.get("type") != "ExternalName" and not spec.get("clusterIP"):
            address = free_cluster_ip(store)
            spec["clusterIP"], spec["clusterIPs"] = address, [address]


def free_cluster_ip(store: Store) -> str:
    """The next free address of 10.96.0.0/16."""
    used = {record.parse()["spec"].get("clusterIP") for record in store.records("services")}
    start = int(store.read_fact("next-cluster-ip") or "10")
    for offset in range(65_000):
        number = (start + offset) % 65_000
        address = f"10.96.{number // 256}.{number % 256}"
        if number % 256 not in {0, 255} and address not in used:
            store.write_fact("next-cluster-ip", str(number + 1))
            return address
    raise errors.internal_error("failed to allocate a serviceIP: range is full")
