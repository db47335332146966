"""A stand-in for the KubeBlocks operator, with a real PostgreSQL server for each Cluster.

It is a client of any API server with the KubeBlocks CRDs. kubeblocks_states.py decides the state of a Cluster, and
kubeblocks_objects.py builds the objects; this module observes, decides and applies. PostgreSQL starts when the Cluster
is first observed, so that it usually accepts connections before the Cluster has to be Running.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from devcluster.client.client import (
    CLAIMS,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    SECRETS,
    SERVICES,
    ConflictError,
    KubeClient,
    NotFoundError,
    Object,
    Resource,
)
from devcluster.client.reflector import PASSING_ERRORS, Key, Reflector, Workqueue, key_of
from devcluster.controllers.kubeblocks_objects import (
    VARIANT_ANNOTATION,
    build_claims,
    build_endpoints,
    build_secret,
    build_services,
    common_labels,
    secret_name,
)
from devcluster.controllers.kubeblocks_states import (
    COMPONENT,
    FINALIZER,
    NEWEST_VERSION,
    TOPOLOGY,
    Decision,
    Observed,
    ServerState,
    build_status,
    decide,
    is_legacy,
    spec_of,
    wants_stop,
)
from devcluster.controllers.ops_requests import OpsRequests
from devcluster.controllers.scenarios import CONFIG_MAP, NAMESPACE, Scenarios, SecretVariant
from devcluster.node.ports import LOOPBACK
from devcluster.node.postgres import PostgresServers
from devcluster.node.postgres_binaries import PostgresUnavailableError

log = logging.getLogger(__name__)

GROUP = "apps.kubeblocks.io"
FIELD_MANAGER = "kubeblocks"
RETRY_START_S = 2.0
UPDATE_S = 0.5


@dataclass(frozen=True)
class Timing:
    """Default times at which a Cluster becomes Running and gets its Secret, in seconds after its creation."""

    running_after_s: float = 4.0
    secret_after_s: float = 2.0


@dataclass
class _Memory:
    """State of a Cluster between two reconciliations. It can be lost: it only saves work and measures times."""

    first_seen: float
    start: asyncio.Task[None] | None = None
    start_error: str = ""
    down_since: float | None = None
    updating_until: float = 0.0
    written: tuple[object, ...] = ()


class KubeBlocksStandIn:
    """Reconciles Clusters and OpsRequests. `postgres` None: Clusters have no servers."""

    def __init__(self, client: KubeClient, postgres: PostgresServers | None, timing: Timing) -> None:
        self._client = client
        self._postgres = postgres
        self._timing = timing
        self._memory: dict[str, _Memory] = {}
        self._names: dict[str, Key] = {}
        self.queue = Workqueue("kubeblocks", self._reconcile, workers=16)
        self._scenarios = Scenarios()
        self._rules = Reflector(
            client, CONFIG_MAPS, on_change=self._rules_changed, fields=f"metadata.name={CONFIG_MAP}"
        )
        self.resource = Resource(GROUP, "v1", "clusters", "Cluster")
        self.clusters = Reflector(client, self.resource, on_change=self._cluster_changed)
        self.operations = OpsRequests(client, self)
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled. Sets `ready` after the first list of all resources."""
        while (version := await self._served_version()) is None:
            await asyncio.sleep(0.5)
        self.resource = Resource(GROUP, version, "clusters", "Cluster")
        self.clusters = Reflector(self._client, self.resource, on_change=self._cluster_changed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rules.run())
            await self._rules.synced.wait()
            group.create_task(self.clusters.run())
            await self.clusters.synced.wait()
            await self._forget_others()
            group.create_task(self.queue.run())
            group.create_task(self.operations.run())
            self.ready.set()

    async def _served_version(self) -> str | None:
        with contextlib.suppress(*PASSING_ERRORS):
            return await self._client.served_version(GROUP, "clusters", ("v1", "v1alpha1"))
        return None

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
        if new is None and old is not None:
            self._memory.pop(old["metadata"]["uid"], None)

    def server_exited(self, name: str) -> None:
        """Reconcile the Cluster of a PostgreSQL server that ended unexpectedly."""
        if key := self._names.get(name):
            self.queue.add(key)

    def _remember(self, cluster: Object) -> _Memory:
        uid = cluster["metadata"]["uid"]
        memory = self._memory.get(uid)
        if memory is None:
            # creationTimestamp has whole seconds, so the age of a new Cluster counts from now.
            created = datetime.fromisoformat(cluster["metadata"]["creationTimestamp"]).timestamp()
            now = time.time()
            memory = self._memory[uid] = _Memory(first_seen=now if now - created < 2 else created)
        return memory

    # --- reconciliation of a Cluster ---

    async def _reconcile(self, key: Key) -> float | None:
        cluster = self.clusters.get(key)
        if cluster is None:
            return None
        cluster = {"apiVersion": self.resource.api_version, "kind": "Cluster", **cluster}
        memory = self._remember(cluster)
        self._names[instance_name(cluster)] = key
        if cluster["metadata"].get("deletionTimestamp"):
            return await self._delete(cluster, memory)
        scenario = self._scenarios.of(*key)
        observed = self._observe(cluster, memory)
        decision = decide(cluster, observed, scenario)
        await self._write_back(cluster, decision)
        await self._drive_server(cluster, memory, decision)
        if decision.wants_objects:
            is_serving = decision.wants_server and observed.server == "answering"
            await self._write_objects(cluster, memory, is_serving=is_serving)
        if decision.wants_secret:
            await self._write_secret(cluster, scenario.secret)
        # Decide again: the server may have started or stopped since.
        first, observed = decision, self._observe(cluster, memory)
        decision = decide(cluster, observed, scenario)
        await self._write_status(cluster, decision)
        if first.wants_secret != decision.wants_secret:
            return 0.0  # it became due while objects were written
        waits = [decision.again_s, memory.updating_until - time.time() if observed.is_updating else None]
        if decision.phase == "Running" and observed.server not in ("answering", "absent"):
            waits.append(0.5)
        elif observed.server == "failed":
            waits.append(RETRY_START_S)
        return min((wait for wait in waits if wait is not None), default=None)

    def _observe(self, cluster: Object, memory: _Memory) -> Observed:
        now = time.time()
        name, error = instance_name(cluster), memory.start_error
        server: ServerState
        is_starting = memory.start is not None and not memory.start.done()
        if self._postgres is None:
            server = "absent" if wants_stop(cluster) else "answering"
        elif self._postgres.unavailable:
            server, error = "failed", self._postgres.unavailable
        elif self._postgres.is_answering(name):
            server = "answering"
        elif is_starting:
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
        )

    async def _drive_server(self, cluster: Object, memory: _Memory, decision: Decision) -> None:
        postgres, name = self._postgres, instance_name(cluster)
        if postgres is None or postgres.unavailable:
            return
        is_starting = memory.start is not None and not memory.start.done()
        if not decision.wants_server:
            if memory.start is not None and is_starting:
                await asyncio.wait([memory.start])
            memory.start_error = ""
            await postgres.stop(name)
        elif not is_starting and not postgres.is_answering(name):
            memory.start = asyncio.create_task(self._start_server(key_of(cluster), name, memory))

    async def _start_server(self, key: Key, name: str, memory: _Memory) -> None:
        if self._postgres is None:
            return
        try:
            await self._postgres.ensure_running(name)
            memory.start_error = ""
        except (PostgresUnavailableError, OSError) as error:
            memory.start_error = str(error)
            log.warning("%s", error)
        except Exception as error:
            memory.start_error = f"PostgreSQL could not be started: {type(error).__name__}."
            log.exception("The PostgreSQL of %s/%s could not be started.", *key)
        self.queue.add(key)

    async def _write_back(self, cluster: Object, decision: Decision) -> None:
        """Add the finalizer and the resolved fields to a Cluster, which increases the generation."""
        metadata, spec = cluster["metadata"], spec_of(cluster)
        steps: list[Object] = []
        finalizers = metadata.get("finalizers") or []
        if FINALIZER not in finalizers:
            steps.append({"op": "add", "path": "/metadata/finalizers", "value": [*finalizers, FINALIZER]})
        if decision.wants_objects and not is_legacy(cluster):
            if spec.get("clusterDef") and "topology" not in spec:
                steps.append({"op": "add", "path": "/spec/topology", "value": TOPOLOGY})
            for index, component in enumerate(spec.get("componentSpecs") or []):
                path = f"/spec/componentSpecs/{index}"
                version = component.get("serviceVersion") or NEWEST_VERSION
                if not component.get("serviceVersion"):
                    steps.append({"op": "add", "path": f"{path}/serviceVersion", "value": version})
                if not component.get("componentDef"):
                    definition = f"{COMPONENT}-{version.partition('.')[0]}-1.0.2"
                    steps.append({"op": "add", "path": f"{path}/componentDef", "value": definition})
        if steps:
            seen = {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
            fresh = await self._client.json_patch(
                self.resource, metadata["name"], metadata["namespace"], [seen, *steps]
            )
            cluster["metadata"], cluster["spec"] = fresh["metadata"], spec_of(fresh)

    async def _write_objects(self, cluster: Object, memory: _Memory, *, is_serving: bool) -> None:
        """Apply Services, endpoints and claims if something in them changed."""
        servers = self._servers
        endpoint = f"{LOOPBACK}:{servers.port_of(instance_name(cluster))}" if servers else ""
        claims = build_claims(cluster)
        wanted = (endpoint, is_serving, str([claim["spec"] for claim in claims]))
        if memory.written == wanted:
            return
        for service in build_services(cluster, endpoint):
            await self._client.apply(SERVICES, service, field_manager=FIELD_MANAGER)
        await self._client.apply(
            ENDPOINT_SLICES, build_endpoints(cluster, is_serving=is_serving), field_manager=FIELD_MANAGER
        )
        for claim in claims:
            await self._write_claim(claim)
        memory.written = wanted

    @property
    def _servers(self) -> PostgresServers | None:
        """The PostgreSQL servers; None if they are disabled or can't run on this machine."""
        return self._postgres if self._postgres is not None and not self._postgres.unavailable else None

    async def _write_claim(self, claim: Object) -> None:
        name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
        requests = claim["spec"].get("resources", {}).get("requests", {})
        try:
            await self._client.create(CLAIMS, claim, namespace)
            bound = {"phase": "Bound", "accessModes": claim["spec"]["accessModes"], "capacity": requests}
            await self._client.patch_status(CLAIMS, name, namespace, bound)
        except ConflictError:
            found = await self._client.get(CLAIMS, name, namespace)
            if found["spec"].get("resources", {}).get("requests") != requests:
                patch = {"spec": {"resources": {"requests": requests}}}
                await self._client.merge_patch(CLAIMS, name, namespace, patch)

    async def _write_secret(self, cluster: Object, variant: SecretVariant) -> None:
        namespace, name = cluster["metadata"]["namespace"], secret_name(cluster)
        found = await self._client.get_or_none(SECRETS, name, namespace)
        if found is not None and found["metadata"].get("annotations", {}).get(VARIANT_ANNOTATION) == variant:
            return
        servers = self._servers
        password = servers.password_of(instance_name(cluster)) if servers else secrets.token_hex(8)
        secret = build_secret(cluster, password, variant)
        if found is None:
            with contextlib.suppress(ConflictError):
                await self._client.create(SECRETS, secret, namespace)
            return
        data = {**dict.fromkeys(found.get("data") or {}), **secret["data"]}
        annotations = secret["metadata"]["annotations"]
        await self._client.merge_patch(
            SECRETS, name, namespace, {"data": data, "metadata": {"annotations": annotations}}
        )

    async def _write_status(self, cluster: Object, decision: Decision) -> None:
        old = cluster.get("status") or {}
        status = build_status(cluster, decision, _now())
        if all(old.get(name) == value for name, value in status.items()) and not (
            old.get("phase") and not decision.phase
        ):
            return
        if not decision.phase:
            status |= {"phase": None, "components": None}
        metadata = cluster["metadata"]
        with contextlib.suppress(NotFoundError):
            await self._client.patch_status(self.resource, metadata["name"], metadata["namespace"], status)

    # --- deletion ---

    async def _delete(self, cluster: Object, memory: _Memory) -> float | None:
        metadata = cluster["metadata"]
        if FINALIZER not in (metadata.get("finalizers") or []):
            return None
        keep = spec_of(cluster).get("terminationPolicy") == "DoNotTerminate"
        blocked = "spec.terminationPolicy is DoNotTerminate: the cluster is kept until the policy is changed"
        conditions = {"ProvisioningStarted": (False, "PreCheckFailed", blocked)} if keep else {}
        decision = Decision("Deleting", conditions, False, False, False, None)
        await self._write_status(cluster, decision)
        if keep:
            return None
        deleted = datetime.fromisoformat(metadata["deletionTimestamp"]).timestamp()
        scenario = self._scenarios.of(metadata["namespace"], metadata["name"])
        if (left_s := deleted + scenario.slow_delete_s - time.time()) > 0 and scenario.slow_delete_s:
            return left_s
        if memory.start is not None:
            await asyncio.wait([memory.start])
        if self._postgres is not None:
            await self._postgres.remove(instance_name(cluster))
        selector = ",".join(f"{key}={value}" for key, value in common_labels(cluster).items())
        for resource in (ENDPOINT_SLICES, SERVICES, SECRETS, CLAIMS):
            found, _ = await self._client.list_all(resource, metadata["namespace"], labels=selector)
            for item in found:
                await self._client.delete(resource, item["metadata"]["name"], metadata["namespace"])
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
        """Stop the server. The next reconciliation starts it; until then the Cluster is Updating."""
        self._remember(cluster).updating_until = time.time() + UPDATE_S
        if self._postgres is not None:
            await self._postgres.stop(instance_name(cluster))
        self.queue.add(key_of(cluster))

    def is_restarting(self, cluster: Object) -> bool:
        """Return whether the server has not started again after `begin_restart`."""
        if time.time() < self._remember(cluster).updating_until:
            return True
        servers = self._servers
        return servers is not None and not servers.is_answering(instance_name(cluster))


def instance_name(cluster: Object) -> str:
    """Return the name of the server. It contains the uid, because a new Cluster can have the same name."""
    metadata = cluster["metadata"]
    return f"{metadata['namespace']}_{metadata['name']}_{metadata['uid'][:8]}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
