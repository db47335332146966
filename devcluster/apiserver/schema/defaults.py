"""Defaults of built-in kinds, and the status with which objects are created."""

from __future__ import annotations

import base64
from collections.abc import Callable

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.pod_defaults import fill_own_containers, fill_pod_spec, pod_qos, set_default
from devcluster.apiserver.schema.resources import ResourceType


def reset_for_create(kind: ResourceType, body: JsonObject) -> None:
    """Replace the status in the body of a create with the initial status of the kind."""
    if kind.has_status:
        body.pop("status", None)
    if not kind.builtin:
        return
    match kind.table:
        case "pods":
            body["status"] = {"phase": "Pending", "qosClass": pod_qos(body.get("spec") or {})}
        case "namespaces":
            body["status"] = {"phase": "Active"}
            finalizers: list[str] = list((body.get("spec") or {}).get("finalizers") or [])
            if "kubernetes" not in finalizers:
                finalizers.append("kubernetes")
            body["spec"] = {"finalizers": finalizers}
            labels = body["metadata"].setdefault("labels", {})
            labels["kubernetes.io/metadata.name"] = body["metadata"].get("name", "")
        case "persistentvolumeclaims":
            body["status"] = {"phase": "Pending"}
            _protect(body, "kubernetes.io/pvc-protection")
        case "persistentvolumes":
            created = body["metadata"].get("creationTimestamp")
            body["status"] = {"phase": "Pending", "lastPhaseTransitionTime": created}
            _protect(body, "kubernetes.io/pv-protection")
        case "services":
            body["status"] = {"loadBalancer": {}}
            fill_service_addresses(body["spec"])
        case "ingresses.networking.k8s.io":
            body["status"] = {"loadBalancer": {}}
        case "statefulsets.apps":
            body["status"] = {"replicas": 0, "availableReplicas": 0}
        case "replicasets.apps" | "replicationcontrollers":
            body["status"] = {"replicas": 0}
        case "daemonsets.apps":
            body["status"] = {
                "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
            }  # fmt: skip
        case "horizontalpodautoscalers.autoscaling":
            body["status"] = {"currentReplicas": 0, "desiredReplicas": 0}
        case "poddisruptionbudgets.policy":
            body["status"] = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}
        case "customresourcedefinitions.apiextensions.k8s.io":
            body["status"] = _established(body)
        case "deployments.apps" | "jobs.batch" | "cronjobs.batch" | "nodes" | "resourcequotas":
            body["status"] = {}
        case _:
            pass


def _protect(body: JsonObject, finalizer: str) -> None:
    """Add a protection finalizer, which garbage collection removes when nothing uses the storage."""
    finalizers = body["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)


def _established(body: JsonObject) -> JsonObject:
    """Return the status of a CustomResourceDefinition that is served."""
    spec, now = body.get("spec") or {}, body["metadata"].get("creationTimestamp")
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    stored = [one.get("name") for one in spec.get("versions") or () if one.get("storage")]
    names = dict(spec.get("names") or {})
    if names.get("kind"):
        set_default(names, "singular", names["kind"].lower())
        set_default(names, "listKind", names["kind"] + "List")
    return {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}


def fill_defaults(kind: ResourceType, body: JsonObject) -> None:
    """Set the defaults of a built-in kind. Custom resources get theirs while they are decoded."""
    if not kind.builtin:
        return
    spec = kind.node.properties.get("spec")
    if spec is not None and spec.is_struct:
        body.setdefault("spec", {})
    fill = _DEFAULTS.get(kind.table)
    if fill is not None:
        fill(body)


# Kinds


def _secret(body: JsonObject) -> None:
    plain = body.pop("stringData", None)
    if plain:
        data = dict(body.get("data") or {})
        for name, text in plain.items():
            data[name] = base64.b64encode(str(text).encode("utf-8", "surrogatepass")).decode()
        body["data"] = data
    if not body.get("type"):
        body["type"] = "Opaque"


def _service(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    body.setdefault("status", {}).setdefault("loadBalancer", {})
    set_default(spec, "sessionAffinity", "None")
    set_default(spec, "type", "ClusterIP")
    for port in spec.get("ports") or ():
        set_default(port, "protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
        if port.get("nodePort") == 0:
            del port["nodePort"]
    if spec["type"] in {"NodePort", "LoadBalancer", "ClusterIP"} and spec.get("internalTrafficPolicy") is None:
        spec["internalTrafficPolicy"] = "Cluster"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {}
        if (config.get("clientIP") or {}).get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10_800}}
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        set_default(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        set_default(spec, "allocateLoadBalancerNodePorts", True)


def fill_service_addresses(spec: JsonObject) -> None:
    """Set the IP families of a Service, and clusterIP from clusterIPs or the reverse, as its storage does."""
    if spec.get("type") == "ExternalName":
        return
    headless_without_selector = spec.get("clusterIP") == "None" and not spec.get("selector")
    set_default(spec, "ipFamilyPolicy", "RequireDualStack" if headless_without_selector else "SingleStack")
    set_default(spec, "ipFamilies", ["IPv4", "IPv6"] if headless_without_selector else ["IPv4"])
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]


def _pod(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    set_default(spec, "enableServiceLinks", True)
    fill_pod_spec(spec)
    fill_own_containers(spec)


def _template(spec: JsonObject) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    fill_pod_spec(template.setdefault("spec", {}))


def _stateful_set(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    set_default(spec, "podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        set_default(strategy["rollingUpdate"], "partition", 0)
    set_default(spec, "replicas", 1)
    set_default(spec, "revisionHistoryLimit", 10)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    set_default(retention, "whenDeleted", "Retain")
    set_default(retention, "whenScaled", "Retain")
    set_default(spec, "serviceName", "")
    if "ordinals" in spec:
        spec["ordinals"].setdefault("start", 0)
    _template(spec)
    status = body.setdefault("status", {})
    set_default(status, "replicas", 0)
    set_default(status, "availableReplicas", 0)
    _fill_conditions(status, ("lastTransitionTime",))
    for claim in spec.get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        claim.setdefault("metadata", {})
        claim["status"] = {"phase": "Pending"}
        _claim(claim)


def _deployment(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    set_default(spec, "replicas", 1)
    strategy = spec.setdefault("strategy", {})
    set_default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        set_default(rolling, "maxUnavailable", "25%")
        set_default(rolling, "maxSurge", "25%")
    set_default(spec, "revisionHistoryLimit", 10)
    set_default(spec, "progressDeadlineSeconds", 600)
    _template(spec)
    _fill_conditions(body.get("status") or {}, ("lastUpdateTime", "lastTransitionTime"))


def _fill_conditions(status: JsonObject, times: tuple[str, ...]) -> None:
    """Set the fields that each condition has in JSON: its type and status, and null for a time that is not known."""
    for condition in status.get("conditions") or ():
        for name, empty in (*dict.fromkeys(times).items(), ("status", ""), ("type", "")):
            condition.setdefault(name, empty)


def _replica_set(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    set_default(spec, "replicas", 1)
    _template(spec)


def _daemon_set(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    set_default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        set_default(rolling, "maxUnavailable", 1)
        set_default(rolling, "maxSurge", 0)
    set_default(spec, "revisionHistoryLimit", 10)
    _template(spec)


def _job(body: JsonObject) -> None:
    _job_spec(body.setdefault("spec", {}))
    spec = body["spec"]
    if not spec.get("manualSelector") and not spec.get("selector") and body["metadata"].get("uid"):
        uid, name = body["metadata"]["uid"], body["metadata"].get("name", "")
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
        labels |= {
            "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
            "controller-uid": uid, "job-name": name,
        }  # fmt: skip
        body["metadata"]["labels"] = {**labels, **(body["metadata"].get("labels") or {})}
        spec.setdefault("manualSelector", False)


def _job_spec(spec: JsonObject) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    set_default(spec, "parallelism", 1)
    set_default(spec, "backoffLimit", 6)
    set_default(spec, "completionMode", "NonIndexed")
    set_default(spec, "suspend", False)
    set_default(spec, "podReplacementPolicy", "TerminatingOrFailed")
    _template(spec)


def _cron_job(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    set_default(spec, "concurrencyPolicy", "Allow")
    set_default(spec, "suspend", False)
    set_default(spec, "successfulJobsHistoryLimit", 3)
    set_default(spec, "failedJobsHistoryLimit", 1)
    job = spec.get("jobTemplate")
    if isinstance(job, dict):
        job.setdefault("metadata", {})
        inner = job.setdefault("spec", {})
        if isinstance(inner.get("template"), dict):
            inner["template"].setdefault("metadata", {})
            if isinstance(inner["template"].get("spec"), dict):
                fill_pod_spec(inner["template"]["spec"])


def _own_claim(body: JsonObject) -> None:
    set_default(body.setdefault("status", {}), "phase", "Pending")
    _claim(body)


def _claim(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    set_default(spec, "resources", {})


def _volume(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    set_default(spec, "persistentVolumeReclaimPolicy", "Retain")
    set_default(spec, "volumeMode", "Filesystem")
    if isinstance(spec.get("hostPath"), dict):
        set_default(spec["hostPath"], "type", "")


def _network_policy(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in (rule or {}).get("ports") or ():
            set_default(port, "protocol", "TCP")
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _endpoints(body: JsonObject) -> None:
    for subset in body.get("subsets") or ():
        for port in subset.get("ports") or ():
            set_default(port, "protocol", "TCP")


def _endpoint_slice(body: JsonObject) -> None:
    for port in body.get("ports") or ():
        set_default(port, "name", "")
        set_default(port, "protocol", "TCP")
    for endpoint in body.get("endpoints") or ():
        endpoint.setdefault("conditions", {})
    body.setdefault("endpoints", [])
    body.setdefault("ports", None)


def _role_binding(body: JsonObject) -> None:
    reference = body.get("roleRef")
    if isinstance(reference, dict):
        set_default(reference, "apiGroup", "rbac.authorization.k8s.io")
    for subject in body.get("subjects") or ():
        if subject.get("kind") in {"User", "Group"}:
            set_default(subject, "apiGroup", "rbac.authorization.k8s.io")


def _storage_class(body: JsonObject) -> None:
    set_default(body, "reclaimPolicy", "Delete")
    set_default(body, "volumeBindingMode", "Immediate")


def _priority_class(body: JsonObject) -> None:
    set_default(body, "preemptionPolicy", "PreemptLowerPriority")


def _limit_range(body: JsonObject) -> None:
    for limit in (body.get("spec") or {}).get("limits") or ():
        if limit.get("type") == "Container":
            defaults = {**(limit.get("max") or {}), **(limit.get("default") or {})}
            if defaults:
                limit["default"] = defaults
            requests = {**(limit.get("min") or {}), **defaults, **(limit.get("defaultRequest") or {})}
            if requests:
                limit["defaultRequest"] = requests


def _autoscaler(body: JsonObject) -> None:
    set_default(body.setdefault("spec", {}), "minReplicas", 1)


def _event(body: JsonObject) -> None:
    for name, empty in (
        ("source", {}), ("firstTimestamp", None), ("lastTimestamp", None), ("eventTime", None),
        ("reportingComponent", ""), ("reportingInstance", ""),
    ):  # fmt: skip
        body.setdefault(name, empty)


def _custom_definition(body: JsonObject) -> None:
    spec = body.setdefault("spec", {})
    names = spec.get("names")
    if isinstance(names, dict) and names.get("kind"):
        set_default(names, "singular", names["kind"].lower())
        set_default(names, "listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})


_DEFAULTS: dict[str, Callable[[JsonObject], None]] = {
    "secrets": _secret,
    "services": _service,
    "pods": _pod,
    "statefulsets.apps": _stateful_set,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "daemonsets.apps": _daemon_set,
    "jobs.batch": _job,
    "cronjobs.batch": _cron_job,
    "persistentvolumeclaims": _own_claim,
    "persistentvolumes": _volume,
    "networkpolicies.networking.k8s.io": _network_policy,
    "endpoints": _endpoints,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "rolebindings.rbac.authorization.k8s.io": _role_binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _role_binding,
    "storageclasses.storage.k8s.io": _storage_class,
    "horizontalpodautoscalers.autoscaling": _autoscaler,
    "events": _event,
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "limitranges": _limit_range,
    "customresourcedefinitions.apiextensions.k8s.io": _custom_definition,
}
