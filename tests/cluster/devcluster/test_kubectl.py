"""A kubectl session against the embedded cluster, over TLS and with the kubeconfig that it writes."""

import json
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
import yaml

from devcluster.cluster import EmbeddedCluster, Options
from tests.support.standin_api import cluster_spec
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the PATH")

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    options = Options(
        state_dir=tmp_path_factory.mktemp("kubectl"), running_after_s=0.2, secret_after_s=0.1, postgres="none"
    )
    with EmbeddedCluster(options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kubectl(cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Run kubectl; its standard output. Fails with what kubectl said if its exit code is not `code`."""
    home = tmp_path_factory.mktemp("home")

    def run(*arguments: str, code: int = 0, stdin: object = None, **environment: str) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(cluster.kubeconfig), *arguments],
            input=None if stdin is None else yaml.safe_dump(stdin),
            env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


def database(name: str, **labels: str) -> dict[str, object]:
    return {
        "apiVersion": "apps.kubeblocks.io/v1",
        "kind": "Cluster",
        "metadata": {"name": name, "labels": labels},
        "spec": cluster_spec(),
    }


def sandbox(name: str) -> dict[str, object]:
    variable = {"name": "DATABASE_URL", "value": "postgresql://u:p@127.0.0.1:9/d"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "controlpanel"}},
        "spec": {"containers": [{"name": "main", "image": "registry.invalid/box:1", "env": [variable]}]},
    }


def apply(kubectl: Kubectl, body: object, *arguments: str, code: int = 0) -> str:
    return kubectl("apply", "-f", "-", *arguments, stdin=body, code=code)


def test_apply_creates_changes_and_leaves_alone(kubectl):
    assert apply(kubectl, database("applied")) == "cluster.apps.kubeblocks.io/applied created\n"
    assert apply(kubectl, database("applied", team="a")) == "cluster.apps.kubeblocks.io/applied configured\n"
    assert kubectl("get", "cluster", "applied", "-o", "jsonpath={.metadata.labels.team}") == "a"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": "1"}}
    assert apply(kubectl, body) == "configmap/applied created\n"
    assert apply(kubectl, body) == "configmap/applied unchanged\n"


def test_apply_on_the_server_side_keeps_owners(kubectl):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned"}, "data": {"k": "1"}}
    said = apply(kubectl, body, "--server-side", "--field-manager=one")
    assert said == "configmap/owned serverside-applied\n"
    other = apply(kubectl, {**body, "data": {"k": "2"}}, "--server-side", "--field-manager=other", code=1)
    assert 'conflict with "one": .data.k' in other


def test_unknown_field_is_refused(kubectl):
    body = {**database("odd"), "spec": {**cluster_spec(), "no-such-field": 1}}
    assert 'unknown field "spec.no-such-field"' in apply(kubectl, body, code=1)


def test_get_prints_the_columns_of_the_definition(kubectl):
    apply(kubectl, database("shown"))
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "cluster/shown", "--timeout=30s")
    header, row = kubectl("get", "clusters", "shown").splitlines()
    assert header.split() == ["NAME", "CLUSTER-DEFINITION", "TERMINATION-POLICY", "STATUS", "AGE"]
    assert row.split()[:4] == ["shown", "postgresql", "Delete", "Running"]


def test_describe_shows_status_and_conditions(kubectl):
    apply(kubectl, database("described"))
    kubectl("wait", "--for=condition=Ready", "cluster/described", "--timeout=30s")
    text = kubectl("describe", "cluster", "described")
    assert "Phase:                Running" in text
    assert "cluster described is ready" in text


def test_edit_changes_a_field(kubectl):
    apply(kubectl, database("edited"))
    editor = "sed -i s/terminationPolicy:.*/terminationPolicy:\\ WipeOut/"
    assert kubectl("edit", "cluster", "edited", KUBE_EDITOR=editor) == "cluster.apps.kubeblocks.io/edited edited\n"
    assert kubectl("get", "cluster", "edited", "-o", "jsonpath={.spec.terminationPolicy}") == "WipeOut"


def test_logs_are_those_of_the_process(kubectl):
    apply(kubectl, sandbox("box"))
    kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    wait_for(lambda: kubectl("logs", "box"), lambda text: "Listening on " in text)
    header, row = kubectl("get", "pods", "box", "-o", "wide").splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row.split()[:4] == ["box", "1/1", "Running", "0"]
    assert row.split()[5:7] == ["127.0.0.2", "devcluster"]


def test_followed_logs_end_with_the_pod(kubectl, cluster):
    apply(kubectl, sandbox("followed"))
    kubectl("wait", "--for=condition=Ready", "pod/followed", "--timeout=30s")
    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "logs", "--follow", "followed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline().startswith("Listening on ")
        kubectl("delete", "pod", "followed", "--now")
        assert following.wait(20) == 0


def test_delete_removes_what_belongs_to_it(kubectl):
    apply(kubectl, database("deleted"))
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "cluster/deleted", "--timeout=30s")
    assert kubectl("delete", "cluster", "deleted") == 'cluster.apps.kubeblocks.io "deleted" deleted\n'
    assert kubectl("get", "services", "-l", "app.kubernetes.io/instance=deleted", "-o", "name") == ""


def test_access_is_reviewed(kubectl):
    assert kubectl("auth", "can-i", "create", "clusters") == "yes\n"
    kubectl("auth", "can-i", "get", "secrets", "--as=system:serviceaccount:default:default", code=1)
    kubectl("create", "serviceaccount", "reader")
    kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader")
    robot = "--as=system:serviceaccount:default:reader"
    assert kubectl("auth", "can-i", "get", "pods", robot) == "yes\n"
    kubectl("auth", "can-i", "delete", "pods", robot, code=1)
    assert "admin" in kubectl("auth", "whoami")


def test_objects_that_kubectl_builds_arrive_whole(kubectl):
    kubectl("create", "secret", "generic", "built", "--from-literal=k=v", "--type=example.invalid/x")
    found = json.loads(kubectl("get", "secret", "built", "-o", "json"))
    assert (found["data"], found["type"]) == ({"k": "dg=="}, "example.invalid/x")
    kubectl("create", "service", "nodeport", "built", "--tcp=80:http", "--node-port=30123")
    (port,) = json.loads(kubectl("get", "service", "built", "-o", "json"))["spec"]["ports"]
    assert (port["port"], port["targetPort"], port["nodePort"]) == (80, "http", 30123)
    made = kubectl("create", "deployment", "d", "--image=x", "--replicas=0", "--dry-run=server", "-o", "json")
    assert json.loads(made)["spec"]["replicas"] == 0
    assert kubectl("create", "token", "default").count(".") == 2


def test_quota_refuses_and_is_described(kubectl):
    kubectl("create", "namespace", "full")
    kubectl("create", "quota", "none", "-n", "full", "--hard=count/clusters.apps.kubeblocks.io=0")
    wait_for(
        lambda: kubectl("get", "quota", "none", "-n", "full", "-o", "jsonpath={.status.used}"),
        lambda used: used == '{"count/clusters.apps.kubeblocks.io":"0"}',
    )
    assert "exceeded quota: none" in apply(kubectl, database("surplus"), "-n", "full", code=1)
    assert kubectl("delete", "namespace", "full") == 'namespace "full" deleted\n'


def test_watch_prints_changes(kubectl, cluster):
    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "get", "configmaps", "--watch-only", "-o", "name"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            # It says nothing when the watch begins: whatever comes afterwards is seen.
            names = [f"seen-{number}" for number in range(40)]
            for name in names:
                kubectl("create", "configmap", name)
                if watching.poll() is None and _has_output(watching):
                    break
            assert watching.stdout.readline().startswith("configmap/seen-")
        finally:
            watching.terminate()


def _has_output(process: "subprocess.Popen[str]") -> bool:
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0.2)[0])


def test_explain_and_resources_know_the_schemas(kubectl):
    text = kubectl("explain", "cluster.spec.componentSpecs")
    assert "KIND:       Cluster" in text
    assert "replicas\t<integer>" in text
    assert "containers\t<[]Container> -required-" in kubectl("explain", "statefulset.spec.template.spec")
    assert "clusters" in kubectl("api-resources", "--api-group=apps.kubeblocks.io", "-o", "name")
