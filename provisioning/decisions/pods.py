"""Says why Pods are not ready: from Pods, their volume claims and the events about them to a sentence. Pure.

Sources: the kubelet's reasons (pkg/kubelet), the node lifecycle and StatefulSet controllers of Kubernetes 1.24 to 1.36.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from provisioning.objects.readers import Object, mapping, metadata_of, moment, number, objects, text
from provisioning.objects.refusals import Cause, explain_cause, judge_message

# The kubelet removes a Pod soon after its grace period; without the kubelet it stays.
_REMOVAL_PATIENCE = timedelta(seconds=30)
# States on the way to a running container.
_STARTING = ("", "ContainerCreating", "PodInitializing")
_IMAGE = "Check the image's name and tag, and the credentials of its registry."
_CONFIGURATION = "Create what the container refers to, or correct the reference."
_HINTS = {
    "ImagePullBackOff": _IMAGE,
    "ErrImagePull": _IMAGE,
    "InvalidImageName": _IMAGE,
    "ErrImageNeverPull": _IMAGE,
    "CreateContainerConfigError": _CONFIGURATION,
    "OOMKilled": "Its memory limit is too low for what it does: raise the limit.",
    "Evicted": "The node ran out of a resource. The Pod is created again; give the node more room if it repeats.",
    "Unschedulable": "Add a node or room on the nodes, or request less.",
    "SchedulingGated": "Remove the Pod's scheduling gate, or look at the controller that has set it.",
}
_EXITS = {
    126: "the command is not executable",
    127: "the command was not found",
    137: "it was killed, for example after failed liveness probes or for lack of memory",
    139: "it crashed",
    143: "it was asked to stop",
}
# What the operator says while a ClusterDefinition is being deleted, or is gone.
_ADDON_MESSAGE = "the referenced ClusterDefinition is not up to date"
_REMOVED_ADDON = (
    "KubeBlocks needs the PostgreSQL addon to delete its Clusters: install the addon again, or cancel its removal."
)
_ROLE_LABEL = "kubeblocks.io/role"


@dataclass(frozen=True, slots=True)
class PodFinding:
    """The Pod that holds a workload up. `name` is "" if there is none, `why` "" if its status doesn't say."""

    name: str = ""
    why: str = ""
    waits_for_volume: bool = False


def find_culprit(pods: Iterable[Object], now: datetime) -> PodFinding:
    """Return the first Pod that is not ready, preferably one whose status says why."""
    unready = [pod for pod in pods if not _is_ready(pod)]
    explained = [(pod, explain_pod(pod, now)) for pod in unready]
    explained.sort(key=lambda item: not item[1])
    if not explained:
        return PodFinding()
    pod, why = explained[0]
    return PodFinding(text(metadata_of(pod).get("name"), 253), why, _waits_for_volume(pod))


def _status_of(pod: Object | None) -> Mapping[str, Any]:
    return mapping(mapping(pod).get("status"))


def _condition(pod: Object | None, kind: str) -> Mapping[str, Any]:
    found = (item for item in objects(_status_of(pod).get("conditions")) if item.get("type") == kind)
    return next(found, {})


def _is_ready(pod: Object) -> bool:
    return _condition(pod, "Ready").get("status") == "True" and not metadata_of(pod).get("deletionTimestamp")


def _waits_for_volume(pod: Object) -> bool:
    scheduled = _condition(pod, "PodScheduled")
    return scheduled.get("status") == "False" and "persistentvolumeclaim" in text(scheduled.get("message")).lower()


def explain_pod(pod: Object | None, now: datetime | None = None) -> str:
    """Return why a Pod is not ready as sentences with Kubernetes' own message and a remedy; "" if its status doesn't
    say."""
    status = _status_of(pod)
    return (
        _explain_end(status)
        or _explain_node(pod, status, now)
        or _explain_scheduling(pod)
        or _explain_containers(status, "initContainerStatuses", "init container")
        or _explain_containers(status, "containerStatuses", "container")
        or _explain_conditions(pod)
    )


def _sentence(reason: str, message: str, hint: str | None = None) -> str:
    """`hint`: None for that of the reason."""
    said = ": ".join(filter(None, (reason, message))).rstrip(".")
    return f"{said}. {_HINTS.get(reason, '') if hint is None else hint}".strip()


def _explain_end(status: Mapping[str, Any]) -> str:
    """A Pod that its node has ended: evicted, preempted, refused, or shut down with the node."""
    reason, message = text(status.get("reason"), 100), text(status.get("message"))
    return _sentence(reason, message) if status.get("phase") == "Failed" and reason else ""


def _explain_node(pod: Object | None, status: Mapping[str, Any], now: datetime | None) -> str:
    """A Pod whose node is lost, and a Pod that is being deleted."""
    node = text(mapping(mapping(pod).get("spec")).get("nodeName"), 253) or "its node"
    lost = (
        f"The node {node} no longer reports, so it is probably down or cut off. Start it again, or delete the "
        f"node (`kubectl delete node {node}`), so that the Pod is created on another one."
    )
    containers = objects(status.get("containerStatuses"))
    are_ready = bool(containers) and all(container.get("ready") is True for container in containers)
    ready = _condition(pod, "Ready")
    # The kubelet writes both together; only the node controller, after losing the kubelet, writes one of them.
    is_contradiction = are_ready and ready.get("status") in ("False", "Unknown") and not _gates(pod)
    if status.get("reason") == "NodeLost" or status.get("phase") == "Unknown" or is_contradiction:
        return lost
    deleting = metadata_of(pod).get("deletionTimestamp")
    if not deleting:
        return ""
    ends_at = moment(deleting)
    if now is None or ends_at is None or now < ends_at + _REMOVAL_PATIENCE:
        return "The Pod is being deleted, and is created again when it is gone."
    held = metadata_of(pod).get("finalizers")
    if isinstance(held, list) and held:
        names = ", ".join(filter(None, (text(one, 100) for one in held[:3])))
        return f"The Pod has been terminating since {text(deleting)}, and finalizers hold it: {names}."
    return f"The Pod should have been gone since {text(deleting)}, but its node has not confirmed that. {lost}"


def _gates(pod: Object | None) -> list[Mapping[str, Any]]:
    return objects(mapping(mapping(pod).get("spec")).get("readinessGates"))


def _explain_scheduling(pod: Object | None) -> str:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") != "False":
        return ""
    reason, message = text(scheduled.get("reason"), 100) or "Unschedulable", text(scheduled.get("message"))
    # Its volume is explained by the claim.
    hint = "" if "persistentvolumeclaim" in message.lower() else None
    return _sentence(reason, message, hint)


def _explain_containers(status: Mapping[str, Any], field: str, what: str) -> str:
    """Return the most telling container's explanation: one that can't start, then one that ended, then one that
    runs."""
    containers = objects(status.get(field))
    for explain in (_explain_waiting, _explain_ended, _explain_running):
        for container in containers:
            if why := explain(container, what):
                return why
    return ""


def _explain_waiting(container: Mapping[str, Any], what: str) -> str:
    waiting = mapping(mapping(container.get("state")).get("waiting"))
    reason = text(waiting.get("reason"), 100)
    if reason in _STARTING:
        return ""
    ended = _explain_termination(mapping(mapping(container.get("lastState")).get("terminated")))
    if reason == "CrashLoopBackOff" and ended:
        return f"The {what} {_name_of(container)} keeps ending (CrashLoopBackOff). {ended}"
    subject = f"{what} {_name_of(container)}: " if what != "container" else ""
    return subject + _sentence(reason, text(waiting.get("message")))


def _explain_ended(container: Mapping[str, Any], what: str) -> str:
    ended = mapping(mapping(container.get("state")).get("terminated"))
    if not ended or (what != "container" and number(ended.get("exitCode")) == 0):
        return ""
    return f"The {what} {_name_of(container)} has ended. {_explain_termination(ended)}"


def _explain_running(container: Mapping[str, Any], what: str) -> str:
    if not mapping(container.get("state")).get("running") or container.get("ready") is True:
        return ""
    if what != "container":
        # A sidecar is an init container that keeps running; it holds nothing up once it has started.
        return "" if container.get("started") is True else f"The {what} {_name_of(container)} is still running."
    ended = _explain_termination(mapping(mapping(container.get("lastState")).get("terminated")))
    restarts = number(container.get("restartCount"))
    again = f" after {restarts} restart{'s'[: restarts != 1]}" if restarts else ""
    return f"The {what} {_name_of(container)} runs{again}, but is not ready. {ended}".strip()


def _name_of(container: Mapping[str, Any]) -> str:
    return text(container.get("name"), 63)


def _explain_termination(ended: Mapping[str, Any]) -> str:
    """Return how a container ended; "" if it hasn't."""
    if not ended:
        return ""
    reason, code, message = text(ended.get("reason"), 100), number(ended.get("exitCode")), text(ended.get("message"))
    cause = "" if reason == "OOMKilled" else _EXITS.get(code, "")
    named = f"{reason} (exit code {code})" if reason else f"exit code {code}"
    said = ": ".join(filter(None, (named, message or cause))).rstrip(".")
    return f"Last end: {said}. {_HINTS.get(reason, '')}".strip()


def _explain_conditions(pod: Object | None) -> str:
    """Return the condition that a Pod without a telling container lacks."""
    for kind in ("DisruptionTarget", "PodReadyToStartContainers", "Ready"):
        condition = _condition(pod, kind)
        is_bad = condition.get("status") == ("True" if kind == "DisruptionTarget" else "False")
        message = text(condition.get("message"))
        if is_bad and message and condition.get("reason") != "ContainersNotReady":
            return _sentence(text(condition.get("reason"), 100) or kind, message)
    return ""


def explain_missing_role(pods: Iterable[Object]) -> str:
    """Return that a database's Pods are ready, but none has a role, without which KubeBlocks waits; "" otherwise."""
    ready = [pod for pod in pods if _is_ready(pod)]
    if not ready or any(mapping(metadata_of(pod).get("labels")).get(_ROLE_LABEL) for pod in ready):
        return ""
    name = text(metadata_of(ready[0]).get("name"), 253)
    return (
        f"The Pod {name} is ready, but KubeBlocks does not know its role (label {_ROLE_LABEL}): its agent has not "
        f"reported one. Look at `kubectl logs {name} -c kbagent`."
    )


def find_unbound_claim(claims: Iterable[Object]) -> Object | None:
    """Return the first volume claim that has no volume."""
    return next((claim for claim in claims if _status_of(claim).get("phase") in ("Pending", "Lost")), None)


def explain_claim(claim: Object, warning: str) -> str:
    """Return why a claim has no volume. `warning`: the latest event about it."""
    name, phase = text(metadata_of(claim).get("name"), 253), text(_status_of(claim).get("phase"), 30)
    storage_class = text(mapping(claim.get("spec")).get("storageClassName"), 253)
    if phase == "Lost":
        return f"The volume of the claim {name} is gone: it was deleted outside Kubernetes' control. {warning}".strip()
    where = f"StorageClass {storage_class}" if storage_class else "no StorageClass: the cluster has no default one"
    hint = "" if warning else "Check that the StorageClass exists and that its provisioner runs."
    return f"The volume claim {name} is not bound ({where}). {warning}{hint}".strip()


def latest_warning(events: Iterable[Object]) -> str:
    """Return the latest warning among the events about one object, with a remedy where its message names a cause; "" if
    there is none."""
    warnings = [event for event in events if event.get("type") == "Warning" and text(event.get("message"))]
    if not warnings:
        return ""
    event = max(warnings, key=_time_of)
    at, message = _time_of(event), text(event.get("message"))
    when = f" at {at[11:19]} UTC" if at else ""
    cause = judge_message(message)
    # These say what a person does about a request of the panel; the event is about one of a controller.
    hint = "" if cause in (Cause.NO_PERMISSION, Cause.UNKNOWN) else explain_cause(cause, message)
    return f"Latest warning{when}: {_sentence(text(event.get('reason'), 100), message, hint)}".strip()


def explain_deletion_events(events: Iterable[Object], deleted_at: datetime) -> str:
    """Return what the events about a Cluster say since its deletion was requested; "" if nothing."""
    since = deleted_at.isoformat()
    warning = latest_warning(event for event in events if _time_of(event) >= since)
    hint = _REMOVED_ADDON if _ADDON_MESSAGE in warning else ""
    return f"{warning} {hint}".strip()


def _time_of(event: Object) -> str:
    """Return the time of an event as an ISO string in UTC, which sorts; "" if it has none."""
    times = (
        event.get("lastTimestamp"),
        mapping(event.get("series")).get("lastObservedTime"),
        event.get("eventTime"),
        metadata_of(event).get("creationTimestamp"),
    )
    at = next(filter(None, map(moment, times)), None)
    return at.isoformat() if at else ""
