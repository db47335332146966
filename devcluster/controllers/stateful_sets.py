"""The StatefulSet controller of the embedded cluster.

It follows Kubernetes 1.36: ordered or parallel Pods, rolling updates from the highest ordinal, OnDelete and partitions,
volume claims with their retention policy, and the status. As in a real cluster, with OrderedReady a Pod that is not
ready blocks later Pods and its own update, until it is deleted or `podManagementPolicy` is Parallel.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import json
from collections import defaultdict

from devcluster.client.client import CLAIMS, PODS, STATEFUL_SETS, ConflictError, KubeClient, NotFoundError, Object
from devcluster.client.reflector import Key, Reflector, Workqueue, key_of

REVISION_LABEL = "controller-revision-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # the alphabet of Kubernetes, without vowels


def revision_of(stateful_set: Object) -> str:
    """Return the name of the revision, a hash of the template."""
    text = json.dumps(stateful_set["spec"]["template"], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return f"{stateful_set['metadata']['name']}-{''.join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])}"


def owner_uid(item: Object) -> str:
    """Return the uid of the controlling StatefulSet; "" if there is none."""
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("controller") and owner.get("kind") == "StatefulSet":
            return str(owner["uid"])
    return ""


def is_ready(pod: Object) -> bool:
    status = pod.get("status") or {}
    conditions = status.get("conditions") or []
    return status.get("phase") == "Running" and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _owner(stateful_set: Object, *, is_controller: bool) -> Object:
    metadata = stateful_set["metadata"]
    owner: Object = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": metadata["name"], "uid": metadata["uid"]}
    return {**owner, "controller": True, "blockOwnerDeletion": True} if is_controller else owner


def build_pod(stateful_set: Object, ordinal: int, revision: str) -> Object:
    """Return the Pod with the ordinal."""
    spec, name = stateful_set["spec"], f"{stateful_set['metadata']['name']}-{ordinal}"
    template = copy.deepcopy(spec["template"])
    metadata = template.get("metadata") or {}
    labels = {
        **(metadata.get("labels") or {}),
        REVISION_LABEL: revision,
        "apps.kubernetes.io/pod-index": str(ordinal),
        "statefulset.kubernetes.io/pod-name": name,
    }
    pod_spec = {**template["spec"], "hostname": name, "subdomain": spec.get("serviceName") or ""}
    names = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or []}
    volumes = [volume for volume in pod_spec.get("volumes") or [] if volume["name"] not in names]
    volumes += [{"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}} for claim in sorted(names)]
    if volumes:
        pod_spec["volumes"] = volumes
    built: Object = {
        "name": name,
        "namespace": stateful_set["metadata"]["namespace"],
        "labels": labels,
        "ownerReferences": [_owner(stateful_set, is_controller=True)],
    }
    if metadata.get("annotations"):
        built["annotations"] = metadata["annotations"]
    return {"metadata": built, "spec": {key: value for key, value in pod_spec.items() if value != ""}}


def build_claims(stateful_set: Object, ordinal: int) -> list[Object]:
    """Return the claims of a Pod. The retention policy decides whether the StatefulSet owns them."""
    metadata, spec = stateful_set["metadata"], stateful_set["spec"]
    policy = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    owners = [_owner(stateful_set, is_controller=False)] if policy.get("whenDeleted") == "Delete" else []
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return [
        {
            "metadata": {
                "name": f"{template['metadata']['name']}-{metadata['name']}-{ordinal}",
                "namespace": metadata["namespace"],
                "labels": {**(template["metadata"].get("labels") or {}), **labels},
                "ownerReferences": owners,
            },
            "spec": template["spec"],
        }
        for template in spec.get("volumeClaimTemplates") or []
    ]


class StatefulSetController:
    """Reconciles all StatefulSets of an API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.queue = Workqueue("statefulsets", self._reconcile, workers=16)
        self._sets = Reflector(client, STATEFUL_SETS, on_change=lambda key, old, new: self.queue.add(key))
        self._pods = Reflector(client, PODS, on_change=self._pod_changed)
        self._owned: dict[str, set[Key]] = defaultdict(set)
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            await self._pods.synced.wait()
            group.create_task(self._sets.run())
            group.create_task(self.queue.run())
            await self._sets.synced.wait()
            self.ready.set()

    def _pod_changed(self, key: Key, old: Object | None, new: Object | None) -> None:
        pod = new or old
        if pod is None or not (uid := owner_uid(pod)):
            return
        if new is None:
            self._owned[uid].discard(key)
            if not self._owned[uid]:
                del self._owned[uid]
        else:
            self._owned[uid].add(key)
        self.queue.add(Key(key.namespace, key.name.rpartition("-")[0]))

    async def _reconcile(self, key: Key) -> float | None:
        stateful_set = self._sets.get(key)
        if stateful_set is None or stateful_set["metadata"].get("deletionTimestamp"):
            return None  # garbage collection removes its Pods
        revision = revision_of(stateful_set)
        pods = self._pods_of(stateful_set)
        await self._step(stateful_set, pods, revision)
        await self._write_status(stateful_set, self._pods_of(stateful_set), revision)
        return None

    def _pods_of(self, stateful_set: Object) -> dict[int, Object]:
        found: dict[int, Object] = {}
        for key in self._owned.get(stateful_set["metadata"]["uid"], ()):
            pod, ordinal = self._pods.get(key), key.name.rpartition("-")[2]
            if pod is not None and ordinal.isdigit():
                found[int(ordinal)] = pod
        return found

    async def _step(self, stateful_set: Object, pods: dict[int, Object], revision: str) -> None:
        """Create, delete or update Pods as far as their state allows. Changes of Pods trigger the next call."""
        spec = stateful_set["spec"]
        replicas = spec.get("replicas", 1)
        is_ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        for ordinal in range(replicas):
            pod = pods.get(ordinal)
            if pod is None:
                await self._create(stateful_set, ordinal, revision)
                if is_ordered:
                    return
            elif (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
                await self._delete(pod)
                return
            elif is_ordered and (not is_ready(pod) or pod["metadata"].get("deletionTimestamp")):
                return
        for ordinal in sorted((ordinal for ordinal in pods if ordinal >= replicas), reverse=True):
            await self._delete(pods[ordinal])
            if is_ordered:
                return
        strategy = spec.get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        first = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        for ordinal in range(replicas - 1, first - 1, -1):
            pod = pods.get(ordinal)
            if pod is None or pod["metadata"].get("deletionTimestamp"):
                return
            if pod["metadata"].get("labels", {}).get(REVISION_LABEL) != revision:
                await self._delete(pod)
                return
            if not is_ready(pod):
                return

    async def _create(self, stateful_set: Object, ordinal: int, revision: str) -> None:
        namespace = stateful_set["metadata"]["namespace"]
        for claim in build_claims(stateful_set, ordinal):
            with contextlib.suppress(ConflictError):
                await self._client.create(CLAIMS, claim, namespace)
                capacity = claim["spec"].get("resources", {}).get("requests", {})
                bound = {"phase": "Bound", "accessModes": claim["spec"].get("accessModes", []), "capacity": capacity}
                await self._client.patch_status(CLAIMS, claim["metadata"]["name"], namespace, bound)
        # The old Pod still exists, or the cache is stale: the event of the Pod triggers the next call.
        with contextlib.suppress(ConflictError):
            await self._client.create(PODS, build_pod(stateful_set, ordinal, revision), namespace)

    async def _delete(self, pod: Object) -> None:
        if not pod["metadata"].get("deletionTimestamp"):
            namespace, name = key_of(pod)
            await self._client.delete(PODS, name, namespace, uid=pod["metadata"]["uid"])

    async def _write_status(self, stateful_set: Object, pods: dict[int, Object], revision: str) -> None:
        metadata, old = stateful_set["metadata"], stateful_set.get("status") or {}
        live = [pod for pod in pods.values() if not pod["metadata"].get("deletionTimestamp")]
        updated = [pod for pod in live if pod["metadata"].get("labels", {}).get(REVISION_LABEL) == revision]
        ready = [pod for pod in live if is_ready(pod)]
        replicas = stateful_set["spec"].get("replicas", 1)
        current = old.get("currentRevision") or revision
        if len(updated) == len(ready) == replicas == len(pods):
            current = revision
        on_current = [pod for pod in live if pod["metadata"].get("labels", {}).get(REVISION_LABEL) == current]
        status: Object = {
            "observedGeneration": metadata["generation"],
            "replicas": len(pods),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
            "currentReplicas": len(on_current),
            "updatedReplicas": len(updated),
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
        }
        if any(old.get(key) != value for key, value in status.items()):
            with contextlib.suppress(NotFoundError):
                await self._client.patch_status(STATEFUL_SETS, metadata["name"], metadata["namespace"], status)
