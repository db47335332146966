"""OpsRequests of the KubeBlocks stand-in: Start, Stop, Restart, and changes of resources, replicas and volumes.

As in KubeBlocks, an impossible request is accepted and then Failed, and requests of one Cluster wait for each other. A
request in the wrong phase of its Cluster fails after `preConditionDeadlineSeconds`, and holds the queue until then.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Protocol

from devcluster.client.client import KubeClient, NotFoundError, Object, Resource
from devcluster.client.reflector import PASSING_ERRORS, Key, Reflector, Workqueue, key_of
from devcluster.controllers.kubeblocks import ops_status
from devcluster.controllers.kubeblocks.ops_changes import ALLOWED, kind_of, patch_of, refusal_of, target_of
from devcluster.controllers.kubeblocks.ops_queue import QUEUE_ANNOTATION, annotation, enter, is_waiting, leave, queue_of
from devcluster.controllers.kubeblocks.states import is_current

GROUPS = ("operations.kubeblocks.io", "apps.kubeblocks.io")
TERMINAL = ("Succeed", "Failed", "Cancelled", "Aborted")
OPS_FINALIZER = "opsrequest.kubeblocks.io/finalizer"
QUEUE_END_ANNOTATION = "operations.kubeblocks.io/queue-end-time"
LOOK_AGAIN_S = 0.25


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
        return [
            item for item in found if key_of(item).namespace == cluster.namespace and target_of(item) == cluster.name
        ]

    def cluster_changed(self, cluster: Key) -> None:
        """Look at the requests of a Cluster that have not ended."""
        for item in self.of(cluster):
            if (item.get("status") or {}).get("phase") not in TERMINAL:
                self._queue.add(key_of(item))

    async def _served_group(self) -> str | None:
        with contextlib.suppress(*PASSING_ERRORS):
            for group in GROUPS:
                if await self._client.served_version(group, "opsrequests", ("v1alpha1",)):
                    return group
        return None

    async def _reconcile(self, key: Key) -> float | None:
        request = await self._client.get_or_none(self.resource, key.name, key.namespace)
        if request is None:
            return None
        phase = (request.get("status") or {}).get("phase") or ""
        name = target_of(request)
        found = await self._client.get_or_none(self._clusters.resource, name, key.namespace) if name else None
        cluster = {"apiVersion": self._clusters.resource.api_version, "kind": "Cluster", **found} if found else None
        if request["metadata"].get("deletionTimestamp") and phase != "Running":
            return await self._release(request, cluster)
        if phase in TERMINAL:
            return None
        if cluster is None:
            text = f"spec.clusterName {name} is not found"
            await self._write(request, ops_status.failed(request, text, _now(), reason="ClusterNotFound"))
            return None
        if cluster["metadata"].get("deletionTimestamp"):
            return None  # the deletion of the Cluster removes it
        if phase == "":
            request = await self._accept(request, cluster)
            phase = "Pending"
        if phase == "Pending":
            return await self._begin(request, cluster)
        if phase == "Creating":
            return await self._perform(request, cluster)
        return await self._await_done(request, cluster)

    async def _accept(self, request: Object, cluster: Object) -> Object:
        metadata = request["metadata"]
        finalizers = metadata.get("finalizers") or []
        if OPS_FINALIZER not in finalizers:
            request = await self._patch(request, {"finalizers": [*finalizers, OPS_FINALIZER]})
        owner = {
            "apiVersion": cluster["apiVersion"],
            "kind": cluster["kind"],
            "name": cluster["metadata"]["name"],
            "uid": cluster["metadata"]["uid"],
        }
        labels = {"app.kubernetes.io/instance": owner["name"], "operations.kubeblocks.io/ops-type": kind_of(request)}
        known = request["metadata"].get("labels") or {}
        if not labels.items() <= known.items():
            request = await self._patch(request, {"labels": labels, "ownerReferences": [owner]})
        return await self._write(request, ops_status.pending(request, _now()))

    async def _begin(self, request: Object, cluster: Object) -> float | None:
        if refusal := refusal_of(request, cluster):
            await self._write(request, ops_status.failed(request, refusal, _now()))
            return None
        queue = enter(cluster, request)
        if queue is not None:
            cluster = await self._write_queue(cluster, queue)
        if is_waiting(queue_of(cluster), request["metadata"]["name"]):
            return None  # a change of the Cluster brings it back
        allowed, phase = ALLOWED[kind_of(request)], (cluster.get("status") or {}).get("phase") or ""
        if allowed is not None and phase not in allowed:
            return await self._wait_or_fail(request, cluster, phase)
        request = await self._write(request, ops_status.creating(request, cluster, _now()))
        return await self._perform(request, cluster)

    async def _wait_or_fail(self, request: Object, cluster: Object, phase: str) -> float | None:
        """Wait for another phase of the Cluster until the deadline of the request, then fail."""
        patience_s = request["spec"].get("preConditionDeadlineSeconds") or 0
        annotations = request["metadata"].get("annotations") or {}
        if patience_s and QUEUE_END_ANNOTATION not in annotations:
            request = await self._patch(request, {"annotations": {QUEUE_END_ANNOTATION: _now()}})
            annotations = request["metadata"]["annotations"]
        if patience_s:
            since = datetime.fromisoformat(annotations[QUEUE_END_ANNOTATION])
            left_s = patience_s - (datetime.now(UTC) - since).total_seconds()
            if left_s > 0:
                return float(min(left_s, 0.5))
        await self._leave_queue(cluster, request)
        text = f"OpsRequest.spec.type={kind_of(request)} is forbidden when Cluster.status.phase={phase}"
        await self._write(request, ops_status.failed(request, text, _now()))
        return None

    async def _perform(self, request: Object, cluster: Object) -> float | None:
        metadata = cluster["metadata"]
        patch = patch_of(request, cluster)
        if patch:
            patch["metadata"]["resourceVersion"] = metadata["resourceVersion"]
            changed = await self._client.merge_patch(
                self._clusters.resource, metadata["name"], metadata["namespace"], patch
            )
            cluster = {**cluster, **changed}
        if _is_seen_by_restart(request, cluster):
            await self._clusters.begin_restart(cluster)
        request = await self._write(request, ops_status.running(request, cluster))
        return await self._await_done(request, cluster)

    async def _await_done(self, request: Object, cluster: Object) -> float | None:
        while True:
            is_restarting = _is_seen_by_restart(request, cluster) and self._clusters.is_restarting(cluster)
            status = ops_status.next_progress(request, cluster, _now(), is_restarting=is_restarting)
            if status is None:
                break
            before = request["status"]
            request = await self._write(request, status)
            if request["status"] == before:
                break  # the API server doesn't keep what is written, as those of KubeBlocks 0.9
        if not ops_status.is_done(request):
            return LOOK_AGAIN_S
        await self._leave_queue(cluster, request)
        await self._write(request, ops_status.succeeded(request, _now()))
        return None

    async def _release(self, request: Object, cluster: Object | None) -> float | None:
        """Let a deleted request go."""
        if cluster is not None:
            await self._leave_queue(cluster, request)
        finalizers = request["metadata"].get("finalizers") or []
        rest = [name for name in finalizers if name != OPS_FINALIZER]
        if rest != finalizers:
            with contextlib.suppress(NotFoundError):
                await self._patch(request, {"finalizers": rest or None})
        return None

    async def _leave_queue(self, cluster: Object, request: Object) -> None:
        queue = leave(cluster, request["metadata"]["name"])
        if queue is not None:
            await self._write_queue(cluster, queue)

    async def _write_queue(self, cluster: Object, queue: list[Object]) -> Object:
        """Write the annotation of the Cluster that was read, so that no other request's entry is lost."""
        metadata = cluster["metadata"]
        annotations = {QUEUE_ANNOTATION: annotation(queue)}
        patch = {"metadata": {"annotations": annotations, "resourceVersion": metadata["resourceVersion"]}}
        changed = await self._client.merge_patch(
            self._clusters.resource, metadata["name"], metadata["namespace"], patch
        )
        return {**cluster, **changed}

    async def _patch(self, request: Object, metadata: Object) -> Object:
        name, namespace = request["metadata"]["name"], request["metadata"]["namespace"]
        return await self._client.merge_patch(self.resource, name, namespace, {"metadata": metadata})

    async def _write(self, request: Object, status: Object) -> Object:
        metadata = request["metadata"]
        return await self._client.replace_status(self.resource, metadata["name"], metadata["namespace"], status)


def _is_seen_by_restart(request: Object, cluster: Object) -> bool:
    """Return whether only the server shows that the request is carried out: legacy statuses have no `upToDate`."""
    return not is_current(cluster) and kind_of(request) in ("Restart", "VerticalScaling")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
