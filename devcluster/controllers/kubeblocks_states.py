"""Decides the state of a Cluster by its age, its scenario and the state of its server. Pure.

Phases, condition types and reasons follow KubeBlocks v0.8.4, v0.9.5 (v1alpha1) and v1.0.2 (v1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devcluster.client.client import Object
from devcluster.controllers.scenarios import NEVER, STUCK_EMPTY, Scenario

COMPONENT = "postgresql"
TOPOLOGY = "replication"
FINALIZER = "cluster.kubeblocks.io/finalizer"
SERVICE_VERSIONS = (
    *("12.14.0", "12.14.1", "12.15.0", "12.22.0", "14.7.2", "14.8.0", "14.18.0"),
    *("15.7.0", "15.13.0", "16.4.0", "16.9.0", "17.5.0", "18.1.0"),
)
NEWEST_VERSION = SERVICE_VERSIONS[-1]
LEGACY_VERSIONS = (
    "postgresql-12.14.0",
    "postgresql-12.14.1",
    "postgresql-12.15.0",
    "postgresql-14.7.2",
    "postgresql-14.8.0",
)
# A server that ended is restarted, as by the kubelet. The Cluster fails only after this time.
DOWN_TOLERANCE_S = 2.0

ServerState = Literal["absent", "starting", "answering", "failed"]


@dataclass(frozen=True)
class Observed:
    """The observed state of a Cluster besides its object.

    `age_s`, `running_after_s` and `secret_after_s` are seconds after creation. `server_error` is a sentence if the
    server is "failed". `down_s` is the time for which it has not answered. `is_updating` is set during a restart.
    """

    age_s: float
    server: ServerState
    running_after_s: float
    secret_after_s: float
    server_error: str = ""
    down_s: float = 0.0
    is_updating: bool = False


@dataclass(frozen=True)
class Decision:
    """The desired state. `phase` is "" if KubeBlocks sets none; `again_s` is the time until the next decision."""

    phase: str
    conditions: dict[str, tuple[bool, str, str]]
    wants_server: bool
    wants_secret: bool
    wants_objects: bool
    again_s: float | None


def spec_of(cluster: Object) -> Object:
    """Return the spec; {} if the Cluster has none, which the schema allows."""
    return cluster.get("spec") or {}


def is_legacy(cluster: Object) -> bool:
    """Return whether the Cluster has the format of KubeBlocks 0.9 and earlier, with a `-conn-credential` Secret."""
    return bool(spec_of(cluster).get("clusterDefinitionRef"))


def component_of(cluster: Object) -> Object:
    """Return the spec of the first component; {} if there is none."""
    components = spec_of(cluster).get("componentSpecs") or [{}]
    return components[0] if isinstance(components[0], dict) else {}


def component_name(cluster: Object) -> str:
    return str(component_of(cluster).get("name") or COMPONENT)


def refusal_of(cluster: Object) -> str:
    """Return why KubeBlocks would refuse the spec, as in PreCheckFailed; "" if it would accept it."""
    spec, component = spec_of(cluster), component_of(cluster)
    if not component:
        return "cluster must have at least one component"
    if is_legacy(cluster):
        if spec["clusterDefinitionRef"] != "postgresql":
            return f'ClusterDefinition.apps.kubeblocks.io "{spec["clusterDefinitionRef"]}" not found'
        version = spec.get("clusterVersionRef")
        if version and version not in LEGACY_VERSIONS:
            return f'ClusterVersion.apps.kubeblocks.io "{version}" not found'
        if component.get("componentDefRef") not in (None, COMPONENT):
            return f"componentDef {component['componentDefRef']} not found in ClusterDefinition postgresql"
        return ""
    if spec.get("clusterDef"):
        if spec["clusterDef"] != "postgresql":
            return f'ClusterDefinition.apps.kubeblocks.io "{spec["clusterDef"]}" not found'
        if spec.get("topology") not in (None, "", TOPOLOGY):
            return f'specified cluster topology "{spec["topology"]}" not found in ClusterDefinition "postgresql"'
        if component.get("name") != COMPONENT:
            return f'component "{component.get("name")}" not found in topology "{TOPOLOGY}"'
    elif not str(component.get("componentDef") or "").startswith("postgresql"):
        return f'no matched component definition found with componentDef "{component.get("componentDef") or ""}"'
    version = component.get("serviceVersion")
    if version and version not in SERVICE_VERSIONS:
        return f'no matched component definition found with componentDef "postgresql" and serviceVersion "{version}"'
    return ""


def wants_stop(cluster: Object) -> bool:
    component = component_of(cluster)
    return component.get("stop") is True or component.get("replicas") == 0


def decide(cluster: Object, observed: Observed, scenario: Scenario) -> Decision:
    """Return the desired state of a Cluster that is not being deleted."""
    refusal = refusal_of(cluster)
    if scenario.stuck == STUCK_EMPTY:
        refusal = refusal or scenario.message or 'ClusterDefinition.apps.kubeblocks.io "postgresql" not found'
    if refusal:
        conditions = {"ProvisioningStarted": (False, "PreCheckFailed", refusal)}
        return Decision("", conditions, wants_server=False, wants_secret=False, wants_objects=False, again_s=None)

    before = str((cluster.get("status") or {}).get("phase") or "")
    was_up = before not in ("", "Creating")
    running_after_s = scenario.running_after_s if scenario.running_after_s is not None else observed.running_after_s
    secret_after_s = scenario.secret_after_s if scenario.secret_after_s is not None else observed.secret_after_s
    phase, message = _phase(cluster, observed, scenario, before, is_due=was_up or observed.age_s >= running_after_s)
    moments = [running_after_s, secret_after_s]
    if scenario.fail is not None:
        moments.append(scenario.fail.after_s)
    ahead = [moment - observed.age_s for moment in moments if observed.age_s < moment < NEVER]
    return Decision(
        phase,
        _conditions(cluster, phase, message),
        wants_server=not wants_stop(cluster) and not scenario.no_endpoints,
        wants_secret=observed.age_s >= secret_after_s,
        wants_objects=True,
        again_s=min(ahead) + 0.001 if ahead else None,
    )


def _phase(cluster: Object, observed: Observed, scenario: Scenario, before: str, *, is_due: bool) -> tuple[str, str]:
    """Return the phase, and a message or ""."""
    if scenario.stuck:
        return scenario.stuck, scenario.message or f"The cluster is held in phase {scenario.stuck} by a scenario."
    if scenario.fail is not None and observed.age_s >= scenario.fail.after_s:
        return scenario.fail.phase, scenario.fail.message
    if wants_stop(cluster):
        return ("Stopped" if observed.server == "absent" else "Stopping"), ""
    if observed.is_updating:
        return "Updating", ""
    if not is_due:
        return "Creating", observed.server_error
    if observed.server == "answering" or scenario.no_endpoints:
        return "Running", ""
    if before in ("", "Creating"):
        return "Creating", observed.server_error
    if before in ("Stopped", "Stopping", "Updating"):
        return "Updating", observed.server_error
    if observed.down_s < DOWN_TOLERANCE_S:
        return before, ""
    return "Failed", observed.server_error or "the pod of component postgresql is not ready"


def _conditions(cluster: Object, phase: str, message: str) -> dict[str, tuple[bool, str, str]]:
    """Return (status, reason, message) by condition type."""
    name = cluster["metadata"]["name"]
    conditions = {
        "ProvisioningStarted": (
            True,
            "PreCheckSucceed",
            f"The operator has started the provisioning of Cluster: {name}",
        ),
        "ApplyResources": (True, "ApplyResourcesSucceed", "Successfully applied for resources"),
    }
    if phase == "Running":
        conditions["ReplicasReady"] = (True, "AllReplicasReady", "all pods of components are ready")
        conditions["Ready"] = (True, "ClusterReady", f"Cluster: {name} is ready, current phase is Running")
    elif phase in ("Creating", "Failed", "Abnormal", "Updating"):
        text = message or f"pods are not ready in Components: [{component_name(cluster)}]"
        conditions["ReplicasReady"] = (False, "ReplicasNotReady", text)
        if phase in ("Failed", "Abnormal"):
            conditions["Ready"] = (False, "ComponentsNotReady", text)
    return conditions


def build_status(cluster: Object, decision: Decision, now: str) -> Object:
    """Return the status in the format of the Cluster's API version. Unchanged conditions keep their times."""
    metadata, old = cluster["metadata"], cluster.get("status") or {}
    known = {condition["type"]: condition for condition in old.get("conditions") or []}
    conditions = []
    for kind, (is_true, reason, message) in decision.conditions.items():
        status, before = "True" if is_true else "False", known.get(kind, {})
        since = before["lastTransitionTime"] if before.get("status") == status else now
        condition = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": metadata["generation"],
            "lastTransitionTime": since,
        }
        same = {**condition, "observedGeneration": before.get("observedGeneration")} == before
        conditions.append(before if same and kind != "ProvisioningStarted" else condition)
    status_object: Object = {"observedGeneration": metadata["generation"], "conditions": conditions}
    if decision.phase:
        component: Object = {"phase": decision.phase}
        if cluster["apiVersion"].endswith("/v1"):
            if decision.phase == "Abnormal":
                component["phase"] = "Failed"  # v1 has no phase Abnormal for components
            component |= {"observedGeneration": metadata["generation"], "upToDate": decision.phase != "Updating"}
        else:
            component["podsReady"] = decision.phase == "Running"
        status_object |= {"phase": decision.phase, "components": {component_name(cluster): component}}
    return status_object
