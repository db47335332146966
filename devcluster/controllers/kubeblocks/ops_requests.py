"""OpsRequests of the KubeBlocks stand-in: Start, Stop, Restart, and changes of resources, replicas and volumes.

Phases are Pending, Creating, Running and Succeed. As in KubeBlocks, an impossible request is accepted and then Failed.
A request in the wrong phase of its Cluster fails after `preConditionDeadlineSeconds`.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Protocol

from devcluster.client.client import KubeClient, NotFoundError, Object, Resource
from devcluster.client.reflector import PASSING_ERRORS, Key, Reflector, Workqueue, key_of

GROUPS = ("operations.kubeblocks.io", "apps.kubeblocks.io")
TERMINAL = ("Succeed", "Failed", "Cancelled", "Aborted")
REPLICAS_ANNOTATION = "kubeblocks-stand-in/replicas-before-stop"
# Phases of the Cluster in which a request of the type can start.
ALLOWED = {
    "Start": ("Stopped",),
    "Stop": ("Running", "Failed", "Abnormal", "Updating"),
    "Restart": ("Running", "Failed", "Abnormal", "Updating"),
    "VerticalScaling": ("Running", "Failed", "Abnormal", "Updating"),
    "HorizontalScaling": ("Running", "Failed", "Abnormal", "Updating"),
    "VolumeExpansion": ("Running", "Failed", "Abnormal", "Updating"),
}

RESTARTING = ("Restart", "VerticalScaling")


class ClusterSide(Protocol):
    """The part of the KubeBlocks stand-in that OpsRequests use."""

    resource: Resource

    async def begin_restart(self, cluster: Object) -> None: ...

    def is_restarting(self, cluster: Object) -> bool: ...


class OpsRequests:
    """Reconciles OpsRequests of the group that the API server serves."""

    def __init__(self, client: KubeClient, clusters: ClusterSide) -> None:
        self._client = client
        self._clusters = clusters
        self._queue = Workqueue("opsrequests", self._reconcile, workers=8)
        self.resource = Resource(GROUPS[0], "v1alpha1", "opsrequests", "OpsRequest")
        self._requests: Reflector | None = None

    async def run(self) -> None:
        """Run until cancelled. Waits until the API server serves OpsRequests."""
        while (group := await self._served_group()) is None:
            await asyncio.sleep(2)
        self.resource = Resource(group, "v1alpha1", "opsrequests", "OpsRequest")
        self._requests = Reflector(self._client, self.resource, on_change=lambda key, old, new: self._queue.add(key))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._requests.run())
            tasks.create_task(self._queue.run())

    def of(self, cluster: Key) -> list[Object]:
        """Return the OpsRequests of a Cluster."""
        found = self._requests or ()
        return [item for item in found if key_of(item).namespace == cluster.namespace and _target(item) == cluster.name]

    async def _served_group(self) -> str | None:
        with contextlib.suppress(*PASSING_ERRORS):
            for group in GROUPS:
                if await self._client.served_version(group, "opsrequests", ("v1alpha1",)):
                    return group
        return None

    async def _reconcile(self, key: Key) -> float | None:
        request = self._requests.get(key) if self._requests else None
        if request is None or request["metadata"].get("deletionTimestamp"):
            return None
        phase = (request.get("status") or {}).get("phase") or ""
        if phase in TERMINAL:
            return None
        name = _target(request)
        try:
            cluster = await self._client.get(self._clusters.resource, name, key.namespace) if name else None
        except NotFoundError:
            cluster = None
        if cluster is None:
            return await self._set_phase(request, "Failed", f'Cluster "{name}" not found')
        cluster = {"apiVersion": self._clusters.resource.api_version, "kind": "Cluster", **cluster}
        if phase == "Running":
            return await self._await_done(request, cluster)
        return await self._begin(request, cluster, phase)

    async def _begin(self, request: Object, cluster: Object, phase: str) -> float | None:
        kind = request["spec"].get("type") or ""
        if kind not in ALLOWED:
            return await self._set_phase(request, "Failed", f"OpsRequest type {kind} is not served by the stand-in")
        cluster_phase = (cluster.get("status") or {}).get("phase") or ""
        if cluster_phase not in ALLOWED[kind]:
            patience_s = request["spec"].get("preConditionDeadlineSeconds") or 0
            created = datetime.fromisoformat(request["metadata"]["creationTimestamp"])
            if (datetime.now(UTC) - created).total_seconds() > patience_s:
                text = f"OpsRequest.spec.type={kind} is forbidden when Cluster.status.phase={cluster_phase}"
                return await self._set_phase(request, "Failed", text)
            if phase != "Pending":
                await self._set_phase(request, "Pending", "waiting for the cluster")
            return 0.5
        if phase == "":
            return await self._set_phase(request, "Creating", "")
        try:
            await self._perform(request["spec"], kind, cluster)
        except (KeyError, TypeError, ValueError) as error:
            return await self._set_phase(request, "Failed", f"{kind} cannot be done: {error}")
        return await self._set_phase(request, "Running", "")

    async def _perform(self, spec: Object, kind: str, cluster: Object) -> None:
        """Apply the request to the spec of the Cluster. KeyError, TypeError or ValueError if that is impossible."""
        if kind == "Restart":
            await self._clusters.begin_restart(cluster)
            return
        components = cluster["spec"]["componentSpecs"]
        annotations: Object = {}
        for component in components:
            if kind in ("Start", "Stop"):
                annotations |= _set_stopped(cluster, component, is_stopped=kind == "Stop")
        if kind == "VerticalScaling":
            for change in spec["verticalScaling"]:
                component = _component(components, change["componentName"])
                resources = {key: change[key] for key in ("limits", "requests") if change.get(key)}
                component["resources"] = {**(component.get("resources") or {}), **resources}
        elif kind == "HorizontalScaling":
            for change in spec["horizontalScaling"]:
                component = _component(components, change["componentName"])
                component["replicas"] = _wanted_replicas(component, change)
        elif kind == "VolumeExpansion":
            for change in spec["volumeExpansion"]:
                component = _component(components, change["componentName"])
                for volume in change["volumeClaimTemplates"]:
                    template = _component(component["volumeClaimTemplates"], volume["name"])
                    template["spec"]["resources"]["requests"]["storage"] = volume["storage"]
        metadata = {"resourceVersion": cluster["metadata"]["resourceVersion"], "annotations": annotations}
        patch = {"metadata": metadata, "spec": {"componentSpecs": components}}
        name, namespace = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
        await self._client.merge_patch(self._clusters.resource, name, namespace, patch)
        if kind == "VerticalScaling":
            await self._clusters.begin_restart(cluster)

    async def _await_done(self, request: Object, cluster: Object) -> float | None:
        if request["spec"]["type"] in RESTARTING and self._clusters.is_restarting(cluster):
            return 0.25  # the phase may still be the one from before the restart
        status = cluster.get("status") or {}
        wanted = "Stopped" if request["spec"]["type"] == "Stop" else "Running"
        if status.get("phase") == wanted and status.get("observedGeneration") == cluster["metadata"]["generation"]:
            return await self._set_phase(request, "Succeed", "")
        return 0.25

    async def _set_phase(self, request: Object, phase: str, message: str) -> float | None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        old = request.get("status") or {}
        status: Object = {"phase": phase, "progress": "1/1" if phase == "Succeed" else "0/1"}
        if phase == "Creating":
            status["startTimestamp"] = now
        if phase in TERMINAL:
            status["completionTimestamp"] = now
        if message or phase == "Succeed":
            condition = {
                "type": "Failed" if phase == "Failed" else "WaitForProgressing" if phase == "Pending" else "Succeed",
                "status": "True",
                "reason": "OpsRequestFailed" if phase == "Failed" else f"OpsRequest{phase}",
                "message": message or f"Successfully processed the OpsRequest: {request['metadata']['name']}",
                "lastTransitionTime": now,
            }
            status["conditions"] = [*(old.get("conditions") or []), condition]
        metadata = request["metadata"]
        await self._client.patch_status(self.resource, metadata["name"], metadata["namespace"], status)
        return None


def _target(request: Object) -> str:
    """Return the name of the Cluster that the request is for."""
    spec = request.get("spec") or {}
    return str(spec.get("clusterName") or spec.get("clusterRef") or "")


def _component(items: list[Object], name: str) -> Object:
    for item in items:
        if item.get("name") == name:
            return item
    raise ValueError(f'"{name}" not found')


def _wanted_replicas(component: Object, change: Object) -> int:
    now = int(component.get("replicas") or 1)
    out = (change.get("scaleOut") or {}).get("replicaChanges") or 0
    away = (change.get("scaleIn") or {}).get("replicaChanges") or 0
    wanted = int(change["replicas"]) if "replicas" in change else now + out - away
    if wanted < 1:
        raise ValueError(f"{now} replicas cannot become {wanted}")
    return wanted


def _set_stopped(cluster: Object, component: Object, *, is_stopped: bool) -> Object:
    """Stop or start the component; return annotations. 1.0 has a field for it; 0.8 and 0.9 scale to 0 replicas."""
    if cluster["apiVersion"].endswith("/v1"):
        component.pop("stop", None)
        if is_stopped:
            component["stop"] = True
        return {}
    known = cluster["metadata"].get("annotations") or {}
    before = component.get("replicas") or 1
    component["replicas"] = 0 if is_stopped else int(known.get(REPLICAS_ANNOTATION) or 1)
    return {REPLICAS_ANNOTATION: str(before) if is_stopped else None}
