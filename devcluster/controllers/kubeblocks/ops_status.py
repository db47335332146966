"""The statuses of an OpsRequest, one write after the other, as KubeBlocks v1.0.2 makes them. Pure."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from devcluster.client.client import Object
from devcluster.controllers.kubeblocks.ops_changes import changes_of, kind_of, last_configuration, target_of
from devcluster.controllers.kubeblocks.states import component_name, component_of, is_current

# Condition type, reason and the words of its message, by type of request.
_OWN = {
    "Stop": ("Stopping", "StopStarted", "Start to stop the"),
    "Start": ("Starting", "StartCluster", "Start the"),
    "Restart": ("Restarting", "RestartStarted", "Start to restart database in"),
    "VerticalScaling": ("VerticalScaling", "VerticalScalingStarted", "Start to vertical scale resources in"),
    "HorizontalScaling": ("HorizontalScaling", "HorizontalScalingStarted", "Start to horizontal scale replicas in"),
    "VolumeExpansion": ("VolumeExpanding", "VolumeExpansionStarted", "Start to expand the volumes in"),
}
_IN_PLACE = {"Restart": "restart", "VerticalScaling": "vertical scale"}
# Requests of these types succeed before the Cluster is Running again.
_EARLY = ("HorizontalScaling", "VolumeExpansion")


def _condition(kind: str, reason: str, message: str, now: str, *, is_true: bool = True) -> Object:
    status = "True" if is_true else "False"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}


def _with(request: Object, *conditions: Object, **changes: object) -> Object:
    status = request.get("status") or {}
    replaced = {condition["type"] for condition in conditions}
    kept = [condition for condition in status.get("conditions") or [] if condition["type"] not in replaced]
    return {**status, **changes, "conditions": [*kept, *conditions]}


def pending(request: Object, now: str) -> Object:
    name, cluster = request["metadata"]["name"], target_of(request)
    text = f"wait for the controller to process the OpsRequest: {name} in Cluster: {cluster}"
    waits = _condition("WaitForProgressing", "WaitForProgressing", text, now)
    return _with(request, waits, phase="Pending", progress="-/-")


def failed(request: Object, message: str, now: str, *, reason: str = "ValidateFailed") -> Object:
    refused = _condition("Validated", reason, message, now, is_true=False)
    progress = (request.get("status") or {}).get("progress", "-/-")
    return _with(request, refused, phase="Failed", progress=progress, completionTimestamp=now)


def creating(request: Object, cluster: Object, now: str) -> Object:
    kind, reason, words = _OWN[kind_of(request)]
    text = f"OpsRequest: {request['metadata']['name']} is validated"
    passed = _condition("Validated", "ValidateOpsRequestPassed", text, now)
    own = _condition(kind, reason, f"{words} Cluster: {cluster['metadata']['name']}", now)
    before = last_configuration(request, cluster)
    changes = {"lastConfiguration": before} if before is not None else {}
    return _with(request, passed, own, phase="Creating", startTimestamp=now, **changes)


def running(request: Object, cluster: Object) -> Object:
    return {**request["status"], "phase": "Running", "clusterGeneration": cluster["metadata"]["generation"]}


def succeeded(request: Object, now: str) -> Object:
    text = f"Successfully processed the OpsRequest: {request['metadata']['name']} in Cluster: {target_of(request)}"
    done = _condition("Succeed", "OpsRequestProcessedSuccessfully", text, now)
    return _with(request, done, phase="Succeed", completionTimestamp=now)


# --- progress of a running request ---


@dataclass(frozen=True)
class _Words:
    """Messages of one progress detail: before, during and after it; "" for none. `group` is "" for none."""

    group: str
    waiting: str
    started: str
    done: str


def _words(request: Object, component: str, key: str, *, is_removed: bool) -> _Words:
    kind = kind_of(request)
    if kind == "VolumeExpansion":
        where = f"{key} in component: {component}"
        waits = f"Waiting for an external controller to process the pvc: {where}"
        return _Words(key.removeprefix("PVC/").partition("-")[0], waits, "", f"Successfully expand volume: {where}")
    if kind in _IN_PLACE:
        what = f"{_IN_PLACE[kind]}: {key} in Component: {component}"
        return _Words("", "", f"Start to {what}", f"Successfully {what}")
    verb, group = ("delete", "Delete") if is_removed else ("create", "Create")
    what = f'{verb} "{key}" in Component: {component}'
    return _Words(f"{component}/{group}", f"wait to {what}", f"Start to {what}", f"Successfully {what}")


def _keys(request: Object, cluster: Object) -> tuple[list[str], bool]:
    """Return what the request works on, in its order, and whether that goes away."""
    kind, workload = kind_of(request), f"{cluster['metadata']['name']}-{component_name(cluster)}"
    replicas = int(component_of(cluster).get("replicas") or 1)
    if kind == "VolumeExpansion":
        volumes = [one["name"] for change in changes_of(request) for one in change.get("volumeClaimTemplates") or []]
        known = [one["name"] for one in component_of(cluster).get("volumeClaimTemplates") or []]
        return [f"PVC/{one}-{workload}-{n}" for one in volumes if one in known for n in range(replicas)], False
    if kind == "HorizontalScaling":
        last = request["status"].get("lastConfiguration") or {}
        before = int(last.get("components", {}).get(component_name(cluster), {}).get("replicas") or replicas)
        return [f"Pod/{workload}-{n}" for n in range(*sorted((before, replicas)))], replicas < before
    return [f"Pod/{workload}-{n}" for n in range(replicas)], kind == "Stop"


def next_progress(request: Object, cluster: Object, now: str, *, is_restarting: bool) -> Object | None:
    """Return the next status of a running request; None if there is nothing to write yet, or if it is done."""
    status = request["status"]
    name = component_name(cluster)
    seen = ((cluster.get("status") or {}).get("components") or {}).get(name, {})
    keys, is_removed = _keys(request, cluster)
    total = max(len(keys), 1)
    old = (status.get("components") or {}).get(name)
    is_finished = _is_finished(request, cluster, is_restarting=is_restarting)
    phase = {} if kind_of(request) == "VolumeExpansion" else {"phase": seen.get("phase", "")}

    def written(component: Object, done: int) -> Object:
        components = {name: component} if component or keys else {name: {}}
        return {**status, "components": components, "progress": f"{done}/{total}"}

    if old is None:
        # With nothing to do, or if the API server doesn't keep details, as those of KubeBlocks 0.9.
        generation = cluster["metadata"]["generation"]
        is_new = is_finished and status.get("clusterGeneration", generation) == generation
        is_new = is_new and (bool(keys) or kind_of(request) != "VolumeExpansion")
        stage = "Succeed" if is_new else "Pending"
        details = [_detail(request, name, key, stage, now, is_removed=is_removed) for key in keys]
        return written({**phase, "progressDetails": details} if keys else {}, total if is_new else 0)
    if not keys:
        return None
    details = copy.deepcopy(old.get("progressDetails") or [])
    if phase and phase["phase"] != old["phase"] and seen.get("phase") in ("Stopping", "Starting", "Updating"):
        return written({**old, **phase}, _done(details))
    has_begun = is_finished or seen.get("phase") in ("Stopping", "Starting", "Updating")
    order = range(len(details) - 1, -1, -1) if is_removed else range(len(details))
    for index in order:
        key, stage = keys[index], details[index]["status"]
        if stage == "Pending" and has_begun and kind_of(request) != "VolumeExpansion":
            details[index] = {**details[index], **_detail(request, name, key, "Processing", now, is_removed=is_removed)}
            return written({**old, "progressDetails": details}, _done(details))
        if stage != "Succeed":
            if not is_finished:
                return None
            details[index] = {**details[index], **_detail(request, name, key, "Succeed", now, is_removed=is_removed)}
            return written({**old, "progressDetails": details}, _done(details))
    if phase and phase["phase"] != old["phase"] and kind_of(request) not in _EARLY:
        return written({**old, **phase}, total)
    return None


def is_done(request: Object) -> bool:
    """Return whether everything that the request works on has succeeded."""
    done, _, total = str(request["status"].get("progress", "-/-")).partition("/")
    return done == total != "-"


def _done(details: list[Object]) -> int:
    return sum(detail["status"] == "Succeed" for detail in details)


def _detail(request: Object, component: str, key: str, stage: str, now: str, *, is_removed: bool) -> Object:
    words = _words(request, component, key, is_removed=is_removed)
    detail: Object = {"objectKey": key, "status": stage}
    if words.group:
        detail["group"] = words.group
    text = {"Pending": words.waiting, "Processing": words.started, "Succeed": words.done}[stage]
    if text:
        detail["message"] = text
    if stage == "Processing":
        detail["startTime"] = now
    if stage == "Succeed":
        detail["endTime"] = now
    return detail


def _is_finished(request: Object, cluster: Object, *, is_restarting: bool) -> bool:
    """Return whether the Cluster has rolled the change out."""
    if is_restarting:
        return False
    status, kind = cluster.get("status") or {}, kind_of(request)
    component = (status.get("components") or {}).get(component_name(cluster), {})
    generation = cluster["metadata"]["generation"]
    is_up_to_date = component.get("upToDate") is True or not is_current(cluster)
    if status.get("observedGeneration") != generation or not is_up_to_date:
        return False
    if kind == "Stop":
        return status.get("phase") in ("Stopping", "Stopped") and component.get("phase") == "Stopped"
    return status.get("phase") == "Running" or (kind in _EARLY and status.get("phase") in ("Updating", "Stopped"))
