"""Judges whether a Cluster and a StatefulSet are ready, waiting or failed, and why. Pure.

Sources: KubeBlocks v0.8.4 to v1.0.2 (phases, conditions), apps/v1 StatefulSet status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from projects.domain.states import Reason
from provisioning.decisions.cluster_state import explain_kept, explain_stopped, is_rolled_out, is_stopped
from provisioning.objects.names import ENVIRONMENT_ANNOTATION, project_id_of
from provisioning.objects.readers import (
    MOST_LISTED,
    Object,
    annotations_of,
    labels_of,
    mapping,
    metadata_of,
    number,
    objects,
    text,
    uid_of,
)


class State(Enum):
    ABSENT = "absent"
    WAITING = "waiting"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The state of one object. `message`: a sentence for people; `phase`: the object's own status.phase; `is_changing`:
    KubeBlocks changes a Cluster that may serve all the while."""

    state: State
    reason: Reason
    message: str
    phase: str = ""
    owner: str | None = None
    uid: str = ""
    generation: int = 0
    observed_generation: int = 0
    environment_digest: str = ""
    is_changing: bool = False


def failed_condition(status: Mapping[str, Any]) -> str:
    """Return the most telling condition with status False as `Type: message`, without a final full stop; "" if none."""
    failed = [c for c in objects(status.get("conditions")) if c.get("status") == "False" and text(c.get("message"))]
    failed.sort(key=lambda condition: condition.get("type") != "ProvisioningStarted")
    return f"{text(failed[0].get('type'))}: {text(failed[0].get('message')).rstrip('.')}" if failed else ""


def judge_cluster(cluster: Object | None) -> Readiness:
    """Return whether a KubeBlocks Cluster is ready.

    status.phase decides, not the condition `Ready`, which is sticky in 1.0.2. No phase is terminal: Failed and Abnormal
    change back on recovery, so they are failures only once the caller's deadline has passed. An empty phase with a
    failed `ProvisioningStarted` condition means that KubeBlocks rejected the spec; it retries forever. A Cluster that
    somebody stopped is STOPPED at once, whatever its phase.
    """
    if cluster is None:
        return Readiness(State.ABSENT, Reason.CLUSTER_MISSING, "The Cluster does not exist.")
    metadata, status = metadata_of(cluster), mapping(cluster.get("status"))
    phase = text(status.get("phase"))
    condition = failed_condition(status)
    generation, observed = number(metadata.get("generation")), number(status.get("observedGeneration"))

    def judged(state: State, reason: Reason, message: str, *, is_changing: bool = False) -> Readiness:
        return Readiness(
            state,
            reason,
            message,
            phase=phase,
            owner=project_id_of(labels_of(cluster)),
            uid=uid_of(cluster),
            generation=generation,
            observed_generation=observed,
            is_changing=is_changing,
        )

    if metadata.get("deletionTimestamp"):
        listed = metadata.get("finalizers")
        named = [text(one, 100) for one in listed[:MOST_LISTED]] if isinstance(listed, list) else []
        finalizers = ", ".join(filter(None, named)) or "none"
        return judged(
            State.DELETING,
            Reason.CLUSTER_DELETING,
            f"The Cluster has been terminating since {text(metadata.get('deletionTimestamp'))}. "
            f"{explain_kept(cluster) or f'Finalizers: {finalizers}.'}",
        )
    if is_stopped(cluster):
        return judged(State.STOPPED, Reason.DATABASE_STOPPED, explain_stopped(cluster))
    seen = f"phase {phase or 'not set'}" + (f"; {condition}" if condition else "")
    match phase:
        case "Running":
            if not is_rolled_out(cluster):
                said = "The database is running; a change is in progress."
                return judged(State.WAITING, Reason.CLUSTER_NOT_RUNNING, said, is_changing=True)
            return judged(State.READY, Reason.READY, "The database is running.")
        case "Updating":
            said = f"KubeBlocks is changing the database: {seen}."
            return judged(State.WAITING, Reason.CLUSTER_NOT_RUNNING, said, is_changing=True)
        case "Stopped" | "Stopping":
            return judged(State.WAITING, Reason.CLUSTER_NOT_RUNNING, f"The database is starting again: {seen}.")
        case "Failed" | "Abnormal":
            return judged(State.FAILED, Reason.CLUSTER_FAILED, f"KubeBlocks reports {seen}.")
        case "" if condition.startswith("ProvisioningStarted"):
            return judged(State.FAILED, Reason.CLUSTER_REJECTED, f"KubeBlocks rejected the Cluster: {seen}.")
        case _:
            return judged(State.WAITING, Reason.CLUSTER_NOT_RUNNING, f"The database is not running yet: {seen}.")


def judge_sandbox(statefulset: Object | None, wanted_replicas: int = 1) -> Readiness:
    """Return whether a StatefulSet has rolled out: its latest spec is observed, every replica of its last revision is
    ready."""
    if statefulset is None:
        return Readiness(State.ABSENT, Reason.SANDBOX_NOT_READY, "The StatefulSet does not exist.")
    metadata, status = metadata_of(statefulset), mapping(statefulset.get("status"))
    generation, observed = number(metadata.get("generation")), number(status.get("observedGeneration"))
    ready, updated = number(status.get("readyReplicas")), number(status.get("updatedReplicas"))
    current, update = text(status.get("currentRevision")), text(status.get("updateRevision"))
    rolled_out = observed >= generation and ready >= wanted_replicas
    rolled_out = rolled_out and (updated >= wanted_replicas or current == update)
    if metadata.get("deletionTimestamp"):
        state, message = State.DELETING, "The StatefulSet is being deleted."
    elif rolled_out:
        state, message = State.READY, "The sandbox is ready."
    else:
        state, message = State.WAITING, f"{ready} of {wanted_replicas} sandbox pods are ready."
    return Readiness(
        state,
        Reason.SANDBOX_READY if state is State.READY else Reason.SANDBOX_NOT_READY,
        message,
        owner=project_id_of(labels_of(statefulset)),
        uid=uid_of(statefulset),
        generation=generation,
        observed_generation=observed,
        environment_digest=annotations_of(statefulset).get(ENVIRONMENT_ANNOTATION, ""),
    )


def explain_deadline(waited_s: int, what: str, last_seen: str) -> str:
    """Return the message of a wait that timed out. `last_seen`: the last message before, a sentence."""
    return (
        f"{what} was not ready within {waited_s} s. Last status: {last_seen} "
        "Still monitoring; recovers automatically. Retry restarts the timer."
    )


def is_past(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and now >= deadline
