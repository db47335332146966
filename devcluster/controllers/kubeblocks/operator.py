"""The KubeBlocks stand-in: a client of any API server with the KubeBlocks CRDs.

This module observes Clusters, decides and applies. PostgreSQL starts when a Cluster is first observed, so that it
usually accepts connections before the Cluster has to be Running.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from devcluster.client.client import CONFIG_MAPS, KubeClient, NotFoundError, Object, Resource
from devcluster.client.reflector import PASSING_ERRORS, Key, Reflector, Workqueue, key_of
from devcluster.controllers.kubeblocks.accounts import Accounts
from devcluster.controllers.kubeblocks.deletion import Deletion
from devcluster.controllers.kubeblocks.legacy_status import next_legacy_status
from devcluster.controllers.kubeblocks.memory import UPDATE_S, Memory
from devcluster.controllers.kubeblocks.ops_requests import OpsRequests
from devcluster.controllers.kubeblocks.placement import Placement
from devcluster.controllers.kubeblocks.states import (
    FINALIZER,
    TOPOLOGY,
    Decision,
    Observed,
    ServerState,
    component_name,
    decide,
    definition_of,
    is_current,
    spec_of,
    version_of,
    wants_stop,
)
from devcluster.controllers.kubeblocks.status import next_status
from devcluster.controllers.kubeblocks.workloads import COMPONENTS, CRD_ANNOTATION, INSTANCE_SETS
from devcluster.controllers.scenarios import CONFIG_MAP, NAMESPACE, Scenario, Scenarios
from devcluster.node.ports import LOOPBACK
from devcluster.node.postgres import PostgresServers
from devcluster.node.postgres_binaries import PostgresUnavailableError

log = logging.getLogger(__name__)

GROUP = "apps.kubeblocks.io"
CLUSTER_DEFINITION_LABEL = "clusterdefinition.kubeblocks.io/name"
RETRY_START_S = 2.0
UNBOUND_S = 2.0


@dataclass(frozen=True)
class Timing:
    """Default times at which a Cluster becomes Running and gets its Secrets, in seconds after its creation."""

    running_after_s: float = 4.0
    secret_after_s: float = 0.5


class KubeBlocksStandIn:
    """Reconciles Clusters and OpsRequests.

    `postgres` None: Clusters have no servers. `has_all_objects` False: of a Cluster's objects, only those that a panel
    reads are written, without Components, InstanceSets and the Secrets of other accounts than the superuser.
    """

    def __init__(
        self, client: KubeClient, postgres: PostgresServers | None, timing: Timing, *, has_all_objects: bool = True
    ) -> None:
        self._client = client
        self._postgres = postgres
        self._timing = timing
        self._has_all_objects = has_all_objects
        self._memory: dict[str, Memory] = {}
        self._names: dict[str, Key] = {}
        self.queue = Workqueue("kubeblocks", self._reconcile, workers=16)
        self._scenarios = Scenarios()
        self._rules = Reflector(
            client, CONFIG_MAPS, on_change=self._rules_changed, fields=f"metadata.name={CONFIG_MAP}"
        )
        self.resource = Resource(GROUP, "v1", "clusters", "Cluster")
        self.clusters = Reflector(client, self.resource, on_change=self._cluster_changed)
        self.operations = OpsRequests(client, self)
        self._accounts = Accounts(client, has_all=has_all_objects, on_gone=self._secret_gone)
        self._placement = Placement(client, has_workloads=False)
        self._deletion = Deletion(client, self._placement, self._accounts)
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled. Sets `ready` after the first list of all resources."""
        while (version := await self._served_version()) is None:
            await asyncio.sleep(0.5)
        self.resource = Resource(GROUP, version, "clusters", "Cluster")
        self.clusters = Reflector(self._client, self.resource, on_change=self._cluster_changed)
        self._placement = Placement(self._client, has_workloads=self._has_all_objects and await self._has_workloads())
        self._deletion = Deletion(self._client, self._placement, self._accounts)
        try:
            await self._run_parts()
        finally:
            await self._give_up_starts()

    async def _run_parts(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rules.run())
            group.create_task(self._accounts.secrets.run())
            await self._rules.synced.wait()
            await self._accounts.secrets.synced.wait()
            group.create_task(self.clusters.run())
            await self.clusters.synced.wait()
            await self._forget_others()
            group.create_task(self.queue.run())
            group.create_task(self.operations.run())
            self.ready.set()

    async def _give_up_starts(self) -> None:
        """Cancel starts of servers. Each holds the lock of its server, so stopping the servers would wait for all."""
        starts = [memory.start for memory in self._memory.values() if memory.start is not None]
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)

    async def _served_version(self) -> str | None:
        with contextlib.suppress(*PASSING_ERRORS):
            return await self._client.served_version(GROUP, "clusters", ("v1", "v1alpha1"))
        return None

    async def _has_workloads(self) -> bool:
        """Return whether the API server serves Components and InstanceSets. Waits until it answers."""
        while True:
            with contextlib.suppress(*PASSING_ERRORS):
                return all(
                    [
                        await self._client.served_version(kind.group, kind.plural, (kind.version,))
                        for kind in (COMPONENTS, INSTANCE_SETS)
                    ]
                )
            await asyncio.sleep(0.5)

    async def _forget_others(self) -> None:
        """Remove the data of Clusters that were deleted while the stand-in was stopped."""
        if self._postgres is not None:
            keep = {instance_name(cluster) for cluster in self.clusters}
            await self._postgres.remove_except(keep)

    def _rules_changed(self, key: Key, old: Object | None, new: Object | None) -> None:
        if key != (NAMESPACE, CONFIG_MAP):
            return
        self._scenarios = Scenarios.from_config_map(new)
        for error in self._scenarios.errors.values():
            log.warning("%s", error)
        self.queue.add_all(key_of(cluster) for cluster in self.clusters)

    def _cluster_changed(self, key: Key, old: Object | None, new: Object | None) -> None:
        self.queue.add(key)
        self.operations.cluster_changed(key)
        if new is None and old is not None:
            self._memory.pop(old["metadata"]["uid"], None)

    def _secret_gone(self, key: Key, name: str) -> None:
        cluster = self.clusters.get(key)
        if cluster is not None:
            self._remember(cluster).secrets_made.pop(name, None)
            self.queue.add(key)

    def server_exited(self, name: str) -> None:
        """Reconcile the Cluster of a PostgreSQL server that ended unexpectedly."""
        if key := self._names.get(name):
            self.queue.add(key)

    def _remember(self, cluster: Object) -> Memory:
        uid = cluster["metadata"]["uid"]
        memory = self._memory.get(uid)
        if memory is None:
            memory = self._memory[uid] = Memory.of(cluster)
        return memory

    # --- reconciliation of a Cluster ---

    async def _reconcile(self, key: Key) -> float | None:
        found = self.clusters.get(key)
        if found is None:
            return None
        memory = self._remember(found)
        cluster = {"apiVersion": self.resource.api_version, "kind": "Cluster", **memory.newer(found)}
        self._names[instance_name(cluster)] = key
        try:
            if cluster["metadata"].get("deletionTimestamp"):
                return await self._delete(cluster, memory)
            return await self._bring_forward(cluster, memory, self._scenarios.of(*key))
        except NotFoundError:
            if self.clusters.get(key) is None:
                return None  # deleted since the last read
            raise

    async def _bring_forward(self, cluster: Object, memory: Memory, scenario: Scenario) -> float | None:
        memory.note_change(cluster)
        first = decision = decide(cluster, self._observe(cluster, memory), scenario)
        if not decision.refusal:
            await self._placement.write_component(cluster, memory)
        cluster = await self._complete(cluster, memory, decision)
        cluster = await self._write_status(cluster, memory, decision)
        if decision.wants_secret:
            owners = self._placement.owners(cluster, memory)
            await self._accounts.write(owners, memory, scenario.secret, self._servers, instance_name(cluster))
        await self._drive_server(cluster, memory, decision)
        if decision.wants_objects:
            is_serving = decision.wants_server and self._observe(cluster, memory).server == "answering"
            await self._placement.place(cluster, memory, self._endpoint(cluster), is_serving=is_serving)
        # Decide again: the server may have started or stopped since.
        observed = self._observe(cluster, memory)
        decision = decide(cluster, observed, scenario)
        await self._write_status(cluster, memory, decision)
        if first.wants_secret != decision.wants_secret:
            return 0.0  # it became due while objects were written
        waits = [decision.again_s, memory.updating_until - time.time() if observed.is_updating else None]
        if not memory.is_bound:
            waits.append(UNBOUND_S)
        if decision.phase == "Running" and observed.server not in ("answering", "absent"):
            waits.append(0.5)
        if observed.server == "failed":
            waits.append(max(memory.start_after - time.time(), 0.01) if memory.start_error else RETRY_START_S)
        return min((wait for wait in waits if wait is not None), default=None)

    def _observe(self, cluster: Object, memory: Memory) -> Observed:
        now = time.time()
        name, error = instance_name(cluster), memory.start_error
        server: ServerState
        if self._postgres is None:
            server = "absent" if wants_stop(cluster) else "answering"
        elif self._postgres.unavailable:
            server, error = "failed", self._postgres.unavailable
        elif self._postgres.is_answering(name):
            server = "answering"
        elif memory.is_starting:
            server = "starting"
        else:
            server = "failed" if error else "absent"
        memory.down_since = None if server == "answering" else memory.down_since or now
        return Observed(
            age_s=now - memory.first_seen,
            server=server,
            running_after_s=self._timing.running_after_s,
            secret_after_s=self._timing.secret_after_s,
            server_error=error if server == "failed" else "",
            down_s=now - memory.down_since if memory.down_since else 0.0,
            is_updating=now < memory.updating_until,
            is_placed=memory.is_placed,
            is_bound=memory.is_bound,
        )

    @property
    def _servers(self) -> PostgresServers | None:
        """The PostgreSQL servers; None if they are disabled or can't run on this machine."""
        return self._postgres if self._postgres is not None and not self._postgres.unavailable else None

    def _endpoint(self, cluster: Object) -> str:
        servers = self._servers
        return f"{LOOPBACK}:{servers.port_of(instance_name(cluster))}" if servers else ""

    async def _drive_server(self, cluster: Object, memory: Memory, decision: Decision) -> None:
        postgres, name = self._servers, instance_name(cluster)
        if postgres is None:
            memory.needs_restart = False
            return
        if not decision.wants_server:
            if memory.start is not None and memory.is_starting:
                await asyncio.wait([memory.start])
            memory.start_error, memory.needs_restart = "", False
            await postgres.stop(name)
            return
        if memory.needs_restart and not memory.is_starting:
            memory.needs_restart = False
            await postgres.stop(name)
        if not memory.is_starting and not postgres.is_answering(name) and time.time() >= memory.start_after:
            password = self._accounts.password_of(cluster)
            labels = cluster["metadata"].get("labels") or {}
            memory.start = asyncio.create_task(self._start_server(key_of(cluster), name, memory, password, labels))

    async def _start_server(self, key: Key, name: str, memory: Memory, password: str, labels: dict[str, str]) -> None:
        if self._postgres is None:
            return
        try:
            await self._postgres.ensure_running(name, password, labels)
            memory.start_error = ""
        except (PostgresUnavailableError, OSError) as error:
            if memory.start_error != str(error):  # it is tried again every few seconds
                log.warning("%s", error)
            memory.start_error = str(error)
        except Exception as error:
            memory.start_error = f"PostgreSQL could not be started: {type(error).__name__}."
            log.exception("The PostgreSQL of %s/%s could not be started.", *key)
        memory.start_after = time.time() + RETRY_START_S if memory.start_error else 0.0
        self.queue.add(key)

    async def _complete(self, cluster: Object, memory: Memory, decision: Decision) -> Object:
        """Add the finalizer, and what the operator resolves, in one write. Return the Cluster."""
        metadata, spec = cluster["metadata"], spec_of(cluster)
        changes: Object = {}
        finalizers = metadata.get("finalizers") or []
        if FINALIZER not in finalizers:
            changes["finalizers"] = [*finalizers, FINALIZER]
        completed: Object = {}
        if is_current(cluster):
            definition = spec.get("clusterDef")
            if definition and (metadata.get("labels") or {}).get(CLUSTER_DEFINITION_LABEL) != definition:
                changes["labels"] = {CLUSTER_DEFINITION_LABEL: definition}
            if not decision.refusal:
                if (metadata.get("annotations") or {}).get(CRD_ANNOTATION) != self.resource.api_version:
                    changes["annotations"] = {CRD_ANNOTATION: self.resource.api_version}
                completed = _completed_spec(spec)
        if not changes and not completed:
            return cluster
        if not (cluster.get("status") or {}).get("phase"):
            memory.first_generation = metadata["generation"]
        # With the version that was read: another writer's components must not be lost.
        patch: Object = {"metadata": {**changes, "resourceVersion": metadata["resourceVersion"]}}
        if completed:
            patch["spec"] = completed
        memory.newest = await self._client.merge_patch(self.resource, metadata["name"], metadata["namespace"], patch)
        return memory.newest

    async def _write_status(self, cluster: Object, memory: Memory, decision: Decision) -> Object:
        """Write one status after the other until the Cluster is where the decision wants it. Return the Cluster."""
        metadata = cluster["metadata"]
        while status := self._next_status(cluster, memory, decision):
            before = cluster.get("status") or {}
            phase = (status.get("components") or {}).get(component_name(cluster), {}).get("phase", "")
            if before.get("phase") and status.get("phase"):
                await self._placement.follow(cluster, memory, phase)
            cluster = await self._client.replace_status(self.resource, metadata["name"], metadata["namespace"], status)
            memory.newest = cluster
            if cluster.get("status") == before:
                break  # the API server doesn't keep what is written
        if decision.phase == "Running" and (cluster.get("status") or {}).get("phase") == "Running":
            await self._placement.follow(cluster, memory, "Running")  # the accounts are provisioned after Running
        return cluster

    def _next_status(self, cluster: Object, memory: Memory, decision: Decision) -> Object | None:
        if not is_current(cluster):
            return next_legacy_status(cluster, decision, _now())
        return next_status(cluster, decision, _now(), first_generation=memory.first_generation)

    # --- deletion ---

    async def _delete(self, cluster: Object, memory: Memory) -> float | None:
        metadata, status = cluster["metadata"], cluster.get("status") or {}
        if FINALIZER not in (metadata.get("finalizers") or []):
            return None
        if spec_of(cluster).get("terminationPolicy") == "DoNotTerminate":
            if not memory.is_told:
                await self._deletion.tell_kept(cluster)
                memory.is_told = True
            return None
        operations = self.operations.of(Key(metadata["namespace"], metadata["name"]))
        await self._deletion.begin(cluster, memory, operations, self.operations.resource)
        if status.get("phase") not in (None, "", "Deleting"):
            memory.newest = await self._client.replace_status(
                self.resource, metadata["name"], metadata["namespace"], {**status, "phase": "Deleting"}
            )
        deleted = datetime.fromisoformat(metadata["deletionTimestamp"]).timestamp()
        scenario = self._scenarios.of(metadata["namespace"], metadata["name"])
        if (left_s := deleted + scenario.slow_delete_s - time.time()) > 0 and scenario.slow_delete_s:
            return left_s
        if memory.start is not None:
            await asyncio.wait([memory.start])
        if self._postgres is not None:
            await self._postgres.remove(instance_name(cluster))
        await self._deletion.finish(cluster, memory)
        rest = [name for name in metadata["finalizers"] if name != FINALIZER]
        seen = {"resourceVersion": (await self._fresh(cluster))["metadata"]["resourceVersion"]}
        with contextlib.suppress(NotFoundError):
            await self._client.merge_patch(
                self.resource, metadata["name"], metadata["namespace"], {"metadata": {"finalizers": rest, **seen}}
            )
        self._names.pop(instance_name(cluster), None)
        return None

    async def _fresh(self, cluster: Object) -> Object:
        return await self._client.get(self.resource, cluster["metadata"]["name"], cluster["metadata"]["namespace"])

    # --- for OpsRequests ---

    async def begin_restart(self, cluster: Object) -> None:
        """Restart the server of a legacy Cluster, whose spec has no sign of it. It is Updating until then."""
        memory = self._remember(cluster)
        memory.updating_until, memory.needs_restart = time.time() + UPDATE_S, True
        self.queue.add(key_of(cluster))

    def is_restarting(self, cluster: Object) -> bool:
        """Return whether the server has not started again after `begin_restart`."""
        memory = self._remember(cluster)
        if time.time() < memory.updating_until or memory.needs_restart:
            return True
        servers = self._servers
        return servers is not None and not servers.is_answering(instance_name(cluster))


def _completed_spec(spec: Object) -> Object:
    """Return what the operator adds to a spec, as a merge patch; {} if nothing is missing."""
    completed: Object = {}
    if spec.get("clusterDef") and "topology" not in spec:
        completed["topology"] = TOPOLOGY
    components = []
    for component in spec.get("componentSpecs") or []:
        version = component.get("serviceVersion") or version_of(component)
        definition = definition_of(component)
        components.append({**component, "serviceVersion": version, "componentDef": definition})
    if components != spec.get("componentSpecs"):
        completed["componentSpecs"] = components
    return completed


def instance_name(cluster: Object) -> str:
    """Return the name of the server. It contains the uid, because a new Cluster can have the same name."""
    metadata = cluster["metadata"]
    return f"{metadata['namespace']}_{metadata['name']}_{metadata['uid'][:8]}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
