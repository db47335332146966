"""Validation of Pods and Pod templates."""

from __future__ import annotations

from typing import Any

from devcluster.apiserver.errors import (
    Cause,
    JsonObject,
    cause_duplicate,
    cause_forbidden,
    cause_invalid,
    cause_not_supported,
    cause_required,
)
from devcluster.apiserver.schema.quantities import value_of
from devcluster.apiserver.validation import names
from devcluster.apiserver.validation.env import check_env, check_env_from

_RESOURCES = {"cpu", "memory", "ephemeral-storage"}
_RESTART_POLICIES = ["Always", "OnFailure", "Never"]
_DNS_POLICIES = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]
_PULL_POLICIES = ["Always", "IfNotPresent", "Never"]
_PROTOCOLS = ["SCTP", "TCP", "UDP"]
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_MAX_ID = 2**31 - 1
_CONTEXT_FIELDS = {
    "capabilities": "Capabilities", "privileged": "Privileged", "seLinuxOptions": "SELinuxOptions",
    "windowsOptions": "WindowsOptions",
    "runAsUser": "RunAsUser", "runAsGroup": "RunAsGroup", "runAsNonRoot": "RunAsNonRoot",
    "readOnlyRootFilesystem": "ReadOnlyRootFilesystem",
    "allowPrivilegeEscalation": "AllowPrivilegeEscalation", "procMount": "ProcMount",
    "seccompProfile": "SeccompProfile",
    "appArmorProfile": "AppArmorProfile",
}  # fmt: skip
_SECCOMP_TYPES = ["Localhost", "RuntimeDefault", "Unconfined"]
_EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"]


def check_pod(body: JsonObject) -> list[Cause]:
    return check_pod_spec(body.get("spec") or {}, "spec")


def check_pod_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    """Return the causes of an update. Only images, shorter deadlines and added tolerations may change."""
    new, old = _fixed_part(body.get("spec") or {}), _fixed_part(live.get("spec") or {})
    if new != old:
        return [
            cause_forbidden(
                "spec",
                "pod updates may not change fields other than "
                "`spec.containers[*].image`,`spec.initContainers[*].image`,"
                "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
                "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
            )
        ]
    return []


def _fixed_part(spec: JsonObject) -> JsonObject:
    fixed = {
        name: value
        for name, value in spec.items()
        if name not in {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"}
    }
    for name in ("containers", "initContainers"):
        if name in fixed:
            fixed[name] = [{key: value for key, value in one.items() if key != "image"} for one in fixed[name]]
    return fixed


def check_pod_spec(spec: JsonObject, field: str, claims: tuple[str, ...] = ()) -> list[Cause]:
    """Return the causes for a Pod's spec. `claims`: volumes from a StatefulSet's volumeClaimTemplates."""
    own = [one for one in spec.get("volumes") or [] if not one.get("name") or one["name"] not in claims]
    claimed = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
    causes, volumes = _check_volumes([*claimed, *own], f"{field}.volumes")
    containers = spec.get("containers") or []
    if not containers:
        causes.append(cause_required(f"{field}.containers"))
    seen: set[str] = set()
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            where = f"{field}.{kind}[{index}]"
            causes += _check_container(container, where, volumes)
            name = container.get("name")
            if name and name in seen:
                causes.append(cause_duplicate(f"{where}.name", name))
            seen.add(name or "")
    if spec.get("restartPolicy") not in _RESTART_POLICIES:
        causes.append(cause_not_supported(f"{field}.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES))
    if spec.get("dnsPolicy") not in _DNS_POLICIES:
        causes.append(cause_not_supported(f"{field}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES))
    causes += names.check_labels(spec.get("nodeSelector"), f"{field}.nodeSelector")
    causes += _check_ids(spec.get("securityContext") or {}, f"{field}.securityContext")
    causes += _check_tolerations(spec.get("tolerations") or [], f"{field}.tolerations")
    if spec.get("serviceAccountName"):
        causes += [
            cause_invalid(f"{field}.serviceAccountName", spec["serviceAccountName"], fault)
            for fault in names.subdomain_faults(spec["serviceAccountName"])
        ]
    if "activeDeadlineSeconds" in spec and not 1 <= spec["activeDeadlineSeconds"] <= _MAX_ID:
        causes.append(
            cause_invalid(
                f"{field}.activeDeadlineSeconds",
                spec["activeDeadlineSeconds"],
                f"must be between 1 and {_MAX_ID}, inclusive",
            )
        )
    return causes


def _check_ids(context: JsonObject, field: str) -> list[Cause]:
    """Return the causes for the fields that security contexts of Pods and containers share."""
    causes = [
        cause_invalid(f"{field}.{name}", context[name], f"must be between 0 and {_MAX_ID}, inclusive")
        for name in ("runAsUser", "runAsGroup", "fsGroup")
        if name in context and not 0 <= context[name] <= _MAX_ID
    ]
    profile = context.get("seccompProfile")
    if profile is not None:
        kind = profile.get("type") or ""
        if not kind:
            causes.append(cause_required(f"{field}.seccompProfile.type", "type is required when seccompProfile is set"))
        elif kind not in _SECCOMP_TYPES:
            causes.append(cause_not_supported(f"{field}.seccompProfile.type", kind, _SECCOMP_TYPES))
        elif kind == "Localhost" and not profile.get("localhostProfile"):
            causes.append(
                cause_required(f"{field}.seccompProfile.localhostProfile", "must be set when seccomp type is Localhost")
            )
    return causes


def _check_tolerations(tolerations: list[JsonObject], field: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, one in enumerate(tolerations):
        where, operator = f"{field}[{index}]", one.get("operator") or "Equal"
        if one.get("key"):
            causes += [cause_invalid(f"{where}.key", one["key"], fault) for fault in names.qualified_faults(one["key"])]
        elif operator != "Exists":
            causes.append(
                cause_invalid(
                    f"{where}.operator",
                    one.get("operator", ""),
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
        if operator == "Exists" and one.get("value"):
            causes.append(cause_invalid(f"{where}.operator", one, "value must be empty when `operator` is 'Exists'"))
        if "tolerationSeconds" in one and one.get("effect") != "NoExecute":
            causes.append(
                cause_invalid(
                    f"{where}.effect",
                    one.get("effect", ""),
                    "effect must be 'NoExecute' when `tolerationSeconds` is set",
                )
            )
        elif operator not in {"Equal", "Exists"}:
            causes.append(cause_not_supported(f"{where}.operator", operator, ["Equal", "Exists"]))
        if one.get("effect") and one["effect"] not in _EFFECTS:
            causes.append(cause_not_supported(f"{where}.effect", one["effect"], _EFFECTS))
    return causes


def _check_volumes(volumes: list[JsonObject], field: str) -> tuple[list[Cause], set[str]]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        where = f"{field}[{index}]"
        kinds = [one for one in volume if one != "name"]
        order = [one for one in _VOLUME_ORDER if one in kinds] + [one for one in kinds if one not in _VOLUME_ORDER]
        causes += [cause_forbidden(f"{where}.{one}", "may not specify more than 1 volume type") for one in order[1:]]
        secret = volume.get("secret")
        if isinstance(secret, dict) and not secret.get("secretName"):
            causes.append(cause_required(f"{where}.secret.secretName"))
        config_map = volume.get("configMap")
        if isinstance(config_map, dict) and len(order) == 1 and not config_map.get("name"):
            causes.append(cause_required(f"{where}.configMap.name"))
        claim = volume.get("persistentVolumeClaim")
        if isinstance(claim, dict) and not claim.get("claimName"):
            causes.append(cause_required(f"{where}.persistentVolumeClaim.claimName"))
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit is not None and value_of(limit) < 0:
            detail = "SizeLimit field must be a valid resource quantity"
            causes.append(cause_forbidden(f"{where}.emptyDir.sizeLimit", detail))
        name = volume.get("name") or ""
        if not name:
            causes.append(cause_required(f"{where}.name"))
        else:
            faults = names.label_faults(name)
            causes += [cause_invalid(f"{where}.name", name, fault) for fault in faults]
            if name in seen:
                causes.append(cause_duplicate(f"{where}.name", name))
        seen.add(name)
    return causes, seen


_VOLUME_ORDER = (
    "emptyDir",
    "hostPath",
    "secret",
    "nfs",
    "persistentVolumeClaim",
    "configMap",
    "downwardAPI",
    "projected",
)


def _check_container(container: JsonObject, field: str, volumes: set[str]) -> list[Cause]:
    causes: list[Cause] = []
    name = container.get("name") or ""
    if not name:
        causes.append(cause_required(f"{field}.name"))
    else:
        causes += [cause_invalid(f"{field}.name", name, fault) for fault in names.label_faults(name)]
    image = container.get("image") or ""
    if not image.strip():
        causes.append(cause_required(f"{field}.image"))
    if container.get("imagePullPolicy") not in _PULL_POLICIES:
        causes.append(cause_not_supported(f"{field}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES))
    causes += _check_ports(container.get("ports") or [], f"{field}.ports")
    causes += check_env(container.get("env") or [], f"{field}.env")
    causes += check_env_from(container.get("envFrom") or [], f"{field}.envFrom")
    causes += check_resources(container.get("resources") or {}, f"{field}.resources")
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        causes += _check_mount(mount, f"{field}.volumeMounts[{index}]", volumes, paths)
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(kind), dict):
            causes += _check_probe(container[kind], f"{field}.{kind}", kind)
    context = container.get("securityContext") or {}
    causes += _check_ids(context, f"{field}.securityContext")
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        causes.append(
            cause_invalid(
                f"{field}.securityContext",
                {go: context.get(name) for name, go in _CONTEXT_FIELDS.items()},
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            )
        )
    return causes


def _check_mount(mount: JsonObject, field: str, volumes: set[str], paths: set[str]) -> list[Cause]:
    causes: list[Cause] = []
    name, path = mount.get("name") or "", mount.get("mountPath") or ""
    if not name:
        causes.append(cause_required(f"{field}.name"))
    if name not in volumes:
        causes.append({"reason": "FieldValueNotFound", "message": f'Not found: "{name}"', "field": f"{field}.name"})
    if not path:
        causes.append(cause_required(f"{field}.mountPath"))
    elif path in paths:
        causes.append(cause_invalid(f"{field}.mountPath", path, "must be unique"))
    paths.add(path)
    return causes


def _check_ports(ports: list[JsonObject], field: str) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        where = f"{field}[{index}]"
        name = port.get("name")
        if name:
            faults = names.port_name_faults(name)
            causes += [cause_invalid(f"{where}.name", name, fault) for fault in faults]
            if not faults and name in seen:
                causes.append(cause_duplicate(f"{where}.name", name))
            seen.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            causes.append(cause_required(f"{where}.containerPort"))
        else:
            causes += [cause_invalid(f"{where}.containerPort", number, fault) for fault in names.port_faults(number)]
        if port.get("hostPort"):
            causes += [
                cause_invalid(f"{where}.hostPort", port["hostPort"], fault)
                for fault in names.port_faults(port["hostPort"])
            ]
        if port.get("protocol") not in _PROTOCOLS:
            causes.append(cause_not_supported(f"{where}.protocol", port.get("protocol"), _PROTOCOLS))
    return causes


def check_resources(resources: JsonObject, field: str) -> list[Cause]:
    causes: list[Cause] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = f"{field}.{kind}[{name}]"
            if "/" not in name and name not in _RESOURCES and not name.startswith("hugepages-"):
                causes.append(cause_invalid(where, name, "must be a standard resource type or fully qualified"))
                causes.append(cause_invalid(where, name, "must be a standard resource for containers"))
            if value_of(amount) < 0:
                causes.append(cause_invalid(where, amount, "must be greater than or equal to 0"))
    for name, amount in requests.items():
        if name in limits and value_of(amount) > value_of(limits[name]):
            causes.append(
                cause_invalid(
                    f"{field}.requests", amount, f"must be less than or equal to {name} limit of {limits[name]}"
                )
            )
    return causes


def _check_probe(probe: JsonObject, field: str, kind: str) -> list[Cause]:
    causes: list[Cause] = []
    given = [one for one in _HANDLERS if probe.get(one) is not None]
    if not given:
        causes.append(cause_required(field, "must specify a handler type"))
    causes += [cause_forbidden(f"{field}.{one}", "may not specify more than 1 handler type") for one in given[1:]]
    for one in given[:1]:
        if one in {"httpGet", "tcpSocket"}:
            causes += check_port_or_name(probe[one].get("port", 0), f"{field}.{one}.port")
        if one == "exec" and not probe["exec"].get("command"):
            causes.append(cause_required(f"{field}.exec.command"))
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe.get(name, 0) < 0:
            causes.append(cause_invalid(f"{field}.{name}", probe[name], "must be greater than or equal to 0"))
    if kind != "readinessProbe" and probe.get("successThreshold", 1) > 1:
        causes.append(cause_invalid(f"{field}.successThreshold", probe["successThreshold"], "must be 1"))
    return causes


def check_port_or_name(port: Any, field: str) -> list[Cause]:
    faults = names.port_name_faults(port) if isinstance(port, str) else names.port_faults(port)
    return [cause_invalid(field, port, fault) for fault in faults]
