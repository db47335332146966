"""The status of a Pod as the kubelet reports it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devcluster.client.client import Object

NODE = "devcluster"
NODE_IP = "127.0.0.1"


@dataclass(frozen=True)
class ContainerView:
    """The state of a Pod's containers. `reason` and `message` are set for waiting; times are RFC 3339."""

    state: Literal["waiting", "running", "ended"]
    is_ready: bool = False
    reason: str = "ContainerCreating"
    message: str = ""
    started_at: str = ""
    restarts: int = 0
    last_exit: int | None = None
    last_finished_at: str = ""


def build_status(pod: Object, view: ContainerView, pod_ip: str, now: str) -> Object:
    """Return phase, addresses, conditions and containerStatuses. Unchanged conditions keep their times."""
    old = pod.get("status") or {}
    names = [container["name"] for container in pod["spec"]["containers"]]
    unready = f"containers with unready status: [{' '.join(names)}]"
    known = {condition["type"]: condition for condition in old.get("conditions") or []}
    conditions = []
    for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"):
        is_true = view.is_ready or kind not in ("Ready", "ContainersReady")
        status, before = "True" if is_true else "False", known.get(kind, {})
        condition: Object = {"type": kind, "status": status}
        if not is_true:
            condition |= {"reason": "ContainersNotReady", "message": unready}
        condition["lastTransitionTime"] = before["lastTransitionTime"] if before.get("status") == status else now
        conditions.append(condition)
    started = view.state == "running"
    phase = "Running" if started or view.restarts else "Pending"
    if view.state == "ended":
        phase = "Succeeded" if view.last_exit == 0 else "Failed"
    return {
        "phase": phase,
        "conditions": conditions,
        "hostIP": NODE_IP,
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "startTime": old.get("startTime") or now,
        "qosClass": old.get("qosClass") or "Burstable",
        "containerStatuses": [_container_status(container, view) for container in pod["spec"]["containers"]],
    }


def _container_status(container: Object, view: ContainerView) -> Object:
    ended: Object = {}
    if view.last_exit is not None:
        ended = {
            "exitCode": view.last_exit if view.last_exit >= 0 else 128 - view.last_exit,
            "reason": "Completed" if view.last_exit == 0 else "Error",
            "finishedAt": view.last_finished_at,
        }
    state: Object
    if view.state == "running":
        state = {"running": {"startedAt": view.started_at}}
    elif view.state == "ended":
        state = {"terminated": ended}
    else:
        waiting = {"reason": view.reason, "message": view.message}
        state = {"waiting": {key: value for key, value in waiting.items() if value}}
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": view.is_ready,
        "started": view.state == "running",
        "restartCount": view.restarts,
        "state": state,
        "lastState": {"terminated": ended} if ended and view.state != "ended" else {},
    }
