"""The StatefulSet controller and the kubelet stand-in: Pods are processes with the environment of the Pod."""

import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster.cluster import EmbeddedCluster, Options
from tests.support.rest import Access, Rest
from tests.support.standin_api import APPS, CORE, Api
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    options = Options(
        state_dir=tmp_path_factory.mktemp("sandboxes"), running_after_s=0, secret_after_s=0, is_ephemeral=True
    )
    with EmbeddedCluster(options) as cluster:
        yield Api(cluster)


@pytest.fixture(scope="module")
def database_url(api: Api) -> str:
    api.create_cluster("shared")
    api.wait_phase("shared", "Running")
    wait_for(lambda: api.secret("shared-postgresql-account-postgres"), bool)
    return api.database_url("shared").partition("?")[0]


def template(name: str, **changes: Any) -> dict[str, Any]:
    container = {
        "name": "sandbox",
        "image": "example/sandbox:1",
        "ports": [{"name": "app", "containerPort": 3000}],
        "env": [
            {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": f"{name}-env", "key": "DATABASE_URL"}}},
            {"name": "PROJECT_NAME", "value": name},
        ],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "app"}, "periodSeconds": 1, "timeoutSeconds": 3},
        **changes,
    }
    labels = {"app.kubernetes.io/managed-by": "controlpanel", "app.kubernetes.io/instance": name}
    return {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 5}}


def create_secret(api: Api, name: str, **values: str) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    api.create(CORE, "secrets", "Secret", {"metadata": {"name": f"{name}-env"}, "data": data})


def create_sandbox(api: Api, name: str, *, replicas: int = 1, policy: str = "OrderedReady", **changes) -> None:
    labels = {"app.kubernetes.io/managed-by": "controlpanel", "app.kubernetes.io/instance": name}
    selector = {"app.kubernetes.io/instance": name}
    ports = [{"name": "app", "port": 3000, "targetPort": "app"}]
    service = {"metadata": {"name": name, "labels": labels}, "spec": {"selector": selector, "ports": ports}}
    api.create(CORE, "services", "Service", service)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    spec = {
        "replicas": replicas,
        "serviceName": name,
        "podManagementPolicy": policy,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
        "selector": {"matchLabels": selector},
        "template": template(name, **changes),
        "volumeClaimTemplates": [{"metadata": {"name": "home"}, "spec": claim}],
    }
    api.create(APPS, "statefulsets", "StatefulSet", {"metadata": {"name": name, "labels": labels}, "spec": spec})


def ready_replicas(api: Api, name: str) -> int:
    return int((api.get(APPS, "statefulsets", name).get("status") or {}).get("readyReplicas", 0))


def wait_ready(api: Api, name: str, replicas: int = 1) -> None:
    wait_for(lambda: ready_replicas(api, name), lambda seen: seen == replicas)


def wait_waiting(api: Api, name: str) -> None:
    wait_for(lambda: container_status(api, f"{name}-0").get("state", {}).get("waiting"), bool)


def container_status(api: Api, pod: str) -> dict[str, Any]:
    found = api.get(CORE, "pods", pod) or {}
    return next(iter((found.get("status") or {}).get("containerStatuses") or []), {})


def address(api: Api, name: str) -> str:
    annotation = "controlpanel.fullstackagent.io/endpoint.app"
    service = wait_for(
        lambda: api.get(CORE, "services", name),
        lambda seen: (seen["metadata"].get("annotations") or {}).get(annotation),
    )
    return str(service["metadata"]["annotations"][annotation])


def fetch(api: Api, name: str, path: str = "/") -> tuple[int, str]:
    app = Rest(Access(f"http://{address(api, name)}"))
    answer = app.get(path)
    app.close()
    return answer.status, answer.text


def tenants_root(api: Api) -> Path:
    """The directory with the tenants' data: the state directory, or another one if they can't enter that."""
    state_dir = api.cluster.options.state_dir
    note = state_dir / "postgres-location"
    return Path(note.read_text().strip()) if note.exists() else state_dir


def folder_of(api: Api, name: str) -> Path:
    return next((tenants_root(api) / "sandboxes").glob(f"default_{name}-0_*"))


def process_of(api: Api, name: str) -> int:
    return int((folder_of(api, name) / "pid").read_text())


def test_sandbox_connects_to_its_database(api, database_url):
    create_secret(api, "proof", DATABASE_URL=database_url)
    create_sandbox(api, "proof")
    wait_ready(api, "proof")
    status, page = fetch(api, "proof")
    assert status == 200
    for shown in ("Sandbox of proof", "Connected.", "18.", "row 1 of 1", database_url.rpartition("@")[2].split("/")[0]):
        assert shown in page
    assert database_url.partition(":")[2].rpartition("@")[0].rpartition(":")[2] not in page
    assert fetch(api, "proof", "/healthz") == (200, "ok\n")


def test_process_has_only_the_environment_of_the_pod(api, database_url):
    create_secret(api, "env", DATABASE_URL=database_url, EXTRA="from the secret")
    variables = [
        {"name": "HOST_PART", "value": "db.example"},
        {"name": "COMPOSED", "value": "https://$(HOST_PART)/$(UNKNOWN)/$$(HOST_PART)"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "no-such", "key": "x", "optional": True}}},
    ]
    create_sandbox(api, "env", env=variables, envFrom=[{"secretRef": {"name": "env-env"}}])
    wait_ready(api, "env")
    names = fetch(api, "env", "/env")[1].split()
    assert set(names) - {"PATH", "HOME", "LANG"} == {"DATABASE_URL", "EXTRA", "HOST_PART", "COMPOSED", "POD"}
    # The environment with which the interpreter started has nothing of the Pod.
    started = Path(f"/proc/{process_of(api, 'env')}/environ").read_text().split("\0")
    assert {pair.partition("=")[0] for pair in started if pair} == {"PATH", "LANG"}


def test_missing_secret_is_reported_like_the_kubelet(api, database_url):
    create_sandbox(api, "early")
    waiting = wait_for(
        lambda: container_status(api, "early-0").get("state", {}).get("waiting", {}),
        lambda seen: seen.get("reason") == "CreateContainerConfigError",
    )
    assert waiting["message"] == 'secret "early-env" not found'
    create_secret(api, "early", WRONG_KEY="x")
    wait_for(
        lambda: container_status(api, "early-0")["state"]["waiting"]["message"],
        lambda seen: seen == "couldn't find key DATABASE_URL in Secret default/early-env",
    )
    api.patch(
        CORE, "secrets", "early-env", {"data": {"DATABASE_URL": base64.b64encode(database_url.encode()).decode()}}
    )
    wait_ready(api, "early")


def test_crashed_container_is_restarted_and_counted(api, database_url):
    create_secret(api, "crash", DATABASE_URL=database_url)
    create_sandbox(api, "crash")
    wait_ready(api, "crash")
    os.kill(process_of(api, "crash"), signal.SIGKILL)
    wait_for(lambda: container_status(api, "crash-0").get("restartCount"), lambda seen: seen == 1)
    wait_ready(api, "crash")
    assert container_status(api, "crash-0")["lastState"]["terminated"]["exitCode"] == 137


def test_container_that_exits_at_once_backs_off(api):
    create_secret(api, "loop", DATABASE_URL="mysql://nobody@nowhere/x")
    create_sandbox(api, "loop")
    state = wait_for(
        lambda: container_status(api, "loop-0"),
        lambda seen: seen.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff",
    )
    assert state["restartCount"] >= 1
    assert "DATABASE_URL is not of the form" in (folder_of(api, "loop") / "sandbox.log").read_text()
    api.delete(APPS, "statefulsets", "loop")


def test_readiness_follows_the_database(api):
    api.create_cluster("weak")
    api.wait_phase("weak", "Running")
    wait_for(lambda: api.secret("weak-postgresql-account-postgres"), bool)
    create_secret(api, "follower", DATABASE_URL=api.database_url("weak").partition("?")[0])
    create_sandbox(api, "follower")
    wait_ready(api, "follower")
    assert api.operate("weak-stop", "Stop", "weak") == "Succeed"
    wait_for(lambda: ready_replicas(api, "follower"), lambda seen: seen == 0)
    status, text = fetch(api, "follower", "/healthz")
    assert status == 503
    assert "The database does not answer" in text
    assert fetch(api, "follower")[0] == 503
    assert api.operate("weak-start", "Start", "weak") == "Succeed"
    wait_ready(api, "follower")


def test_changed_template_replaces_the_pod(api, database_url):
    create_secret(api, "roll", DATABASE_URL=database_url)
    create_sandbox(api, "roll")
    wait_ready(api, "roll")
    before = api.get(CORE, "pods", "roll-0")["metadata"]["uid"]
    old = api.get(APPS, "statefulsets", "roll")["status"]["currentRevision"]
    changed = template("roll", image="example/sandbox:2")
    api.patch(APPS, "statefulsets", "roll", {"spec": {"template": changed}})
    done = wait_for(
        lambda: api.get(APPS, "statefulsets", "roll"),
        lambda seen: (
            seen["status"].get("observedGeneration") == seen["metadata"]["generation"]
            and seen["status"].get("updatedReplicas") == seen["status"].get("readyReplicas") == 1
        ),
    )
    assert done["status"]["currentRevision"] == done["status"]["updateRevision"] != old
    pod = api.get(CORE, "pods", "roll-0")
    assert pod["metadata"]["uid"] != before
    assert pod["spec"]["containers"][0]["image"] == "example/sandbox:2"


def test_only_an_ordered_update_waits_for_unready_pods(api, database_url):
    for name, policy in (("ordered", "OrderedReady"), ("parallel", "Parallel")):
        create_sandbox(api, name, policy=policy)
        wait_waiting(api, name)
        fixed = template(name, env=[{"name": "DATABASE_URL", "value": database_url}])
        api.patch(APPS, "statefulsets", name, {"spec": {"template": fixed}})
    wait_ready(api, "parallel")
    assert ready_replicas(api, "ordered") == 0
    api.delete(CORE, "pods", "ordered-0")
    wait_ready(api, "ordered")


def test_scaling_and_deletion_end_processes(api, database_url):
    create_secret(api, "many", DATABASE_URL=database_url)
    create_sandbox(api, "many", replicas=2, policy="Parallel")
    wait_ready(api, "many", 2)
    process = process_of(api, "many")
    api.patch(APPS, "statefulsets", "many", {"spec": {"replicas": 1}})
    wait_for(lambda: api.get(CORE, "pods", "many-1"), lambda seen: seen is None)
    api.delete(APPS, "statefulsets", "many")
    wait_for(lambda: api.get(CORE, "pods", "many-0"), lambda seen: seen is None)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    wait_for(lambda: api.get(CORE, "persistentvolumeclaims", "home-many-0"), lambda seen: seen is None)


def test_other_pods_are_ignored(api):
    spec = {"containers": [{"name": "web", "image": "nginx:1"}]}
    api.create(CORE, "pods", "Pod", {"metadata": {"name": "stranger"}, "spec": spec})
    create_sandbox(api, "witness")
    wait_for(lambda: container_status(api, "witness-0"), bool)
    assert container_status(api, "stranger") == {}


def test_simulated_sandboxes_are_marked(tmp_path):
    options = Options(state_dir=tmp_path, postgres="none", sandboxes="simulated", ready_after_s=0.2)
    with EmbeddedCluster(options) as cluster:
        api = Api(cluster)
        create_sandbox(api, "pretend")
        wait_for(
            lambda: container_status(api, "pretend-0").get("state", {}).get("waiting", {}).get("reason"),
            lambda seen: seen == "CreateContainerConfigError",
        )
        create_secret(api, "pretend", DATABASE_URL="postgresql://u:p@h/d")
        wait_ready(api, "pretend")
        pod = api.get(CORE, "pods", "pretend-0")
        assert pod["metadata"]["annotations"]["devcluster/simulated"] == "true"
