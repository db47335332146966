"""The KubeBlocks stand-in, with a real PostgreSQL for each Cluster."""

import base64
import math
import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devcluster.cluster import EmbeddedCluster, Options
from devcluster.controllers.scenarios import Failure, Scenario
from tests.support.standin_api import CLUSTERS, CORE, ENDPOINT, LEGACY_CLUSTERS, OPERATIONS, Api
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    options = Options(
        state_dir=tmp_path_factory.mktemp("kubeblocks"), running_after_s=0.3, secret_after_s=0.1, is_ephemeral=True
    )
    with EmbeddedCluster(options) as cluster:
        yield Api(cluster)


def is_listening(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_cluster_becomes_running_with_working_credentials(api):
    api.create_cluster("up")
    api.wait_phase("up", "Running")
    assert api.query("up", "SELECT current_user || '@' || current_database()") == "postgres@postgres"
    secret = api.secret("up-postgresql-account-postgres")
    assert set(secret) == {"username", "password"}
    wrong = api.database_url("up").replace(secret["password"], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_secret_has_the_labels_of_kubeblocks(api):
    api.create_cluster("labeled")
    api.wait_phase("labeled", "Running")
    labels = api.get(CORE, "secrets", "labeled-postgresql-account-postgres")["metadata"]["labels"]
    assert labels == {
        "app.kubernetes.io/managed-by": "kubeblocks",
        "app.kubernetes.io/instance": "labeled",
        "apps.kubeblocks.io/component-name": "postgresql",
        "apps.kubeblocks.io/system-account": "postgres",
    }


def test_resolved_values_are_written_back(api):
    api.create_cluster("resolved", topology=None, component={"serviceVersion": ""})
    api.wait_phase("resolved", "Running")
    found = api.cluster_object("resolved")
    component = found["spec"]["componentSpecs"][0]
    assert found["spec"]["topology"] == "replication"
    assert (component["serviceVersion"], component["componentDef"]) == ("18.1.0", "postgresql-18-1.0.2")
    assert found["metadata"]["generation"] == 2
    assert found["status"]["observedGeneration"] == 2
    assert found["status"]["components"]["postgresql"]["upToDate"] is True


def test_each_cluster_has_its_own_server(api):
    for name in ("one", "two"):
        api.create_cluster(name)
    for name in ("one", "two"):
        api.wait_phase(name, "Running")
    assert api.query("one", "SELECT inet_server_port()") != api.query("two", "SELECT inet_server_port()")
    password = api.secret("one-postgresql-account-postgres")["password"]
    assert password != api.secret("two-postgresql-account-postgres")["password"]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bad-definition", {"clusterDef": "mysql"}, '"mysql" not found'),
        ("bad-topology", {"topology": "standalone"}, "topology not found: standalone"),
        ("bad-version", {"component": {"serviceVersion": "99.1.0"}}, 'serviceVersion "99.1.0"'),
        ("bad-component", {"component": {"name": "database"}}, "component database not defined in topology"),
    ],
)
def test_invalid_spec_leaves_the_phase_empty(api, name, changes, message):
    api.create_cluster(name, **changes)
    condition = wait_for(lambda: api.condition(name, "ProvisioningStarted"), bool)
    assert (condition["status"], condition["reason"]) == ("False", "PreCheckFailed")
    assert message in condition["message"]
    assert api.phase(name) == ""
    assert api.secret(f"{name}-postgresql-account-postgres") is None


def test_cluster_without_spec_is_refused(api):
    api.create(CLUSTERS, "clusters", "Cluster", {"metadata": {"name": "no-spec"}})
    api.create_cluster("beside-no-spec")
    condition = wait_for(lambda: api.condition("no-spec", "ProvisioningStarted"), bool)
    assert (condition["reason"], condition["message"]) == (
        "PreCheckFailed",
        "cluster must have at least one component",
    )
    api.wait_phase("beside-no-spec", "Running")
    api.delete(CLUSTERS, "clusters", "no-spec")
    api.wait_phase("no-spec", "gone")


def test_ops_request_without_spec_fails(api):
    api.create(OPERATIONS, "opsrequests", "OpsRequest", {"metadata": {"name": "no-spec"}})
    found = wait_for(lambda: api.get(OPERATIONS, "opsrequests", "no-spec").get("status"), bool)
    assert found["phase"] == "Failed"


def test_deletion_deletes_all_objects(api):
    api.create_cluster("goer")
    api.wait_phase("goer", "Running")
    endpoint = api.get(CORE, "services", "goer-postgresql-postgresql")["metadata"]["annotations"][ENDPOINT]
    assert is_listening(endpoint)
    api.delete(CLUSTERS, "clusters", "goer")
    api.wait_phase("goer", "gone")
    assert not is_listening(endpoint)
    for plural in ("secrets", "services", "persistentvolumeclaims"):
        assert [i for i in api.get(CORE, plural)["items"] if "goer" in i["metadata"]["name"]] == []


def test_do_not_terminate_blocks_the_deletion(api):
    api.create_cluster("keeper", terminationPolicy="DoNotTerminate")
    api.wait_phase("keeper", "Running")
    api.delete(CLUSTERS, "clusters", "keeper")
    event = wait_for(lambda: [e for e in api.get(CORE, "events")["items"] if e["reason"] == "DoNotTerminate"], bool)[0]
    assert event["involvedObject"]["name"] == "keeper"
    assert api.phase("keeper") == "Running"
    assert api.query("keeper", "SELECT 1") == 1
    api.patch(CLUSTERS, "clusters", "keeper", {"spec": {"terminationPolicy": "Delete"}})
    api.wait_phase("keeper", "gone")


@pytest.mark.parametrize(
    ("variant", "spoiled"),
    [
        ("empty-password", {"username": "postgres", "password": ""}),
        ("half", {"username": "postgres"}),
        ("undefined", {"username": "undefined", "password": "undefined"}),
    ],
)
def test_invalid_secret_is_fixed_with_its_rule(api, variant, spoiled):
    name = f"secret-{variant}"
    api.cluster.set_scenario("secret", Scenario(match="secret-*", secret=variant))
    api.create_cluster(name)
    api.wait_phase(name, "Running")
    secret_name = f"{name}-postgresql-account-postgres"
    assert wait_for(lambda: api.secret(secret_name), lambda seen: seen is not None) == spoiled
    api.cluster.set_scenario("secret", None)
    wait_for(lambda: api.secret(secret_name) or {}, lambda seen: len(seen.get("password", "")) == 10)
    assert api.query(name, "SELECT 1") == 1


def test_phase_and_secret_have_separate_delays(api):
    api.cluster.set_scenario("moments", Scenario(match="late-secret", secret_after_s=math.inf))
    api.cluster.set_scenario("other", Scenario(match="late-running", running_after_s=math.inf))
    api.create_cluster("late-secret")
    api.create_cluster("late-running")
    api.wait_phase("late-secret", "Running")
    wait_for(lambda: api.secret("late-running-postgresql-account-postgres"), bool)
    assert api.secret("late-secret-postgresql-account-postgres") is None
    assert api.phase("late-running") == "Creating"
    api.cluster.set_scenario("moments", None)
    api.cluster.set_scenario("other", None)
    wait_for(lambda: api.secret("late-secret-postgresql-account-postgres"), bool)
    api.wait_phase("late-running", "Running")


@pytest.mark.parametrize(
    ("scenario", "phase"),
    [
        (Scenario(match="ill-*", stuck="empty", message="addon not installed"), ""),
        (Scenario(match="ill-*", stuck="Creating", message="0/1 nodes are available"), "Creating"),
        (Scenario(match="ill-*", fail=Failure(0.1, "Abnormal", "no space left on device")), "Abnormal"),
    ],
)
def test_stuck_or_failed_cluster_has_a_reason_and_recovers(api, scenario, phase):
    name = f"ill-{phase.lower() or 'empty'}"
    kind = "Ready" if phase else "ProvisioningStarted"
    message = scenario.message or scenario.fail.message
    api.cluster.set_scenario("ill", scenario)
    api.create_cluster(name)
    wait_for(lambda: api.condition(name, kind), lambda seen: seen.get("message") == message)
    assert api.phase(name) == phase
    api.cluster.set_scenario("ill", None)
    api.wait_phase(name, "Running")


def test_cluster_runs_without_endpoints(api):
    api.cluster.set_scenario("hollow", Scenario(match="hollow", no_endpoints=True))
    api.create_cluster("hollow")
    api.wait_phase("hollow", "Running")
    slices = "/apis/discovery.k8s.io/v1"
    assert not api.get(slices, "endpointslices", "hollow-postgresql-postgresql-stand-in").get("endpoints")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        api.query("hollow", "SELECT 1")
    api.cluster.set_scenario("hollow", None)
    wait_for(lambda: api.get(slices, "endpointslices", "hollow-postgresql-postgresql-stand-in").get("endpoints"), bool)
    assert api.query("hollow", "SELECT 1") == 1


def test_invalid_rules_are_ignored(api):
    api.cluster.set_scenario("zz-slow", Scenario(match="unlucky", stuck="Creating", message="held"))
    path = "kubeblocks-stand-in"
    api.patch(CORE, "configmaps", path, {"data": {"aa": "{[", "ab": "match: 3\nbogus: 1"}}, namespace="kube-system")
    api.create_cluster("unlucky")
    api.create_cluster("lucky")
    api.wait_phase("lucky", "Running")
    assert api.phase("unlucky") == "Creating"
    api.patch(CORE, "configmaps", path, {"data": {"aa": None, "ab": None, "zz-slow": None}}, namespace="kube-system")
    api.wait_phase("unlucky", "Running")


def test_killed_server_restarts_with_its_data(api):
    api.create_cluster("killed")
    api.wait_phase("killed", "Running")
    with psycopg.connect(api.database_url("killed")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    folder = Path(api.query("killed", "SHOW data_directory"))
    os.kill(int((folder / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)

    def answer() -> object:
        try:
            return api.query("killed", "SELECT answer FROM kept")
        except psycopg.OperationalError:
            return None

    wait_for(answer, lambda seen: seen == 42)
    api.wait_phase("killed", "Running")


def test_stop_start_and_restart_affect_the_server(api):
    api.create_cluster("operated")
    api.wait_phase("operated", "Running")
    born = api.query("operated", "SELECT pg_postmaster_start_time()")
    assert api.operate("restart-1", "Restart", "operated", restart=[{"componentName": "postgresql"}]) == "Succeed"
    assert api.query("operated", "SELECT pg_postmaster_start_time()") > born
    assert api.operate("stop-1", "Stop", "operated") == "Succeed"
    assert api.phase("operated") == "Stopped"
    with pytest.raises(psycopg.OperationalError, match="refused"):
        api.query("operated", "SELECT 1")
    assert api.operate("start-1", "Start", "operated") == "Succeed"
    assert api.query("operated", "SELECT 1") == 1


def test_operation_in_the_wrong_phase_fails(api):
    api.create_cluster("awake")
    api.wait_phase("awake", "Running")
    assert api.operate("start-2", "Start", "awake") == "Succeed"
    assert api.operate("stop-3", "Stop", "awake") == "Succeed"
    assert api.operate("restart-2", "Restart", "awake", restart=[{"componentName": "postgresql"}]) == "Failed"
    assert api.operate("start-3", "Start", "awake") == "Succeed"
    assert api.operate("stop-2", "Stop", "no-such-cluster") == "Failed"
    scaling = [{"componentName": "postgresql", "scaleIn": {"replicaChanges": 3}}]
    assert api.operate("scale-1", "HorizontalScaling", "awake", horizontalScaling=scaling) == "Failed"


def test_volume_is_expanded(api):
    storage_class = {"metadata": {"name": "growing"}, "provisioner": "example.com/disk", "allowVolumeExpansion": True}
    api.call("POST", "/apis/storage.k8s.io/v1/storageclasses", storage_class)
    spec = {
        "storageClassName": "growing",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    api.create_cluster("grower", component={"volumeClaimTemplates": [{"name": "data", "spec": spec}]})
    api.wait_phase("grower", "Running")
    volumes = [{"componentName": "postgresql", "volumeClaimTemplates": [{"name": "data", "storage": "2Gi"}]}]
    assert api.operate("expand-1", "VolumeExpansion", "grower", volumeExpansion=volumes) == "Succeed"
    claim = "data-grower-postgresql-0"
    wait_for(
        lambda: api.get(CORE, "persistentvolumeclaims", claim)["spec"]["resources"]["requests"]["storage"],
        lambda seen: seen == "2Gi",
    )


def test_legacy_cluster_runs(tmp_path):
    options = Options(
        state_dir=tmp_path / "old", kubeblocks="v0.9.5", running_after_s=0, secret_after_s=0, is_ephemeral=True
    )
    spec = {
        "clusterDefinitionRef": "postgresql",
        "clusterVersionRef": "postgresql-14.8.0",
        "terminationPolicy": "Delete",
        "componentSpecs": [{"name": "postgresql", "componentDefRef": "postgresql", "replicas": 1}],
    }
    with EmbeddedCluster(options) as cluster:
        api = Api(cluster)
        api.create(LEGACY_CLUSTERS, "clusters", "Cluster", {"metadata": {"name": "old"}, "spec": spec})
        api.wait_phase("old", "Running", prefix=LEGACY_CLUSTERS)
        secret = wait_for(lambda: api.secret("old-conn-credential"), bool)
        assert secret is not None
        assert set(secret) == {"username", "password", "endpoint", "host", "port"}
        assert (secret["host"], secret["port"]) == ("old-postgresql", "5432")
        endpoint = api.get(CORE, "services", "old-postgresql")["metadata"]["annotations"][ENDPOINT]
        url = f"postgresql://postgres:{secret['password']}@{endpoint}/postgres"
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        requests: list[tuple[str, dict[str, Any]]] = [
            ("Restart", {"restart": [{"componentName": "postgresql"}]}),
            ("HorizontalScaling", {"horizontalScaling": [{"componentName": "postgresql", "replicas": 2}]}),
            ("Stop", {}),
            ("Start", {}),
        ]
        for kind, spec in requests:
            name = kind.lower()
            body = {"metadata": {"name": name}, "spec": {"clusterName": "old", "type": kind, **spec}}
            api.create(LEGACY_CLUSTERS, "opsrequests", "OpsRequest", body)
            wait_for(
                partial(api.get, LEGACY_CLUSTERS, "opsrequests", name),
                lambda seen: seen.get("status", {}).get("phase") == "Succeed",
            )
        api.wait_phase("old", "Running", prefix=LEGACY_CLUSTERS)


def account_secret(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(CORE, "secrets", f"{name}-postgresql-account-postgres") or {}
    return found


def test_deleted_secret_hangs_and_comes_back_with_another_password(api):
    api.create_cluster("lost-secret")
    api.wait_phase("lost-secret", "Running")
    url, before = api.database_url("lost-secret"), account_secret(api, "lost-secret")
    secret = before["metadata"]["name"]
    api.delete(CORE, "secrets", secret)
    held = account_secret(api, "lost-secret")
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["finalizers"] == ["component.kubeblocks.io/finalizer"]
    assert held["data"] == before["data"]
    api.patch(CORE, "secrets", secret, {"metadata": {"finalizers": None}})
    again = wait_for(
        lambda: account_secret(api, "lost-secret"),
        lambda seen: seen and seen["metadata"]["uid"] != before["metadata"]["uid"],
    )
    assert again["data"]["password"] != before["data"]["password"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        api.query("lost-secret", "SELECT 1")
    password = base64.b64decode(again["data"]["password"]).decode()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE postgres PASSWORD '{password}'".encode())
    assert api.query("lost-secret", "SELECT 1") == 1


def test_changed_secret_changes_nothing_in_the_server(api):
    api.create_cluster("changed-secret")
    api.wait_phase("changed-secret", "Running")
    url = api.database_url("changed-secret")
    other = {"password": base64.b64encode(b"another").decode()}
    api.patch(CORE, "secrets", "changed-secret-postgresql-account-postgres", {"data": other})
    assert api.operate("again-1", "Restart", "changed-secret", restart=[{"componentName": "postgresql"}]) == "Succeed"
    assert api.secret("changed-secret-postgresql-account-postgres") == {"username": "postgres", "password": "another"}
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_new_data_has_the_password_of_a_secret_that_exists(api):
    metadata = {"name": "early-postgresql-account-postgres", "labels": {"app.kubernetes.io/managed-by": "kubeblocks"}}
    data = {"username": "postgres", "password": "from-elsewhere"}
    api.create(CORE, "secrets", "Secret", {"metadata": metadata, "stringData": data})
    api.create_cluster("early")
    api.wait_phase("early", "Running")
    assert api.secret(metadata["name"]) == data
    assert api.query("early", "SELECT 1") == 1


def test_secret_of_another_account_comes_back(api):
    api.create_cluster("accounts")
    api.wait_phase("accounts", "Running")
    name = "accounts-postgresql-account-kbadmin"
    before = wait_for(lambda: api.secret(name), bool)
    api.delete(CORE, "secrets", name)
    api.patch(CORE, "secrets", name, {"metadata": {"finalizers": None}})
    assert wait_for(lambda: api.secret(name), bool) != before


def test_deletion_leaves_what_only_has_the_labels(api):
    api.create_cluster("neighbor")
    api.wait_phase("neighbor", "Running")
    labels = account_secret(api, "neighbor")["metadata"]["labels"]
    theirs = {"metadata": {"name": "helm-release", "labels": labels}, "stringData": {"a": "b"}}
    api.create(CORE, "secrets", "Secret", theirs)
    api.delete(CLUSTERS, "clusters", "neighbor")
    api.wait_phase("neighbor", "gone")
    assert [s["metadata"]["name"] for s in api.get(CORE, "secrets")["items"] if "release" in s["metadata"]["name"]]
    assert not [s for s in api.get(CORE, "secrets")["items"] if s["metadata"]["name"].startswith("neighbor")]


def test_unbound_claim_is_bound_once_its_class_exists(api):
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    templates = [{"name": "data", "spec": {**claim, "storageClassName": "later"}}]
    api.create_cluster("unbound", component={"volumeClaimTemplates": templates})
    found = wait_for(lambda: api.get(CORE, "persistentvolumeclaims", "data-unbound-postgresql-0"), bool)
    assert found["status"] == {"phase": "Pending"}
    storage = {"metadata": {"name": "later"}, "provisioner": "test"}
    body = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", **storage}
    api.call("POST", "/apis/storage.k8s.io/v1/storageclasses", body)
    api.wait_phase("unbound", "Running")


def test_simulated_cluster_has_the_objects_that_a_panel_reads(tmp_path):
    options = Options(
        state_dir=tmp_path / "simulated", running_after_s=0, secret_after_s=0, postgres="none", sandboxes="none"
    )
    with EmbeddedCluster(options) as cluster:
        api = Api(cluster)
        api.create_cluster("plain")
        api.wait_phase("plain", "Running")
        assert [item["metadata"]["name"] for item in api.get(CORE, "secrets")["items"]] == [
            "plain-postgresql-account-postgres"
        ]
        assert api.get(CLUSTERS, "components")["items"] == []
        api.delete(CLUSTERS, "clusters", "plain")
        api.wait_phase("plain", "gone")
        assert api.get(CORE, "secrets")["items"] == []
