"""Defaults of Pods and their containers (k8s.io/kubernetes pkg/apis/core/v1/defaults.go, v1.36)."""

from __future__ import annotations

import re
from typing import Any

from devcluster.apiserver.errors import JsonObject

_IMAGE = re.compile(
    r"^([A-Za-z0-9.-]+(:\d+)?/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
    r"(:[\w][\w.-]{0,127})?(@[A-Za-z0-9+._-]+:[0-9a-fA-F]+)?$"
)
"""An image reference. A text that is no reference counts as tagged."""


def set_default(target: JsonObject, name: str, value: Any) -> None:
    """Set a field that is absent or empty. False and 0 are kept."""
    if target.get(name) in (None, ""):
        target[name] = value


def fill_pod_spec(spec: JsonObject) -> None:
    """Set the defaults in the spec of a Pod or template. Admission adds the token volume of the ServiceAccount."""
    set_default(spec, "dnsPolicy", "ClusterFirst")
    set_default(spec, "restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    set_default(spec, "terminationGracePeriodSeconds", 30)
    set_default(spec, "schedulerName", "default-scheduler")
    if spec.get("serviceAccountName") and not spec.get("serviceAccount"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount") and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for name in ("containers", "initContainers"):
        for container in spec.get(name) or ():
            _fill_container(container)
    for volume in spec.get("volumes") or ():
        _fill_volume(volume)


def fill_own_containers(spec: JsonObject) -> None:
    """Set the defaults that containers of a Pod have and those of a template don't."""
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        limits = container["resources"].get("limits")
        if limits:
            requests = container["resources"].setdefault("requests", {})
            for name, amount in limits.items():
                requests.setdefault(name, amount)
        if spec.get("hostNetwork"):
            for port in container.get("ports") or ():
                if not port.get("hostPort"):
                    port["hostPort"] = port.get("containerPort", 0)


def _fill_container(container: JsonObject) -> None:
    image = container.get("image") or ""
    if not container.get("imagePullPolicy"):
        untagged = image.rpartition("/")[2]
        readable = _IMAGE.match(image) is not None
        latest = readable and "@" not in image and (":" not in untagged or untagged.endswith(":latest"))
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
    set_default(container, "terminationMessagePath", "/dev/termination-log")
    set_default(container, "terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports") or ():
        set_default(port, "protocol", "TCP")
    for variable in container.get("env") or ():
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if isinstance(field, dict):
            set_default(field, "apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _fill_probe(container[name])
    hooks = container.get("lifecycle") or {}
    for hook in hooks.values():
        if isinstance(hook, dict) and isinstance(hook.get("httpGet"), dict):
            set_default(hook["httpGet"], "path", "/")
            set_default(hook["httpGet"], "scheme", "HTTP")


def _fill_probe(probe: JsonObject) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(name):
            probe[name] = value
    if isinstance(probe.get("httpGet"), dict):
        set_default(probe["httpGet"], "path", "/")
        set_default(probe["httpGet"], "scheme", "HTTP")
    if isinstance(probe.get("grpc"), dict):
        probe["grpc"].setdefault("service", "")


def _fill_volume(volume: JsonObject) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if isinstance(volume.get(name), dict):
            set_default(volume[name], "defaultMode", 420)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        token = source.get("serviceAccountToken")
        if isinstance(token, dict):
            set_default(token, "expirationSeconds", 3600)
    for one in [
        volume.get("downwardAPI") or {},
        *[s.get("downwardAPI") or {} for s in (volume.get("projected") or {}).get("sources") or ()],
    ]:
        for item in one.get("items") or ():
            if isinstance(item.get("fieldRef"), dict):
                set_default(item["fieldRef"], "apiVersion", "v1")


def pod_qos(spec: JsonObject) -> str:
    """Return Guaranteed, Burstable or BestEffort, by the requests and limits of CPU and memory."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    requested = limited = False
    guaranteed = bool(containers)
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        requested |= bool(requests)
        limited |= bool(limits)
        for name in ("cpu", "memory"):
            if name not in limits or requests.get(name, limits[name]) != limits[name]:  # a Pod's requests  # nosec B113
                guaranteed = False
    if guaranteed:
        return "Guaranteed"
    return "Burstable" if requested or limited else "BestEffort"
