"""The stand-in makes the writes that the real KubeBlocks 1.0.2 was recorded to make for the same requests."""

import base64
import contextlib
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devcluster.cluster import EmbeddedCluster, Options
from devcluster.controllers.kubeblocks.objects import ACCOUNTS
from devcluster.controllers.scenarios import NEVER, Failure, Scenario
from tests.support.recordings import Comparison, namespace_of, recorded_writes, until, writes_of
from tests.support.standin_api import CLUSTERS, CORE, ENDPOINT, OPERATIONS, administrator_of
from tests.support.waiting import wait_for

WORKLOADS = "/apis/workloads.kubeblocks.io/v1"
RECORDED = recorded_writes()
COMPARISON = Comparison.load()
PATHS = {
    "Cluster": f"{CLUSTERS}/clusters",
    "Component": f"{CLUSTERS}/components",
    "InstanceSet": f"{WORKLOADS}/instancesets",
    "Secret": f"{CORE}/secrets",
    "Service": f"{CORE}/services",
    "PersistentVolumeClaim": f"{CORE}/persistentvolumeclaims",
    "OpsRequest": f"{OPERATIONS}/opsrequests",
}
QUEUE = "metadata.annotations.kubeblocks.io/ops-request"


class Writes:
    """What is written of one kind, from now on."""

    def __init__(self, cluster: EmbeddedCluster, kind: str) -> None:
        self.events: list[Any] = []
        self._kind = kind
        self._rest = administrator_of(cluster)
        version = self._rest.read(PATHS[kind])["metadata"]["resourceVersion"]
        threading.Thread(target=self._follow, args=(version,), daemon=True).start()

    def _follow(self, version: str) -> None:
        with (
            contextlib.suppress(Exception),  # the watch ends with the cluster
            self._rest.watch(PATHS[self._kind], resourceVersion=version, timeout_s=100) as events,
        ):
            for event in events:
                event["object"].setdefault("kind", self._kind)
                self.events.append(event)


class Replay:
    """One embedded cluster, and what has been written since the test began."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self.rest = administrator_of(cluster)
        self._writes = {kind: Writes(cluster, kind) for kind in PATHS}

    def _namespace_for(self, name: str) -> str:
        namespace = namespace_of(name)
        if self.rest.get(f"{CORE}/namespaces/{namespace}").status == 404:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            self.rest.create(f"{CORE}/namespaces", body)
        return namespace

    def create_cluster(self, name: str) -> None:
        """Send what was sent to the real API server."""
        namespace = self._namespace_for(name)
        spec = COMPARISON.changes(RECORDED, "Cluster", name)[0]["spec"]
        metadata = {"name": name, "namespace": namespace}
        body = {"apiVersion": "apps.kubeblocks.io/v1", "kind": "Cluster", "metadata": metadata, "spec": spec}
        self.rest.create(self.path("Cluster", name).rpartition("/")[0], body)

    def clear(self) -> None:
        """Delete the Clusters, so that their names are free for the next test."""
        for item in self.rest.read(PATHS["Cluster"])["items"]:
            metadata = item["metadata"]
            path = f"{CLUSTERS}/namespaces/{metadata['namespace']}/clusters/{metadata['name']}"
            self.rest.delete(path)
            wait_for(partial(self.rest.get, path), lambda answer: answer.status == 404, timeout_s=20)

    def delete(self, kind: str, name: str) -> None:
        self.rest.send("DELETE", self.path(kind, name))

    def path(self, kind: str, name: str) -> str:
        group, _, plural = PATHS[kind].rpartition("/")
        return f"{group}/namespaces/{namespace_of(name)}/{plural}/{name}"

    def played(self, kind: str, name: str) -> list[Any]:
        return COMPARISON.changes(writes_of(self._writes[kind].events), kind, name)

    def compare(self, kind: str, name: str, before: float = math.inf) -> None:
        """Wait for as many writes as were recorded before that moment, and compare them."""
        expected = COMPARISON.changes(until(RECORDED, before), kind, name)
        seen: list[Any] = []

        def look() -> list[Any]:
            seen[:] = self.played(kind, name)
            return seen

        with contextlib.suppress(AssertionError):
            wait_for(look, lambda found: len(found) >= len(expected), timeout_s=20)
        assert seen == expected, f"writes of {kind} {name}"

    def compare_queue(self, name: str, before: float = math.inf) -> None:
        """Like `compare`, for the queue of OpsRequests of a Cluster."""
        expected = COMPARISON.values(until(RECORDED, before), "Cluster", name, QUEUE)
        seen: list[Any] = []

        def look() -> list[Any]:
            seen[:] = COMPARISON.values(writes_of(self._writes["Cluster"].events), "Cluster", name, QUEUE)
            return seen

        with contextlib.suppress(AssertionError):
            wait_for(look, lambda found: len(found) >= len(expected), timeout_s=20)
        assert seen == expected, f"queue of Cluster {name}"

    def operate(self, name: str, **changes: Any) -> None:
        """Send the recorded OpsRequest, with changes of its spec."""
        spec = next(w.change["spec"] for w in RECORDED if (w.kind, w.name) == ("OpsRequest", name) and w.change)
        metadata = {"name": name, "namespace": self._namespace_for(name)}
        body = {"kind": "OpsRequest", "apiVersion": "operations.kubeblocks.io/v1alpha1", "metadata": metadata}
        self.rest.create(self.path("OpsRequest", name).rpartition("/")[0], {**body, "spec": {**spec, **changes}})

    def created(self) -> list[tuple[str, str]]:
        """Return kind and name of all objects in the order of their creation."""
        events = [event for writes in self._writes.values() for event in writes.events if event["type"] == "ADDED"]
        objects = [event["object"] for event in events]
        objects.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
        return [(item["kind"], item["metadata"]["name"]) for item in objects]

    def ended(self) -> list[tuple[str, str]]:
        """Return kind and name of all objects that are gone, in that order."""
        events = [event for writes in self._writes.values() for event in writes.events if event["type"] == "DELETED"]
        objects = [event["object"] for event in events]
        objects.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
        return [(item["kind"], item["metadata"]["name"]) for item in objects]

    def data_of(self, name: str) -> Path:
        """Return the data directory of a running database."""
        with psycopg.connect(self.url_of(name)) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        return Path(row[0])

    def url_of(self, name: str) -> str:
        secret = self.rest.read(self.path("Secret", name).replace(f"/{name}", f"/{name}-postgresql-account-postgres"))
        service = self.rest.read(self.path("Service", name).replace(f"/{name}", f"/{name}-postgresql-postgresql"))
        password = base64.b64decode(secret["data"]["password"]).decode()
        endpoint = service["metadata"]["annotations"][ENDPOINT]
        return f"postgresql://postgres:{password}@{endpoint}/postgres?connect_timeout=3"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    options = Options(
        state_dir=tmp_path_factory.mktemp("recordings"), running_after_s=0.3, secret_after_s=0, is_ephemeral=True
    )
    with EmbeddedCluster(options) as cluster:
        yield cluster


@pytest.fixture
def replay(cluster: EmbeddedCluster) -> Iterator[Replay]:
    replay = Replay(cluster)
    yield replay
    replay.clear()
    replay.rest.close()


@pytest.fixture
def set_scenario(cluster: EmbeddedCluster) -> Iterator[Callable[[str, Scenario | None], None]]:
    names: list[str] = []

    def set_it(name: str, scenario: Scenario | None) -> None:
        names.append(name)
        cluster.set_scenario(name, scenario)

    yield set_it
    for name in names:
        cluster.set_scenario(name, None)


CREATED = {
    "gamma-agentruntime-eq3etk": 370.0,
    "hand1": 500.0,
    "xi-agentruntime-1qt0hz": 1760.0,
}
CREATED_AND_DELETED = {
    "n30xxxxxxxxxxxxxxxxxxxxxxxxxxx": 1700.0,
    "n41xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": 1700.0,
    "n42xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": 1700.0,
    "zero": 1970.0,
    "bad-vol": 1970.0,
    "bad-sc": 1970.0,
    "badver": 1970.0,
    "bad-cd": 1970.0,
    "bad-topo": 1970.0,
    "bad-comp": 1970.0,
    "bad-def": 1970.0,
}
# In the order of their creation.
OBJECTS = (
    ("Cluster", "pg1"),
    ("Component", "pg1-postgresql"),
    *(("Secret", f"pg1-postgresql-account-{account}") for account in ACCOUNTS),
    ("Service", "pg1-postgresql-postgresql"),
    ("InstanceSet", "pg1-postgresql"),
    ("Service", "pg1-postgresql-headless"),
    ("PersistentVolumeClaim", "data-pg1-postgresql-0"),
)


@pytest.mark.parametrize("name", CREATED)
def test_creation_makes_the_recorded_writes(replay, name):
    replay.create_cluster(name)
    replay.compare("Cluster", name, CREATED[name])


@pytest.mark.parametrize("name", CREATED_AND_DELETED)
def test_creation_or_refusal_and_deletion_make_the_recorded_writes(replay, name):
    replay.create_cluster(name)
    replay.compare("Cluster", name, CREATED_AND_DELETED[name])
    replay.delete("Cluster", name)
    replay.compare("Cluster", name)


def test_creation_makes_the_recorded_objects(replay):
    replay.create_cluster("pg1")
    for kind, name in OBJECTS:
        replay.compare(kind, name, 370.0)
    assert replay.created() == list(OBJECTS)


def test_refused_cluster_goes_on_once_the_addon_is_back(replay, set_scenario):
    name = "nu-agentruntime-7sgn7c"
    not_ready = "the referenced ClusterDefinition is not up to date: postgresql"
    set_scenario("addon", Scenario(match=name, stuck="empty", message=not_ready))
    replay.create_cluster(name)
    replay.compare("Cluster", name, 1460.0)
    set_scenario("addon", Scenario(match=name, stuck="empty"))
    replay.compare("Cluster", name, 1475.0)
    set_scenario("addon", None)
    replay.compare("Cluster", name, 1500.0)


def test_failure_and_recovery_make_the_recorded_writes(replay, set_scenario):
    name = "theta-agentruntime-2b3jzz"
    set_scenario("theta", Scenario(match=name, running_after_s=NEVER))
    replay.create_cluster(name)
    replay.compare("Cluster", name, 1190.0)
    set_scenario("theta", Scenario(match=name, fail=Failure()))
    replay.compare("Cluster", name, 1200.0)
    set_scenario("theta", None)
    replay.compare("Cluster", name, 1300.0)
    replay.delete("Cluster", name)
    replay.compare("Cluster", name)


def test_lost_pod_makes_the_recorded_writes(replay):
    """The Pod of pg1 was away for 4 s. Here, the server can't start again for a moment."""
    replay.create_cluster("pg1")
    replay.compare("Cluster", "pg1", 370.0)
    folder = replay.data_of("pg1")
    control, away = folder / "global" / "pg_control", folder / "pg_control.away"
    process = int((folder / "postmaster.pid").read_text().splitlines()[0])
    control.rename(away)
    os.kill(process, signal.SIGKILL)
    replay.compare("Cluster", "pg1", 380.0)
    away.rename(control)
    for kind, name in (("Cluster", "pg1"), ("Component", "pg1-postgresql"), ("InstanceSet", "pg1-postgresql")):
        replay.compare(kind, name)


def moment(name: str) -> float:
    """Return when an OpsRequest was recorded to be created."""
    return next(write.t for write in RECORDED if (write.kind, write.name) == ("OpsRequest", name))


GAMMA = "gamma-agentruntime-eq3etk"
# Sent while an earlier one of the Cluster ran or waited.
AT_ONCE = ("q2", "x-restart-stopped-wait", "x-stop-stopped", "x-ve-stopped", "x-start3")


def test_stop_start_and_queued_operations_make_the_recorded_writes(replay):
    """Everything that was sent to one Cluster until its deletion, with what had to wait and what was refused."""
    replay.create_cluster(GAMMA)
    requests = [w.name for w in RECORDED if w.kind == "OpsRequest" and w.change and _is_creation(w.change, GAMMA)]
    assert len(requests) > 12
    for name in requests:
        replay.compare_queue(GAMMA, moment(name))
        if name not in AT_ONCE:
            replay.compare("Cluster", GAMMA, moment(name))
        changes = {"preConditionDeadlineSeconds": 3} if name == "x-restart-stopped-wait" else {}
        replay.operate(name, **changes)
    replay.delete("OpsRequest", "x-badvol")  # it runs, and its finalizer holds it
    replay.compare("Cluster", GAMMA, 1385.0)
    replay.compare_queue(GAMMA, 1385.0)
    for name in requests:
        replay.compare("OpsRequest", name, 1385.0)
    replay.delete("Cluster", GAMMA)
    replay.compare("Cluster", GAMMA)
    for name in requests:
        replay.compare("OpsRequest", name)


def _is_creation(change: dict[str, Any], cluster: str) -> bool:
    return bool(change.get("spec", {}).get("clusterName") == cluster)


@pytest.mark.parametrize("name", ["x-notfound"])
def test_operation_without_a_cluster_makes_the_recorded_writes(replay, name):
    replay.operate(name)
    replay.compare("OpsRequest", name, 900.0)


def test_scaling_makes_the_recorded_writes(replay):
    """HorizontalScaling succeeds before the Cluster is Running again."""
    replay.create_cluster("hand1")
    for name in ("hstop", "hstart", "hs1", "hs2"):
        replay.compare("Cluster", "hand1", moment(name))
        replay.compare_queue("hand1", moment(name))
        replay.operate(name)
    replay.compare("Cluster", "hand1")
    replay.compare_queue("hand1")
    for name in ("hstop", "hstart", "hs1", "hs2"):
        replay.compare("OpsRequest", name)


def test_deletion_has_the_order_of_the_operator(replay):
    """Seen with the operator, from its first look: there is no recording of every object."""
    replay.create_cluster("pg1")
    replay.compare("Cluster", "pg1", 370.0)
    replay.delete("Cluster", "pg1")
    wait_for(lambda: replay.ended(), lambda seen: ("Cluster", "pg1") in seen)
    order = list(dict.fromkeys(kind for kind, _ in replay.ended()))
    assert order == ["Service", "PersistentVolumeClaim", "InstanceSet", "Secret", "Component", "Cluster"]
    assert len([1 for kind, _ in replay.ended() if kind == "Secret"]) == len(ACCOUNTS)
    services = [name for kind, name in replay.ended() if kind == "Service"]
    assert services == ["pg1-postgresql-headless", "pg1-postgresql-postgresql"]
