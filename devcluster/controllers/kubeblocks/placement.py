"""Writes the Component and the InstanceSet of a Cluster, its Services with endpoints, and its volume claims."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from devcluster.client.client import (
    CLAIMS,
    ENDPOINT_SLICES,
    SERVICES,
    STORAGE_CLASSES,
    ConflictError,
    KubeClient,
    NotFoundError,
    Object,
    Resource,
)
from devcluster.controllers.kubeblocks.memory import Memory
from devcluster.controllers.kubeblocks.objects import (
    Owners,
    build_claims,
    build_endpoints,
    build_headless_service,
    build_service,
    component_labels,
    workload_name,
)
from devcluster.controllers.kubeblocks.states import component_of, definition_of, hold_of, is_current
from devcluster.controllers.kubeblocks.workloads import (
    COMPONENTS,
    INSTANCE_SETS,
    adopt_component,
    adopt_instance_set,
    build_component,
    build_instance_set,
    component_status,
    follow_cluster,
    follow_component,
    next_instance_set_status,
)

FIELD_MANAGER = "kubeblocks"


class Placement:
    """Writes the objects of a component. `has_workloads`: also its Component and InstanceSet."""

    def __init__(self, client: KubeClient, *, has_workloads: bool) -> None:
        self._client = client
        self._has_workloads = has_workloads

    def owners(self, cluster: Object, memory: Memory) -> Owners:
        return Owners(cluster, memory.component, memory.instance_set)

    async def write_component(self, cluster: Object, memory: Memory) -> None:
        """Create the Component, or take it over."""
        if not self._has_workloads or not is_current(cluster) or memory.component is not None:
            return
        definition = definition_of(component_of(cluster))
        memory.component = await self._create_or_get(COMPONENTS, build_component(cluster, definition))
        if patch := adopt_component(memory.component):
            memory.component = await self._patch(COMPONENTS, memory.component, patch)

    async def follow(self, cluster: Object, memory: Memory, phase: str) -> None:
        """Bring InstanceSet and Component up to the spec of the Cluster and to the `phase` of its component."""
        try:
            await self._follow_instance_set(cluster, memory, is_ready=phase == "Running")
            if memory.component is None:
                return
            if patch := follow_cluster(memory.component, cluster):
                memory.component = await self._patch(COMPONENTS, memory.component, patch)
            if status := component_status(memory.component, phase, hold_of(cluster), _now()):
                memory.component = await self._write_status(COMPONENTS, memory.component, status)
        except NotFoundError:  # it was removed; the next reconciliation looks again
            memory.component = memory.instance_set = None

    async def _follow_instance_set(self, cluster: Object, memory: Memory, *, is_ready: bool) -> None:
        if memory.instance_set is None:
            return
        if patch := follow_component(memory.instance_set, cluster):
            memory.instance_set = await self._patch(INSTANCE_SETS, memory.instance_set, patch)
        await self._write_instance_set_status(cluster, memory, is_ready=is_ready)

    async def _write_instance_set_status(self, cluster: Object, memory: Memory, *, is_ready: bool) -> None:
        while memory.instance_set is not None:
            status = next_instance_set_status(memory.instance_set, cluster, is_ready=is_ready, now=_now())
            if status is None:
                return
            before = memory.instance_set.get("status")
            memory.instance_set = await self._write_status(INSTANCE_SETS, memory.instance_set, status)
            if memory.instance_set.get("status") == before:
                return  # the API server doesn't keep what is written

    async def place(self, cluster: Object, memory: Memory, endpoint: str, *, is_serving: bool) -> None:
        """Write what has changed since the last call."""
        owners = self.owners(cluster, memory)
        if memory.written.get("service") != endpoint:
            await self._create_or_apply(SERVICES, build_service(owners, endpoint))
            memory.written["service"] = endpoint
        if memory.component is not None and memory.instance_set is None:
            memory.instance_set = await self._create_or_get(INSTANCE_SETS, build_instance_set(owners))
            if patch := adopt_instance_set(memory.instance_set):
                memory.instance_set = await self._patch(INSTANCE_SETS, memory.instance_set, patch)
            owners = self.owners(cluster, memory)
        if "headless" not in memory.written:
            await self._create_or_apply(SERVICES, build_headless_service(owners))
            memory.written["headless"] = True
        await self._write_claims(owners, memory)
        if memory.instance_set is not None and not (memory.instance_set.get("status") or {}).get("conditions"):
            await self._write_instance_set_status(cluster, memory, is_ready=False)
            if patch := follow_component(memory.instance_set, cluster):
                memory.instance_set = await self._patch(INSTANCE_SETS, memory.instance_set, patch)
        if memory.written.get("endpoints") != is_serving:
            await self._create_or_apply(ENDPOINT_SLICES, build_endpoints(cluster, is_serving=is_serving))
            memory.written["endpoints"] = is_serving
        memory.is_placed = True

    async def _write_claims(self, owners: Owners, memory: Memory) -> None:
        """Create and grow the claims; delete those of Pods that are scaled in."""
        claims = build_claims(owners)
        wanted = json.dumps([[claim["metadata"]["name"], claim["spec"]] for claim in claims])
        if memory.written.get("claims") == wanted and memory.is_bound:
            return
        memory.is_bound = True
        for claim in claims:
            if not await self._write_claim(claim):
                memory.is_bound = False
        if "claims" in memory.written:
            names = {claim["metadata"]["name"] for claim in claims}
            for found in await self.claims_of(owners.cluster):
                if found["metadata"]["name"] not in names and is_current(owners.cluster):
                    await self._client.delete(CLAIMS, found["metadata"]["name"], found["metadata"]["namespace"])
        memory.written["claims"] = wanted

    async def claims_of(self, cluster: Object) -> list[Object]:
        labels = ",".join(f"{key}={value}" for key, value in component_labels(cluster).items())
        found, _ = await self._client.list_all(CLAIMS, cluster["metadata"]["namespace"], labels=labels)
        return found

    async def _write_claim(self, claim: Object) -> bool:
        """Create or grow a claim and bind it. Return False if its StorageClass doesn't exist: it is not bound then."""
        name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
        requests = claim["spec"].get("resources", {}).get("requests", {})
        try:
            found = await self._client.create(CLAIMS, claim, namespace)
        except ConflictError:
            found = await self._client.get(CLAIMS, name, namespace)
            if found["spec"].get("resources", {}).get("requests") != requests:
                patch = {"spec": {"resources": {"requests": requests}}}
                found = await self._client.merge_patch(CLAIMS, name, namespace, patch)
        if (found.get("status") or {}).get("phase") == "Bound":
            return True
        storage_class = claim["spec"].get("storageClassName")
        if storage_class and await self._client.get_or_none(STORAGE_CLASSES, storage_class) is None:
            return False
        bound = {"phase": "Bound", "accessModes": claim["spec"]["accessModes"], "capacity": requests}
        await self._client.patch_status(CLAIMS, name, namespace, bound)
        return True

    async def find_workloads(self, cluster: Object, memory: Memory) -> None:
        """Look for the Component and the InstanceSet after a restart of the stand-in."""
        if not self._has_workloads or not is_current(cluster):
            return
        name, namespace = workload_name(cluster), cluster["metadata"]["namespace"]
        memory.component = memory.component or await self._client.get_or_none(COMPONENTS, name, namespace)
        memory.instance_set = memory.instance_set or await self._client.get_or_none(INSTANCE_SETS, name, namespace)

    async def _create_or_get(self, resource: Resource, body: Object) -> Object:
        namespace = body["metadata"]["namespace"]
        try:
            return await self._client.create(resource, body, namespace)
        except ConflictError:
            return await self._client.get(resource, body["metadata"]["name"], namespace)

    async def _create_or_apply(self, resource: Resource, body: Object) -> None:
        try:
            await self._client.create(resource, body, body["metadata"]["namespace"])
        except ConflictError:
            await self._client.apply(resource, body, field_manager=FIELD_MANAGER)

    async def _patch(self, resource: Resource, item: Object, patch: Object) -> Object:
        metadata = item["metadata"]
        return await self._client.merge_patch(resource, metadata["name"], metadata["namespace"], patch)

    async def _write_status(self, resource: Resource, item: Object, status: Object) -> Object:
        metadata = item["metadata"]
        return await self._client.replace_status(resource, metadata["name"], metadata["namespace"], status)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
