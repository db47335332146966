"""Decides the state of a Cluster by its age, its scenario and the state of its server. Pure.

Phases and refusals follow recordings of KubeBlocks v1.0.2 (v1), and the source of v0.8.4 and v0.9.5 (v1alpha1).
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
LONGEST_SERVICE_NAME = 63
# The operator takes this long to see that a Pod is not ready (1.0 to 1.4 s in the recordings).
DOWN_TOLERANCE_S = 1.2
# A container that waits or has ended makes its component fail after this time without ContainersReady.
FAILED_AFTER_S = 10.0

ServerState = Literal["absent", "starting", "answering", "failed"]


@dataclass(frozen=True)
class Observed:
    """The observed state of a Cluster besides its object.

    `age_s`, `running_after_s` and `secret_after_s` are seconds after creation. `server_error` is a sentence if the
    server is "failed". `down_s` is the time for which it has not answered. `is_updating` is set while a change of the
    spec is rolled out. `is_placed` is set once the objects of the component exist. `is_bound` is False while a claim
    waits for a volume.
    """

    age_s: float
    server: ServerState
    running_after_s: float
    secret_after_s: float
    server_error: str = ""
    down_s: float = 0.0
    is_updating: bool = False
    is_placed: bool = True
    is_bound: bool = True


@dataclass(frozen=True)
class Decision:
    """The desired state. `again_s` is the time until the next decision.

    `phase` is the phase that the Cluster is on its way to; "" if KubeBlocks refuses it, with the reason in `refusal`.
    `message` is a sentence that a scenario or the stand-in itself adds. `is_forced` is set if a scenario names the
    phase, so that no phase comes in between. `is_placed`: see Observed.
    """

    phase: str
    wants_server: bool
    wants_secret: bool
    wants_objects: bool
    again_s: float | None
    refusal: str = ""
    message: str = ""
    is_forced: bool = False
    is_placed: bool = True


def spec_of(cluster: Object) -> Object:
    """Return the spec; {} if the Cluster has none, which the schema allows."""
    return cluster.get("spec") or {}


def is_legacy(cluster: Object) -> bool:
    """Return whether the Cluster has the format of KubeBlocks 0.9 and earlier, with a `-conn-credential` Secret."""
    return bool(spec_of(cluster).get("clusterDefinitionRef"))


def is_current(cluster: Object) -> bool:
    """Return whether the Cluster is of API version v1, which KubeBlocks 1.0 serves."""
    return str(cluster["apiVersion"]).endswith("/v1")


def component_of(cluster: Object) -> Object:
    """Return the spec of the first component; {} if there is none."""
    components = spec_of(cluster).get("componentSpecs") or [{}]
    return components[0] if isinstance(components[0], dict) else {}


def component_name(cluster: Object) -> str:
    return str(component_of(cluster).get("name") or COMPONENT)


def definition_of(component: Object) -> str:
    """Return the name of the ComponentDefinition that KubeBlocks resolves; "" if none matches.

    The topology of the ClusterDefinition names `postgresql-`, which every one begins with."""
    wanted, version = component.get("componentDef") or f"{COMPONENT}-", component.get("serviceVersion") or ""
    for known in reversed(SERVICE_VERSIONS):
        definition = f"{COMPONENT}-{known.partition('.')[0]}-1.0.2"
        if definition.startswith(wanted) and version in ("", known):
            return definition
    return ""


def version_of(component: Object) -> str:
    """Return the service version of a component: its own, or the newest of its ComponentDefinition."""
    if version := component.get("serviceVersion"):
        return str(version)
    definition = definition_of(component)
    return next(known for known in reversed(SERVICE_VERSIONS) if definition == definition_of({"serviceVersion": known}))


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
            return f"specified cluster topology not found: {spec['topology']}"
        if component.get("name") != COMPONENT:
            return f"component {component.get('name') or ''} not defined in topology {TOPOLOGY}"
    if not definition_of(component) or not (spec.get("clusterDef") or component.get("componentDef")):
        wanted = component.get("componentDef") or (f"{COMPONENT}-" if spec.get("clusterDef") else "")
        version = component.get("serviceVersion") or ""
        return f'no matched component definition found with componentDef "{wanted}" and serviceVersion "{version}"'
    return ""


def hold_of(cluster: Object) -> str:
    """Return why KubeBlocks accepts the Cluster and never places its component; "" if it does.

    The Cluster itself says nothing: the reason is in the status of the Component and in the operator's log."""
    if not is_current(cluster):
        return ""
    component, name = component_of(cluster), component_name(cluster)
    if component.get("replicas") == 0:
        return "replicas 0 out-of-limit [1, 16384]"
    service = f"{cluster['metadata']['name']}-{name}-{name}"
    if len(service) > LONGEST_SERVICE_NAME:
        return f'Service "{service}" is invalid: metadata.name: must be no more than {LONGEST_SERVICE_NAME} characters'
    return ""


def wants_stop(cluster: Object) -> bool:
    component = component_of(cluster)
    return component.get("stop") is True or (not is_current(cluster) and component.get("replicas") == 0)


def decide(cluster: Object, observed: Observed, scenario: Scenario) -> Decision:
    """Return the desired state of a Cluster that is not being deleted."""
    refusal = refusal_of(cluster)
    if scenario.stuck == STUCK_EMPTY:
        refusal = refusal or scenario.message or 'ClusterDefinition.apps.kubeblocks.io "postgresql" not found'
    if refusal:
        is_forced = scenario.stuck == STUCK_EMPTY
        return Decision("", False, False, False, None, refusal=refusal, is_forced=is_forced)
    before = str((cluster.get("status") or {}).get("phase") or "")
    if hold_of(cluster) and before in ("", "Creating"):
        return Decision("Creating", False, False, False, None, is_placed=False)
    was_up = before not in ("", "Creating")
    running_after_s = scenario.running_after_s if scenario.running_after_s is not None else observed.running_after_s
    secret_after_s = scenario.secret_after_s if scenario.secret_after_s is not None else observed.secret_after_s
    is_failed = scenario.fail is not None and observed.age_s >= scenario.fail.after_s
    phase, message = _phase(cluster, observed, scenario, before, is_due=was_up or observed.age_s >= running_after_s)
    moments = [running_after_s, secret_after_s]
    if scenario.fail is not None:
        moments.append(scenario.fail.after_s)
    ahead = [moment - observed.age_s for moment in moments if observed.age_s < moment < NEVER]
    return Decision(
        phase,
        wants_server=not wants_stop(cluster) and not scenario.no_endpoints and observed.is_bound,
        wants_secret=observed.age_s >= secret_after_s,
        wants_objects=True,
        again_s=min(ahead) + 0.001 if ahead else None,
        message=message,
        is_forced=bool(scenario.stuck) or is_failed,
        is_placed=observed.is_placed,
    )


def _phase(cluster: Object, observed: Observed, scenario: Scenario, before: str, *, is_due: bool) -> tuple[str, str]:
    """Return the phase, and a message or ""."""
    if scenario.stuck:
        return scenario.stuck, scenario.message or ""
    if scenario.fail is not None and observed.age_s >= scenario.fail.after_s:
        return scenario.fail.phase, scenario.fail.message
    if wants_stop(cluster):
        return ("Stopped" if observed.server == "absent" else "Stopping"), ""
    is_new = before in ("", "Creating")
    if observed.is_updating and not is_new:
        return "Updating", ""
    if not is_due or not observed.is_bound:
        return ("Creating", observed.server_error) if is_new else ("Updating", "")
    if observed.server == "answering" or scenario.no_endpoints:
        return "Running", ""
    if observed.server == "failed" and observed.down_s >= FAILED_AFTER_S:
        return "Failed", observed.server_error
    if is_new:
        return "Creating", observed.server_error
    if before == "Running" and observed.down_s < DOWN_TOLERANCE_S:
        return before, ""
    return ("Failed" if before == "Failed" else "Updating"), ""
