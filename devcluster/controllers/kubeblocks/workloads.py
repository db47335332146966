"""Builders of the Component and the InstanceSet of a Cluster, as KubeBlocks v1.0.2 writes them. Pure.

The recordings have no spec of either: the specs here are copies of the Cluster's component.
"""

from __future__ import annotations

import json
import zlib

from devcluster.client.client import Object, Resource
from devcluster.controllers.kubeblocks.objects import (
    COMPONENT_FINALIZER,
    INSTANCE_SET_FINALIZER,
    Owners,
    component_labels,
    workload_name,
)
from devcluster.controllers.kubeblocks.states import FINALIZER, component_of, version_of

COMPONENTS = Resource("apps.kubeblocks.io", "v1", "components", "Component")
INSTANCE_SETS = Resource("workloads.kubeblocks.io", "v1", "instancesets", "InstanceSet")
GENERATION_ANNOTATION = "kubeblocks.io/generation"
CRD_ANNOTATION = "kubeblocks.io/crd-api-version"
DEFINITION_LABEL = "componentdefinition.kubeblocks.io/name"


def component_spec(cluster: Object, definition: str) -> Object:
    component = component_of(cluster)
    taken = ("replicas", "resources", "volumeClaimTemplates", "stop")
    copied: Object = {key: component[key] for key in taken if key in component}
    return {"compDef": definition, "serviceVersion": version_of(component), **copied}


def build_component(cluster: Object, definition: str) -> Object:
    """Return the Component as it is created: its controller adds the finalizer and the label later."""
    metadata = cluster["metadata"]
    return {
        "metadata": {
            "name": workload_name(cluster),
            "namespace": metadata["namespace"],
            "labels": {"app.kubernetes.io/component": definition, **component_labels(cluster)},
            "annotations": {
                "apps.kubeblocks.io/cluster-uid": metadata["uid"],
                CRD_ANNOTATION: COMPONENTS.api_version,
                GENERATION_ANNOTATION: str(metadata["generation"]),
            },
            "finalizers": [FINALIZER],
            "ownerReferences": [Owners(cluster).reference(None)],
        },
        "spec": component_spec(cluster, definition),
    }


def adopt_component(component: Object) -> Object | None:
    """Return the patch with which the component's controller takes it over; None if it has."""
    if COMPONENT_FINALIZER in (component["metadata"].get("finalizers") or []):
        return None
    definition = component["metadata"]["labels"]["app.kubernetes.io/component"]
    return {"metadata": {"labels": {DEFINITION_LABEL: definition}, "finalizers": [FINALIZER, COMPONENT_FINALIZER]}}


def follow_cluster(component: Object, cluster: Object) -> Object | None:
    """Return the patch that takes the Cluster's generation and spec over; None if it is taken over."""
    generation = str(cluster["metadata"]["generation"])
    if component["metadata"]["annotations"].get(GENERATION_ANNOTATION) == generation:
        return None
    definition = component["metadata"]["labels"]["app.kubernetes.io/component"]
    spec = component_spec(cluster, definition)
    gone = {key: None for key in component["spec"] if key not in spec}
    return {"metadata": {"annotations": {GENERATION_ANNOTATION: generation}}, "spec": {**spec, **gone}}


def component_status(component: Object, phase: str, refusal: str, now: str) -> Object | None:
    """Return the status of a Component in `phase` ("": none yet; `refusal` says why); None if it is written."""
    status, generation = component.get("status") or {}, component["metadata"]["generation"]
    name = component["metadata"]["name"]
    started = f"The operator has started the provisioning of Cluster: {name}"
    checked = "PreCheckFailed" if refusal else "PreCheckSucceed"
    wanted = {"ProvisioningStarted": (not refusal, checked, refusal or started)}
    if phase:
        is_running = phase == "Running"
        text = f"the component phase is {phase}"
        wanted["Available"] = (is_running, "Available" if is_running else "Unavailable", text)
    known = {condition["type"]: condition for condition in status.get("conditions") or []}
    if "SystemAccountProvision" in known or (phase == "Running" and status.get("phase") == "Running"):
        accounts = "kbadmin:,kbdataprotection:,kbmonitoring:,kbprobe:,kbreplicator:,postgres:"
        wanted["SystemAccountProvision"] = (True, "AllProvisioned", accounts)
    conditions = []
    for kind, (is_true, reason, message) in wanted.items():
        before, value = known.get(kind, {}), "True" if is_true else "False"
        since = before["lastTransitionTime"] if before.get("status") == value else now
        condition = {"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": since}
        conditions.append({**condition, "observedGeneration": generation})
    built = {"conditions": conditions, **({"phase": phase, "observedGeneration": generation} if phase else {})}
    return None if built == status else built


def replicas_of(cluster: Object) -> int:
    component = component_of(cluster)
    return 0 if component.get("stop") else int(component.get("replicas") or 1)


def _pods(cluster: Object) -> list[str]:
    return [f"{workload_name(cluster)}-{ordinal}" for ordinal in range(replicas_of(cluster))]


def build_instance_set(owners: Owners) -> Object:
    """Return the InstanceSet as it is created: its controller adds the finalizer later."""
    cluster, component = owners.cluster, component_of(owners.cluster)
    return {
        "metadata": {
            "name": workload_name(cluster),
            "namespace": cluster["metadata"]["namespace"],
            "labels": component_labels(cluster),
            "annotations": {
                "app.kubernetes.io/component": str(component.get("componentDef")),
                "apps.kubeblocks.io/replicas-status": _replicas_status(cluster, is_provisioned=False),
                "apps.kubeblocks.io/service-version": version_of(component),
                CRD_ANNOTATION: INSTANCE_SETS.api_version,
                GENERATION_ANNOTATION: str(cluster["metadata"]["generation"]),
            },
            "finalizers": [COMPONENT_FINALIZER],
            "ownerReferences": [owners.reference(owners.component)],
        },
        "spec": {"replicas": replicas_of(cluster)},
    }


def adopt_instance_set(instance_set: Object) -> Object | None:
    """Return the patch with which the controller of InstanceSets takes it over; None if it has."""
    if INSTANCE_SET_FINALIZER in (instance_set["metadata"].get("finalizers") or []):
        return None
    return {"metadata": {"finalizers": [COMPONENT_FINALIZER, INSTANCE_SET_FINALIZER]}}


def follow_component(instance_set: Object, cluster: Object) -> Object | None:
    """Return the patch that takes replicas and generation over; None if they are taken over."""
    metadata = instance_set["metadata"]
    wanted = {
        GENERATION_ANNOTATION: str(cluster["metadata"]["generation"]),
        "apps.kubeblocks.io/replicas-status": _replicas_status(cluster, is_provisioned=True),
    }
    if all(metadata["annotations"].get(key) == value for key, value in wanted.items()):
        return None
    return {"metadata": {"annotations": wanted}, "spec": {"replicas": replicas_of(cluster)}}


def _replicas_status(cluster: Object, *, is_provisioned: bool) -> str:
    generation = str(cluster["metadata"]["generation"])
    made = {"generation": generation, "creationTimestamp": "0001-01-01T00:00:00Z", "provisioned": True}
    status = [{"name": pod, **made} for pod in _pods(cluster)] if is_provisioned else []
    return json.dumps({"replicas": replicas_of(cluster), "status": status}, separators=(",", ":"))


def next_instance_set_status(instance_set: Object, cluster: Object, *, is_ready: bool, now: str) -> Object | None:
    """Return the next status of an InstanceSet: empty, with Pods, then ready or not; None if it is written."""
    status, generation = instance_set.get("status") or {}, instance_set["metadata"]["generation"]
    pods = _pods(cluster)
    revision = f"{zlib.crc32(json.dumps(component_of(cluster), sort_keys=True).encode()):08x}"
    revisions = dict.fromkeys(pods, revision)
    if not status:
        none = {"availableReplicas": 0, "initReplicas": 0, "replicas": 0}
        return {**none, "observedGeneration": generation, "updateRevision": revision, "updateRevisions": revisions}
    known = {condition["type"]: condition for condition in status.get("conditions") or []}
    conditions = []
    for kind, reason in (("InstanceReady", "Ready"), ("InstanceAvailable", "Available")):
        listed = json.dumps(pods, separators=(",", ":")) if kind == "InstanceReady" else "[]"
        before, value = known.get(kind, {}), "True" if is_ready else "False"
        conditions.append(
            {
                "type": kind,
                "status": value,
                "reason": reason if is_ready else f"Not{reason}",
                "message": "" if is_ready else listed,
                "observedGeneration": generation,
                "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == value else now,
            }
        )
    built = {
        "availableReplicas": len(pods) if is_ready else 0,
        "conditions": conditions,
        "currentReplicas": len(pods),
        "currentRevision": revision,
        "currentRevisions": revisions,
        "initReplicas": 0,
        "instanceStatus": [{"podName": pod} for pod in pods],
        "observedGeneration": generation,
        "replicas": len(pods),
        "updateRevision": revision,
        "updateRevisions": revisions,
        "updatedReplicas": len(pods),
    }
    if is_ready:
        built["readyReplicas"] = len(pods)
        if status.get("readyReplicas") == len(pods):  # the role probes answer after the Pods are ready
            roles = ["primary", *["secondary"] * len(pods)]
            built["membersStatus"] = [_member(pod, role) for pod, role in zip(pods, roles, strict=False)]
    return None if built == status else built


def _member(pod: str, role: str) -> Object:
    return {"podName": pod, "role": {"name": role, "participatesInQuorum": False, "updatePriority": 2}}
