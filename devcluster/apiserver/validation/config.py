"""Validation of ConfigMaps, Secrets, claims, quotas, leases and events."""

from __future__ import annotations

import base64
import json
from fractions import Fraction

from devcluster.apiserver.errors import (
    Cause,
    JsonObject,
    cause_forbidden,
    cause_invalid,
    cause_not_supported,
    cause_required,
    cause_too_long,
)
from devcluster.apiserver.schema.quantities import value_of
from devcluster.apiserver.validation import names

_DATA_BYTES = 1024 * 1024
_ACCESS_MODES = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]
_COUNTED = {
    "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
    "services.nodeports", "services.loadbalancers",
}  # fmt: skip
_REDACTED = "<secret contents redacted>"


def check_config_map(body: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    size = 0
    plain, binary = body.get("data") or {}, body.get("binaryData") or {}
    for key, value in plain.items():
        causes += [cause_invalid(f"data[{key}]", key, fault) for fault in names.config_key_faults(key)]
        if key in binary:
            causes.append(cause_invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value.encode("utf-8", "surrogatepass"))
    for key, value in binary.items():
        causes += [cause_invalid(f"binaryData[{key}]", key, fault) for fault in names.config_key_faults(key)]
        size += len(value) * 3 // 4
    if size > _DATA_BYTES:
        causes.append(cause_too_long("[]", f"may not be more than {_DATA_BYTES} bytes"))
    return causes


def check_config_map_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    if not live.get("immutable"):
        return []
    causes: list[Cause] = []
    if not body.get("immutable"):
        causes.append(cause_forbidden("immutable", "field is immutable when `immutable` is set"))
    # An empty `binaryData` is a change, an empty `data` is the default.
    is_changed = {
        "data": (body.get("data") or {}) != (live.get("data") or {}),
        "binaryData": body.get("binaryData") != live.get("binaryData"),
    }
    detail = "field is immutable when `immutable` is set"
    return causes + [cause_forbidden(name, detail) for name, changed in is_changed.items() if changed]


def check_secret(body: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    data = body.get("data") or {}
    size = 0
    for key, value in data.items():
        causes += [cause_invalid(f"data[{key}]", key, fault) for fault in names.config_key_faults(key)]
        size += len(value) * 3 // 4
    if size > _DATA_BYTES:
        causes.append(cause_too_long("data", f"may not be more than {_DATA_BYTES} bytes"))
    match body.get("type"):
        case "kubernetes.io/tls":
            causes += [cause_required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
        case "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                causes += [cause_required("data[username]"), cause_required("data[password]")]
        case "kubernetes.io/ssh-auth":
            if not data.get("ssh-privatekey"):
                causes.append(cause_required("data[ssh-privatekey]"))
        case "kubernetes.io/dockerconfigjson":
            causes += _check_docker_config(data, ".dockerconfigjson")
        case "kubernetes.io/dockercfg":
            causes += _check_docker_config(data, ".dockercfg")
        case "kubernetes.io/service-account-token":
            annotation = "kubernetes.io/service-account.name"
            if not (body["metadata"].get("annotations") or {}).get(annotation):
                causes.append(cause_required(f"metadata.annotations[{annotation}]"))
        case _:
            pass
    return causes


def _check_docker_config(data: JsonObject, key: str) -> list[Cause]:
    if key not in data:
        return [cause_required(f"data[{key}]")]
    try:
        json.loads(base64.b64decode(data[key]))
    except ValueError:
        return [cause_invalid(f"data[{key}]", _REDACTED, "invalid character in JSON text")]
    return []


def check_secret_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    if body.get("type") != live.get("type"):
        causes.append(cause_invalid("type", body.get("type"), "field is immutable"))
    if live.get("immutable"):
        if not body.get("immutable"):
            causes.append(cause_forbidden("immutable", "field is immutable when `immutable` is set"))
        if body.get("data") != live.get("data"):
            causes.append(cause_forbidden("data", "field is immutable when `immutable` is set"))
    return causes


def check_claim(body: JsonObject) -> list[Cause]:
    return check_claim_spec(body.get("spec") or {}, "spec")


def check_claim_spec(spec: JsonObject, field: str) -> list[Cause]:
    causes: list[Cause] = []
    modes = spec.get("accessModes") or []
    if not modes:
        causes.append(cause_required(f"{field}.accessModes", "at least 1 access mode is required"))
    causes += names.check_label_selector(spec.get("selector"), f"{field}.selector")
    causes += [
        cause_not_supported(f"{field}.accessModes", mode, _ACCESS_MODES) for mode in modes if mode not in _ACCESS_MODES
    ]
    if "ReadWriteOncePod" in modes and any(one in _ACCESS_MODES[:-1] for one in modes):
        causes.append(cause_forbidden(f"{field}.accessModes", "may not use ReadWriteOncePod with other access modes"))
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        causes.append(cause_required(f"{field}.resources[storage]"))
    elif value_of(storage) <= 0:
        causes.append(cause_invalid(f"{field}.resources[storage]", storage, "must be greater than zero"))
    if spec.get("storageClassName"):
        causes += [
            cause_invalid(f"{field}.storageClassName", spec["storageClassName"], fault)
            for fault in names.subdomain_faults(spec["storageClassName"])
        ]
    if spec.get("volumeMode") not in {None, "Block", "Filesystem"}:
        causes.append(cause_not_supported(f"{field}.volumeMode", spec["volumeMode"], ["Block", "Filesystem"]))
    return causes


def check_claim_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    """Return the causes of an update. Only a bound claim may grow; volumeName and the class may be set once."""
    new, old = dict(body.get("spec") or {}), dict(live.get("spec") or {})
    wanted, had = _storage_of(new), _storage_of(old)
    if not old.get("volumeName"):
        old.pop("volumeName", None)
        new.pop("volumeName", None)
    if old.get("storageClassName") is None and new.get("storageClassName") is not None:
        new.pop("storageClassName")
    if (live.get("status") or {}).get("phase") == "Bound" and (new.get("resources") or {}).get("requests"):
        requests = {**new["resources"]["requests"], "storage": old["resources"]["requests"]["storage"]}
        new["resources"] = {**new["resources"], "requests": requests}
    causes: list[Cause] = []
    if _meaning(new) != _meaning(old):
        detail = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        causes.append(cause_forbidden("spec", detail))
    if wanted < had and wanted <= _capacity_of(live):
        causes.append(cause_forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
    mode = (body.get("spec") or {}).get("volumeMode")
    if mode != (live.get("spec") or {}).get("volumeMode"):
        causes.append(cause_invalid("volumeMode", mode, "field is immutable"))
    return causes


def _meaning(spec: JsonObject) -> JsonObject:
    """Return the spec with amounts as numbers and without empty parts, which mean nothing."""
    resources = spec.get("resources") or {}
    amounts = {
        part: {name: value_of(amount) for name, amount in (resources.get(part) or {}).items()}
        for part in ("requests", "limits")
    }
    return {name: value for name, value in spec.items() if value not in ([],)} | {"resources": amounts}


def _capacity_of(claim: JsonObject) -> Fraction:
    text = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return Fraction(0) if text is None else value_of(text)


def check_claim_status(body: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    if not (body.get("spec") or {}).get("accessModes"):
        causes.append(cause_required("Spec.accessModes"))
    for name, amount in ((body.get("status") or {}).get("capacity") or {}).items():
        if value_of(amount) < 0:
            causes.append(cause_invalid(f"status.capacity[{name}]", amount, "must be a valid resource quantity"))
    return causes


def _storage_of(spec: JsonObject) -> Fraction:
    text = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return Fraction(0) if text is None else value_of(text)


def check_storage_class_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        if body.get(name) != live.get(name):
            if name in {"reclaimPolicy", "volumeBindingMode"}:
                causes.append(cause_invalid(name, body.get(name), "field is immutable"))
            else:
                causes.append(cause_forbidden(name, f"updates to {name} are forbidden."))
    return causes


def check_namespace_status(body: JsonObject) -> list[Cause]:
    phase = (body.get("status") or {}).get("phase", "")
    if "deletionTimestamp" not in body["metadata"] and phase != "Active":
        detail = "may only be 'Active' if `deletionTimestamp` is empty"
        return [cause_invalid("status.Phase", phase, detail)]
    return []


def check_quota(body: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    for name, amount in ((body.get("spec") or {}).get("hard") or {}).items():
        causes += [cause_invalid(f"spec.hard[{name}]", name, fault) for fault in names.qualified_faults(name)]
        if value_of(amount) < 0:
            causes.append(cause_invalid(f"spec.hard[{name}]", amount, "must be greater than or equal to 0"))
        counted = name in _COUNTED or ("/" in name and "kubernetes.io/" not in name)
        if counted and value_of(amount).denominator != 1:
            causes.append(cause_invalid(f"spec.hard[{name}]", amount, "must be an integer"))
    return causes


def check_lease(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes: list[Cause] = []
    if "leaseDurationSeconds" in spec and spec["leaseDurationSeconds"] <= 0:
        causes.append(
            cause_invalid("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0")
        )
    if spec.get("leaseTransitions", 0) < 0:
        causes.append(
            cause_invalid("spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0")
        )
    return causes


def check_event(body: JsonObject) -> list[Cause]:
    about = (body.get("involvedObject") or {}).get("namespace", "")
    own = body["metadata"].get("namespace", "")
    if about != own and not (about == "" and own == "default"):
        return [cause_invalid("involvedObject.namespace", about, "does not match event.namespace")]
    return []
