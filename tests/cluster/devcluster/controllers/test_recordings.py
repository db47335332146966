"""The stand-in makes the writes that the real KubeBlocks 1.0.2 was recorded to make for the same requests."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from devcluster.cluster import EmbeddedCluster, Options
from tests.support.recordings import Comparison, Write, namespace_of, recorded_writes, until, writes_of
from tests.support.standin_api import CLUSTERS, CORE, administrator_of
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
}


class Replay:
    """One embedded cluster, and what has been written since the test began."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self.cluster, self.rest = cluster, administrator_of(cluster)
        self._since = {kind: self._version(path) for kind, path in PATHS.items()}

    def _version(self, path: str) -> str:
        return str(self.rest.read(path)["metadata"]["resourceVersion"])

    def create_cluster(self, name: str) -> None:
        """Send what was sent to the real API server."""
        namespace = namespace_of(name)
        if self.rest.get(f"{CORE}/namespaces/{namespace}").status == 404:
            self.rest.create(f"{CORE}/namespaces", _namespace(namespace))
        spec = recorded(RECORDED, "Cluster", name)[0]["spec"]
        metadata = {"name": name, "namespace": namespace}
        body = {"apiVersion": "apps.kubeblocks.io/v1", "kind": "Cluster", "metadata": metadata, "spec": spec}
        self.rest.create(self.path("Cluster", name).rpartition("/")[0], body)

    def path(self, kind: str, name: str) -> str:
        group, _, plural = PATHS[kind].rpartition("/")
        return f"{group}/namespaces/{namespace_of(name)}/{plural}/{name}"

    def played(self, kind: str, name: str) -> list[Any]:
        events = self.rest.events(PATHS[kind], resourceVersion=self._since[kind], timeout_s=1)
        for event in events:
            event["object"].setdefault("kind", kind)
        return COMPARISON.changes(writes_of(events), kind, name)

    def wait_for(self, kind: str, name: str, expected: list[Any]) -> list[Any]:
        """Return the writes once there are as many as expected; those until then if there never are."""
        seen: list[Any] = []

        def look() -> list[Any]:
            seen[:] = self.played(kind, name)
            return seen

        with contextlib.suppress(AssertionError):
            wait_for(look, lambda found: len(found) >= len(expected), timeout_s=8)
        return seen


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def recorded(writes: list[Write], kind: str, name: str, before: float = float("inf")) -> list[Any]:
    return COMPARISON.changes(until(writes, before), kind, name)


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
    replay.rest.close()


CREATED = {
    "gamma-agentruntime-eq3etk": 370.0,
    "hand1": 1640.0,
    "xi-agentruntime-1qt0hz": 1760.0,
    "n30xxxxxxxxxxxxxxxxxxxxxxxxxxx": 1700.0,
    "n41xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": 1700.0,
    "n42xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": 1700.0,
    "zero": 1970.0,
    "bad-vol": 1970.0,
    "bad-sc": 1970.0,
}
OBJECTS = (
    ("Cluster", "pg1"),
    ("Component", "pg1-postgresql"),
    ("InstanceSet", "pg1-postgresql"),
    *(("Secret", f"pg1-postgresql-account-{account}") for account in ("kbadmin", "kbmonitoring", "postgres")),
    ("Service", "pg1-postgresql-postgresql"),
    ("Service", "pg1-postgresql-headless"),
    ("PersistentVolumeClaim", "data-pg1-postgresql-0"),
)


@pytest.mark.parametrize("name", CREATED)
def test_creation_makes_the_recorded_writes(replay, name):
    expected = recorded(RECORDED, "Cluster", name, CREATED[name])
    replay.create_cluster(name)
    assert replay.wait_for("Cluster", name, expected) == expected


def test_creation_makes_the_recorded_objects(replay):
    replay.create_cluster("pg1")
    for kind, name in OBJECTS:
        expected = recorded(RECORDED, kind, name, 370.0)
        assert replay.wait_for(kind, name, expected) == expected, (kind, name)
