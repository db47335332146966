"""Admission: checks of a body before validation, values from other objects, and allocation of addresses."""

from __future__ import annotations

import json
import secrets
from typing import Any

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema import decoding, type_check
from devcluster.apiserver.schema.go_values import go_kind, go_text
from devcluster.apiserver.schema.quantities import value_of
from devcluster.apiserver.schema.resources import ResourceType, builtin_resources
from devcluster.apiserver.storage.store import Store
from devcluster.apiserver.validation.network import NODE_PORTS
from devcluster.apiserver.writes.options import WriteOptions

NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Characters of generated names. There are no vowels, so that names contain no words."""
_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path  # nosec B105
_REDACTED = "<secret contents redacted>"
_SCHEME = 'in scheme "pkg/runtime/scheme.go:111"'


def check_type(body: JsonObject, kind: ResourceType) -> None:
    """Check kind and apiVersion against the URL. Built-in kinds may omit them."""
    for name, value in (("kind", kind.kind), ("apiVersion", kind.api_version)):
        if body.get(name):
            continue
        if not kind.builtin and name == "kind":
            shown = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
            raise errors.bad_request(f"Object 'Kind' is missing in '{shown}'")
        if not kind.builtin:
            raise errors.bad_request(
                f"the API version in the data () does not match the expected API version ({kind.api_version})"
            )
        body[name] = value
    given, version = body["kind"], body["apiVersion"]
    if not isinstance(given, str) or not isinstance(version, str):
        raise errors.bad_request("couldn't get version/kind; json parse error: apiVersion and kind must be strings")
    if given == kind.kind and version == kind.api_version:
        return
    if not kind.builtin:
        group = version.rpartition("/")[0]
        why = f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        if version == kind.api_version:
            cause = errors.cause_invalid("kind", given, f"must be {kind.kind}")
            raise errors.invalid(group, given, body.get("metadata", {}).get("name", ""), [cause])
        raise errors.bad_request(why)
    short = version.rpartition("/")[2]
    if version == kind.api_version and _is_builtin_kind(version, given):
        package = kind.group.partition(".")[0] or "core"
        why = f"converting ({short}.{given}) to ({package}.{kind.kind}): unknown conversion"
    else:
        why = f'no kind "{given}" is registered for version "{version}" {_SCHEME}'
    raise errors.bad_request(f'{given} in version "{short}" cannot be handled as a {kind.kind}: {why}')


def _is_builtin_kind(api_version: str, kind: str) -> bool:
    return any(one.api_version == api_version and one.kind == kind for one in builtin_resources())


def check_patched(changed: JsonObject, live: JsonObject, kind: ResourceType) -> None:
    """Check that a patch changes neither the name (400) nor the type (422 on the field `patch`)."""
    for name in ("apiVersion", "kind"):
        changed.setdefault(name, live[name])
    try:
        check_type(changed, kind)
    except errors.ApiError as error:
        if error.code != 400 or not kind.builtin:
            raise
        shown = json.dumps(changed, separators=(",", ":"), ensure_ascii=False)
        why = error.message.partition(f"cannot be handled as a {kind.kind}: ")[2] or error.message
        raise errors.invalid_patch(_REDACTED if kind.table == "secrets" else shown, why) from None
    metadata, old = changed.get("metadata"), live["metadata"]
    if metadata is None or (isinstance(metadata, dict) and not metadata.get("name")):
        raise errors.bad_request(
            f"the name of the object ({old['name']} based on URL) was undeterminable: name must be provided"
        )
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata must be an object")
    if metadata["name"] != old["name"]:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({old['name']})"
        )
    if metadata.get("namespace", "") != old.get("namespace", ""):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def check_apply(config: Any, name: str, namespace: str, kind: ResourceType) -> None:
    """Raise ApiError 400 for an applied configuration of another type, name or namespace."""
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise errors.bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: "
            f"json: cannot unmarshal {go_kind(config)} into Go value of type map[string]interface {{}}"
        )
    given = (config.get("apiVersion") or "", config.get("kind") or "")
    if given != (kind.api_version, kind.kind):
        group, _, version = str(given[0]).rpartition("/")
        raise errors.bad_request(f"invalid object type: {group}/{version}, Kind={given[1]}")
    metadata = config.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata must be an object")
    if metadata.get("name", name) != name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    if kind.namespaced and metadata.get("namespace", namespace) not in ("", namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")


def decode(body: JsonObject, kind: ResourceType, options: WriteOptions) -> JsonObject:
    """Decode the body of a POST or PUT.

    ApiError 400 for wrong types. Unknown fields are dropped with a warning, or refused by `fieldValidation=Strict`.
    """
    return decoding.decode_request(body, kind, options.field_validation, options.warnings)


def decode_merged(merged: JsonObject, kind: ResourceType) -> JsonObject:
    """Decode the result of an apply. ApiError 500 for values that the type check of the configuration lets through."""
    try:
        return decoding.decode_object(merged, kind, "Ignore", [], keeps_nulls=True)
    except decoding.DecodeError as error:
        raise errors.failure(500, f"failed to convert new object to proper version: {error.text}") from None


def decode_patched(
    changed: JsonObject, kind: ResourceType, options: WriteOptions, patch: Any, *, strategic: bool
) -> JsonObject:
    """Decode the result of a patch. ApiError 422 on the field `patch`, which never quotes Secrets."""
    try:
        return decoding.decode_object(changed, kind, options.field_validation, options.warnings)
    except decoding.DecodeError as error:
        text = error.text
        shown = json.dumps(changed, separators=(",", ":"), ensure_ascii=False)
        given, wanted = error.types
        if strategic and given and not error.strict:
            shown = go_text(patch)
            name = _GO_NAMES.get(given.partition(" ")[0], given)
            text = f"unrecognized type: {wanted}" if wanted.startswith("int") else f"cannot convert {name} to {wanted}"
        if kind.table == "secrets":
            shown = _REDACTED
        raise errors.invalid_patch(shown, text) from None


def check_applied_types(config: JsonObject, kind: ResourceType) -> None:
    """Check an applied configuration. ApiError 500 for a field that does not fit its type, as on the real server."""
    metadata = config.get("metadata") or {}
    version = f"{kind.group}/{kind.version}"  # the core group is "" before the slash
    fault = type_check.first_fault(config, kind.node, "", secret=kind.builtin and kind.table == "secrets")
    if fault is not None:
        place = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        raise errors.failure(
            500, f"failed to create typed patch object ({place}; {version}, Kind={kind.kind}): {fault}"
        )


_GO_NAMES = {
    "number": "int64",
    "string": "string",
    "bool": "bool",
    "array": "[]interface {}",
    "object": "map[string]interface {}",
}


def intent_of(body: JsonObject) -> JsonObject:
    """Return the fields whose changes increase `metadata.generation`: all but metadata and status."""
    return {name: value for name, value in body.items() if name not in {"metadata", "status", "apiVersion", "kind"}}


def check_expansion(kind: ResourceType, body: JsonObject, live: JsonObject, store: Store) -> None:
    """Raise ApiError 403 if a claim grows whose StorageClass does not allow it."""
    if kind.table != "persistentvolumeclaims":
        return
    sizes = [((one["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0") for one in (body, live)]
    if value_of(sizes[0]) <= value_of(sizes[1]):
        return
    classes = {one["spec"].get("storageClassName") or "" for one in (body, live)}
    found = store.get("storageclasses.storage.k8s.io", "", classes.pop()) if len(classes) == 1 else None
    if found is None or not found.parse().get("allowVolumeExpansion"):
        why = (
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support "
            "resize"
        )
        raise errors.forbidden("", kind.plural, body["metadata"]["name"], why)


def fill_from_others(kind: ResourceType, body: JsonObject, store: Store) -> None:
    """Set what admission derives from other objects: the ServiceAccount of a Pod.

    ApiError 403 if the ServiceAccount does not exist.
    """
    if kind.table != "pods" or not kind.builtin:
        return
    spec, namespace = body.setdefault("spec", {}), body["metadata"].get("namespace", "")
    account = spec.get("serviceAccountName") or "default"
    if store.get("serviceaccounts", namespace, account) is None:
        raise errors.forbidden(
            "",
            "pods",
            body["metadata"].get("name", ""),
            f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found',
        )
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    _mount_account_token(spec)
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(one.get("key") in (None, "", key) for one in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _mount_account_token(spec: JsonObject) -> None:
    """Mount the projected token volume into every container, unless the Pod opts out."""
    if spec.get("automountServiceAccountToken") is False:
        return
    name = "kube-api-access-" + "".join(secrets.choice(NAME_ALPHABET) for _ in range(5))
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    used = False
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        mounts = container.setdefault("volumeMounts", [])
        if any(one.get("mountPath") == _TOKEN_PATH for one in mounts):
            continue
        mounts.append({"name": name, "readOnly": True, "mountPath": _TOKEN_PATH})
        used = True
    if used:
        spec.setdefault("volumes", []).append({"name": name, "projected": {"sources": sources, "defaultMode": 420}})


class ServiceAddresses:
    """Allocates cluster IPs (10.96.0.0/16) and node ports of Services. Reads the store once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._used: set[str] = set()
        self._used_ports: set[int] = set()
        self._next = 0

    def take(self) -> str:
        """Return a free cluster IP. If the write fails, it stays allocated until a restart."""
        if self._next == 0:
            self._rebuild()
        for _ in range(_ADDRESSES):
            address = f"10.96.{self._next // 256}.{self._next % 256}"
            usable = self._next % 256 not in {0, 255} and address not in self._used
            self._next += 1
            if self._next >= _ADDRESSES:
                self._rebuild()
            if usable:
                self._used.add(address)
                return address
        raise errors.internal_error("failed to allocate a serviceIP: range is full")

    def _rebuild(self) -> None:
        specs = [record.parse()["spec"] for record in self._store.records("services")]
        self._used = {spec.get("clusterIP", "") for spec in specs}
        self._used_ports = {
            port["nodePort"] for spec in specs for port in spec.get("ports") or () if port.get("nodePort")
        }
        self._next = 10

    def _take_port(self) -> int:
        """Return a free node port."""
        if self._next == 0:
            self._rebuild()
        for _ in range(10_000):
            port = secrets.choice(NODE_PORTS)
            if port not in self._used_ports:
                self._used_ports.add(port)
                return port
        raise errors.internal_error("failed to allocate a nodePort: range is full")

    def allocate(self, kind: ResourceType, body: JsonObject) -> None:
        """Allocate the cluster IP and node ports of a new Service."""
        if not kind.builtin or kind.table != "services":
            return
        spec = body["spec"]
        if spec.get("type") == "ExternalName":
            return
        if not spec.get("clusterIP"):
            address = self.take()
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
        elif spec["clusterIP"] != "None":
            self._used.add(spec["clusterIP"])
        self.allocate_ports(spec)

    def allocate_ports(self, spec: JsonObject) -> None:
        """Allocate the node ports of a Service of type NodePort or LoadBalancer."""
        if spec.get("type") not in {"NodePort", "LoadBalancer"} or spec.get("allocateLoadBalancerNodePorts") is False:
            return
        for port in spec.get("ports") or ():
            if not port.get("nodePort"):
                port["nodePort"] = self._take_port()


_ADDRESSES = 65_000
