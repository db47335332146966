"""Deletes what a Cluster has, in the order of the operator: OpsRequests, Component, then from the Pods outwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from devcluster.client.client import (
    CLAIMS,
    ENDPOINT_SLICES,
    EVENTS,
    SECRETS,
    SERVICES,
    ConflictError,
    KubeClient,
    NotFoundError,
    Object,
    Resource,
)
from devcluster.controllers.kubeblocks.accounts import Accounts
from devcluster.controllers.kubeblocks.memory import Memory
from devcluster.controllers.kubeblocks.objects import (
    COMPONENT_FINALIZER,
    INSTANCE_SET_FINALIZER,
    common_labels,
    service_name,
    workload_name,
)
from devcluster.controllers.kubeblocks.placement import Placement
from devcluster.controllers.kubeblocks.states import FINALIZER, is_current
from devcluster.controllers.kubeblocks.workloads import COMPONENTS, INSTANCE_SETS

OWN_FINALIZERS = (FINALIZER, COMPONENT_FINALIZER, INSTANCE_SET_FINALIZER, "opsrequest.kubeblocks.io/finalizer")


class Deletion:
    """Deletes the objects of Clusters."""

    def __init__(self, client: KubeClient, placement: Placement, accounts: Accounts) -> None:
        self._client = client
        self._placement = placement
        self._accounts = accounts

    async def tell_kept(self, cluster: Object) -> None:
        """Write the event that DoNotTerminate prevents the deletion. Nothing else says so."""
        metadata, now = cluster["metadata"], cluster["metadata"]["deletionTimestamp"]
        event = {
            "metadata": {"name": f"{metadata['name']}.{metadata['uid'][:8]}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": cluster["apiVersion"],
                "kind": cluster["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": "Warning",
            "reason": "DoNotTerminate",
            "message": "spec.terminationPolicy DoNotTerminate is preventing deletion.",
            "source": {"component": "cluster-controller"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with contextlib.suppress(ConflictError):
            await self._client.create(EVENTS, event, metadata["namespace"])

    async def begin(self, cluster: Object, memory: Memory, operations: Iterable[Object], resource: Resource) -> None:
        """Delete the OpsRequests of the Cluster, and mark the Component."""
        await self._placement.find_workloads(cluster, memory)
        for request in operations:
            await self._remove(resource, request)
        if memory.component is not None:
            await self._mark(COMPONENTS, memory.component)

    async def finish(self, cluster: Object, memory: Memory) -> None:
        """Delete everything else, the Component last."""
        if memory.instance_set is not None:
            await self._mark(INSTANCE_SETS, memory.instance_set)
        if not is_current(cluster):
            await self._remove_labeled(cluster)
            return
        namespace, workload = cluster["metadata"]["namespace"], workload_name(cluster)
        uids = {item["metadata"]["uid"] for item in (cluster, memory.component, memory.instance_set) if item}
        claims = await self._placement.claims_of(cluster)
        services = [
            await self._client.get_or_none(SERVICES, name, namespace)
            for name in (f"{workload}-headless", service_name(cluster))
        ]
        slice_name = f"{service_name(cluster)}-stand-in"
        secrets = [item for item in self._accounts.secrets if item["metadata"]["namespace"] == namespace]
        await self._remove_owned(SERVICES, services[:1], uids)
        for claim in claims:
            await self._client.delete(CLAIMS, claim["metadata"]["name"], namespace)
        if memory.instance_set is not None:
            await self._strip(INSTANCE_SETS, memory.instance_set)
        await self._remove_owned(SECRETS, secrets, uids)
        await self._remove_owned(SERVICES, services[1:], uids)
        await self._client.delete(ENDPOINT_SLICES, slice_name, namespace)
        if memory.component is not None:
            await self._strip(COMPONENTS, memory.component)

    async def _remove_owned(self, resource: Resource, items: Iterable[Object | None], uids: set[str]) -> None:
        for item in items:
            owners = item["metadata"].get("ownerReferences") or () if item is not None else ()
            if item is not None and any(owner["uid"] in uids for owner in owners):
                await self._remove(resource, item)

    async def _remove_labeled(self, cluster: Object) -> None:
        selector = ",".join(f"{key}={value}" for key, value in common_labels(cluster).items())
        namespace = cluster["metadata"]["namespace"]
        for resource in (ENDPOINT_SLICES, SERVICES, SECRETS, CLAIMS):
            found, _ = await self._client.list_all(resource, namespace, labels=selector)
            for item in found:
                await self._client.delete(resource, item["metadata"]["name"], namespace)

    async def _remove(self, resource: Resource, item: Object) -> None:
        await self._mark(resource, item)
        await self._strip(resource, item)

    async def _mark(self, resource: Resource, item: Object) -> None:
        """Delete an object; its finalizers hold it."""
        metadata = item["metadata"]
        if not metadata.get("deletionTimestamp"):
            await self._client.delete(resource, metadata["name"], metadata["namespace"])

    async def _strip(self, resource: Resource, item: Object) -> None:
        """Take KubeBlocks' finalizers off. Those of others stay, and hold the object."""
        metadata = item["metadata"]
        finalizers = metadata.get("finalizers") or []
        rest = [name for name in finalizers if name not in OWN_FINALIZERS]
        if rest != finalizers:
            with contextlib.suppress(NotFoundError):
                await self._client.merge_patch(
                    resource, metadata["name"], metadata["namespace"], {"metadata": {"finalizers": rest or None}}
                )
