"""The status of a Cluster in the format of KubeBlocks v0.8.4 and v0.9.5 (v1alpha1), by their source. Pure."""

from __future__ import annotations

from devcluster.client.client import Object
from devcluster.controllers.kubeblocks.states import Decision, component_name


def _conditions(cluster: Object, decision: Decision) -> dict[str, tuple[bool, str, str]]:
    """Return (status, reason, message) by condition type."""
    if decision.refusal:
        return {"ProvisioningStarted": (False, "PreCheckFailed", decision.refusal)}
    name, phase = cluster["metadata"]["name"], decision.phase
    started = f"The operator has started the provisioning of Cluster: {name}"
    conditions = {
        "ProvisioningStarted": (True, "PreCheckSucceed", started),
        "ApplyResources": (True, "ApplyResourcesSucceed", "Successfully applied for resources"),
    }
    if phase == "Running":
        conditions["ReplicasReady"] = (True, "AllReplicasReady", "all pods of components are ready")
        conditions["Ready"] = (True, "ClusterReady", f"Cluster: {name} is ready, current phase is Running")
    elif phase in ("Creating", "Failed", "Abnormal", "Updating"):
        text = decision.message or f"pods are not ready in Components: [{component_name(cluster)}]"
        conditions["ReplicasReady"] = (False, "ReplicasNotReady", text)
        if phase in ("Failed", "Abnormal"):
            conditions["Ready"] = (False, "ComponentsNotReady", text)
    return conditions


def next_legacy_status(cluster: Object, decision: Decision, now: str) -> Object | None:
    """Return the status that fits the decision; None if it is written. Unchanged conditions keep their times."""
    metadata, old = cluster["metadata"], cluster.get("status") or {}
    known = {condition["type"]: condition for condition in old.get("conditions") or []}
    conditions = []
    for kind, (is_true, reason, message) in _conditions(cluster, decision).items():
        status, before = "True" if is_true else "False", known.get(kind, {})
        condition = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": metadata["generation"],
            "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == status else now,
        }
        same = {**condition, "observedGeneration": before.get("observedGeneration")} == before
        conditions.append(before if same and kind != "ProvisioningStarted" else condition)
    wanted: Object = {"observedGeneration": metadata["generation"], "conditions": conditions}
    if decision.phase:
        component = {"phase": decision.phase, "podsReady": decision.phase == "Running"}
        wanted |= {"phase": decision.phase, "components": {component_name(cluster): component}}
    return None if wanted == {key: old[key] for key in wanted if key in old} and set(old) <= set(wanted) else wanted
