"""The status of a Cluster, one write after the other, as KubeBlocks v1.0.2 makes them. Pure.

Source: recordings of the operator. A change of the spec takes three writes before a phase changes: the conditions get
the generation and `upToDate` goes, then status and component get it. There are three conditions: ProvisioningStarted,
ApplyResources and Ready, which stays as it is until the next Running or Failed.
"""

from __future__ import annotations

from dataclasses import dataclass

from devcluster.client.client import Object
from devcluster.controllers.kubeblocks.states import Decision, component_name, component_of


@dataclass(frozen=True)
class _Step:
    """What a write is made from: the Cluster, the old status, and the time for new transitions."""

    name: str
    generation: int
    status: Object
    now: str

    @property
    def conditions(self) -> dict[str, Object]:
        return {condition["type"]: condition for condition in self.status.get("conditions") or []}

    def condition(self, kind: str, reason: str, message: str, *, is_true: bool, generation: int = 0) -> Object:
        """Return a condition. It keeps the time of its last transition if its status stays the same."""
        before, status = self.conditions.get(kind, {}), "True" if is_true else "False"
        since = before["lastTransitionTime"] if before.get("status") == status else self.now
        built = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
        return {**built, "observedGeneration": generation} if generation else built

    def accepted(self, generation: int) -> list[Object]:
        """Return the conditions of an accepted spec, and Ready as it is."""
        started = f"The operator has started the provisioning of Cluster: {self.name}"
        applied = "Successfully applied for resources"
        ready = self.conditions.get("Ready")
        return [
            self.condition("ProvisioningStarted", "PreCheckSucceed", started, is_true=True, generation=generation),
            self.condition("ApplyResources", "ApplyResourcesSucceed", applied, is_true=True, generation=generation),
            *([ready] if ready else []),
        ]

    def with_ready(self, reason: str, message: str, *, is_true: bool) -> list[Object]:
        others = [condition for kind, condition in self.conditions.items() if kind != "Ready"]
        return [*others, self.condition("Ready", reason, message, is_true=is_true)]


def next_status(cluster: Object, decision: Decision, now: str, *, first_generation: int) -> Object | None:
    """Return the next status that the operator writes; None if nothing is left to write.

    `first_generation` is the generation before the operator completed the spec, which the first status observes.
    """
    status = cluster.get("status") or {}
    step = _Step(cluster["metadata"]["name"], cluster["metadata"]["generation"], status, now)
    wanted: Object | None
    if decision.refusal:
        wanted = _refused(step, decision)
    elif not status.get("phase"):
        wanted = _first(step, component_name(cluster), first_generation)
    else:
        wanted = _observe(step, component_name(cluster)) or _advance(step, cluster, decision)
    return None if wanted is None or wanted == status else wanted


def _refused(step: _Step, decision: Decision) -> Object:
    """Nothing but the condition changes, which has no generation. A scenario also takes the phase away."""
    others = [condition for kind, condition in step.conditions.items() if kind != "ProvisioningStarted"]
    failed = step.condition("ProvisioningStarted", "PreCheckFailed", decision.refusal, is_true=False)
    kept = {key: value for key, value in step.status.items() if not decision.is_forced or key == "observedGeneration"}
    return {**kept, "conditions": [failed, *([] if decision.is_forced else others)]}


def _first(step: _Step, component: str, generation: int) -> Object:
    to_come = {"message": {"reason": "the component to be created"}, "observedGeneration": generation}
    return {
        "components": {component: to_come},
        "conditions": step.accepted(generation),
        "observedGeneration": generation,
        "phase": "Creating",
    }


def _observe(step: _Step, component: str) -> Object | None:
    """Return the status that observes the generation, in two writes; None if it is observed."""
    old = (step.status.get("components") or {}).get(component, {})
    conditions = step.accepted(step.generation)
    is_to_come = "reason" in (old.get("message") or {})
    if conditions != step.status.get("conditions") or is_to_come:
        kept = {key: value for key, value in old.items() if key != "upToDate" and not (is_to_come and key == "message")}
        return {**step.status, "conditions": conditions, "components": {component: kept}}
    if step.status.get("observedGeneration") != step.generation or old.get("observedGeneration") != step.generation:
        observed = {**old, "observedGeneration": step.generation}
        return {**step.status, "components": {component: observed}, "observedGeneration": step.generation}
    return None


def _advance(step: _Step, cluster: Object, decision: Decision) -> Object | None:
    """Return the status with the next phase on the way to that of the decision."""
    name, wanted = component_name(cluster), decision.phase
    old: Object = step.status["components"][name]
    before, phase = old.get("phase", ""), step.status["phase"]
    is_current = old.get("upToDate") is True

    def written(phase: str, component: str = "", **changes: object) -> Object:
        components = {name: {**old, "phase": component or phase, **changes}}
        return {**step.status, "phase": phase, "components": components}

    if not before and (not decision.is_forced or wanted in ("Failed", "Abnormal")):
        return written("Creating", upToDate=True) if decision.is_placed else None
    if wanted in ("Failed", "Abnormal"):
        return _failed(step, cluster, decision)
    if decision.is_forced or wanted == "Creating":
        return _told(step, decision, written(wanted, upToDate=True))
    if wanted in ("Stopping", "Stopped") and before not in ("Stopping", "Stopped"):
        return written("Stopping")
    if wanted == "Updating" and before not in ("Updating", "Starting"):
        return written("Updating", "Starting" if phase in ("Stopped", "Stopping") else "")
    if wanted == "Running" and phase not in ("Running", "Updating", "Creating"):
        return written("Updating", "Starting" if phase in ("Stopped", "Stopping") else "")
    if not is_current and wanted != "Stopping":
        return written(phase, before, upToDate=True)
    if wanted == "Running":
        ready = step.with_ready("ClusterReady", f"cluster {step.name} is ready", is_true=True)
        return {**written("Running"), "conditions": ready}
    return _told(step, decision, written(wanted, before if wanted == "Updating" else ""))


def _failed(step: _Step, cluster: Object, decision: Decision) -> Object:
    name = component_name(cluster)
    workload = f"{step.name}-{name}"
    pods = [f'"{workload}-{ordinal}"' for ordinal in range(max(int(component_of(cluster).get("replicas") or 1), 1))]
    text = decision.message or f"cluster {step.name} is NOT ready, unavailable components: {name}"
    message = {f"InstanceSet/{workload}": f"[{','.join(pods)}]"}
    component = {**step.status["components"][name], "phase": "Failed", "message": message}
    return {
        **step.status,
        "phase": decision.phase,
        "components": {name: component},
        "conditions": step.with_ready("ComponentsNotReady", text, is_true=False),
    }


def _told(step: _Step, decision: Decision, status: Object) -> Object:
    """Add the message of a scenario or of the stand-in, which KubeBlocks doesn't have, as the condition Ready."""
    if not decision.message:
        return status
    return {**status, "conditions": step.with_ready("ComponentsNotReady", decision.message, is_true=False)}
