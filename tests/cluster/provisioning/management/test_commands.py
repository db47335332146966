"""adopt, doctor and unknown names, on the embedded cluster with real databases."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import yaml
from django.utils import timezone

from devcluster.cluster import EmbeddedCluster, build_kubeconfig
from projects.domain.states import Origin
from projects.models import Project
from provisioning import heartbeats
from tests.factories import ProjectFactory
from tests.support.api_server import running
from tests.support.commands import run
from tests.support.passes import available_clusters, follow, is_running
from tests.support.standin_api import Api

pytestmark = pytest.mark.django_db


def test_adopted_database_has_a_working_url(cluster: EmbeddedCluster, unique_name: str) -> None:
    Api(cluster).create_cluster(f"{unique_name}-theirs")
    ran = run("adopt", unique_name, "--cluster", f"{unique_name}-theirs")
    assert ran.code == 0, ran.err
    assert f"Added the project {unique_name}" in ran.out
    assert "No queue worker is running" in ran.err
    project = follow(Project.objects.get(name=unique_name), is_running)
    assert project.database is not None
    assert project.database.origin == Origin.ADOPTED
    line = json.loads(run("status", unique_name, "--json").out)
    assert (line["database"]["cluster"], line["database"]["verified"]) == (f"{unique_name}-theirs", True)
    shown = run("credentials", unique_name, "--reveal", "--reason", "a test", "--format", "url")
    with psycopg.connect(shown.out.strip()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_adoption_of_a_missing_cluster_adds_no_project(cluster: EmbeddedCluster, unique_name: str) -> None:
    Api(cluster).create_cluster(f"{unique_name}-theirs")
    ran = run("adopt", unique_name, "--cluster", f"{unique_name}-typo")
    assert (ran.code, ran.out) == (1, "")
    assert f"There is no cluster {unique_name}-typo in namespace default. {available_clusters()}\n" in ran.err
    assert run("adopt", "../x", "--cluster", f"{unique_name}-theirs").code == 2
    assert not Project.objects.exists()


def test_adoption_of_another_projects_cluster_adds_no_project(provisioned: Project) -> None:
    assert provisioned.database is not None
    ProjectFactory(name="thief")
    ran = run("adopt", "thief", "--cluster", provisioned.database.name)
    assert ran.code == 1
    assert ran.err == f"The cluster {provisioned.database.name} belongs to another project.\n"
    ran = run("adopt", "newcomer", "--cluster", provisioned.database.name)
    assert (ran.code, ran.out) == (1, "")
    assert provisioned.database.name in ran.err
    assert provisioned.name in ran.err
    assert not Project.objects.filter(name="newcomer").exists()


def test_unknown_name_lists_the_clusters(provisioned: Project) -> None:
    assert provisioned.database is not None
    ran = run("status", "nobody")
    assert ran.code == 1
    assert ran.err.startswith(
        f"No database cluster found for project nobody (k8s name: nobody). {available_clusters()}\n"
    )


# --- doctor --------------------------------------------------------------------------------------------------------


@pytest.fixture
def processes() -> None:
    """A watcher that leads, and a queue that beats."""
    now = timezone.now()
    assert heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, now, {"in_step": True})
    heartbeats.beat_queue()


def findings(*arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    ran = run("doctor", "--json", *arguments)
    lines = map(json.loads, ran.lines)
    return ran.code, {line["check"]: (line["result"], line["message"]) for line in lines}


@pytest.mark.usefixtures("processes")
def test_doctor_passes_for_a_complete_panel(provisioned: Project, settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost"]  # as by default; Django's test runner adds its own
    code, found = findings()
    assert code == 0, found
    assert {name: said for name, said in found.items() if said[0] != "ok"} == {}
    assert {"database", "queue", "watcher", "api server", "kubeblocks", "permissions"} <= found.keys()
    assert "serves apps.kubeblocks.io/v1" in found["kubeblocks"][1]


def test_doctor_reports_missing_queue_and_watcher(cluster: EmbeddedCluster) -> None:
    code, found = findings()
    assert code == 1
    assert found["queue"] == ("failed", "No queue worker is running. Start one with `make run`.")
    assert found["watcher"][0] == "warning"
    assert found["watcher"][1].startswith("No watcher is running. Start one with `make run`. ")
    assert found["api server"][0] == "ok"


@pytest.mark.usefixtures("processes")
def test_doctor_reports_passwords_without_a_key(provisioned: Project, settings) -> None:
    from cryptography.fernet import Fernet

    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    code, found = findings()
    assert code == 1
    assert "can't be decrypted" in found["stored secrets"][1]


def _closed(cluster: EmbeddedCluster) -> str:
    return build_kubeconfig("http://127.0.0.1:9", cluster.token)


def _unresolvable(cluster: EmbeddedCluster) -> str:
    return build_kubeconfig("http://no-such-host.invalid:6443", cluster.token)


def _no_tls(cluster: EmbeddedCluster) -> str:
    return build_kubeconfig(cluster.url.replace("https:", "http:"), cluster.token)


def _no_certificate(cluster: EmbeddedCluster) -> str:
    return build_kubeconfig(cluster.url, cluster.token)


def _wrong_token(cluster: EmbeddedCluster) -> str:
    return build_kubeconfig(cluster.url, "not-the-token", cluster.authority_file.read_text())


def _no_context(cluster: EmbeddedCluster) -> str:
    return yaml.safe_dump({**yaml.safe_load(build_kubeconfig(cluster.url, cluster.token)), "current-context": "gone"})


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("write", "check", "said"),
    [
        (lambda cluster: None, "configuration", "can't be used"),
        (lambda cluster: "", "configuration", "can't be used"),
        (lambda cluster: "{[", "configuration", "can't be "),
        (_no_context, "configuration", "gone"),
        (_closed, "api server", "nothing accepts connections there"),
        (_unresolvable, "api server", "its name can't be resolved"),
        (_no_tls, "api server", "the connection broke"),
        (_no_certificate, "api server", "its certificate is not trusted"),
        (_wrong_token, "api server", "answered 401"),
    ],
    ids=[
        "no file",
        "empty",
        "not yaml",
        "no context",
        "closed port",
        "no such host",
        "no tls",
        "no certificate",
        "wrong token",
    ],
)
def test_doctor_explains_why_a_cluster_is_unreachable(
    cluster: EmbeddedCluster,
    use_cluster: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[EmbeddedCluster], str | None],
    check: str,
    said: str,
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    content = write(cluster)
    if content is not None:
        (tmp_path / "kubeconfig").write_text(content)
    use_cluster(tmp_path / "kubeconfig")
    found = assert_only_failure(check, said)
    assert cluster.token not in json.dumps(found)


def assert_only_failure(check: str, said: str) -> dict[str, tuple[str, str]]:
    code, found = findings()
    assert code == 1
    assert {name for name, (result, _) in found.items() if result == "failed"} == {check}
    assert said in found[check][1]
    assert found[check][1].endswith(".")
    assert "\n" not in found[check][1]
    return found


@pytest.mark.usefixtures("processes")
def test_doctor_explains_a_server_without_tls(
    use_cluster: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with running(tmp_path / "plain") as plain:
        kubeconfig = build_kubeconfig(plain.access.url.replace("http:", "https:"), "a-token")
        (tmp_path / "kubeconfig").write_text(kubeconfig)
        use_cluster(tmp_path / "kubeconfig")
        assert_only_failure("api server", "does not speak TLS")


@pytest.mark.usefixtures("processes")
def test_doctor_explains_how_to_start_the_embedded_cluster(
    use_cluster: Callable[[Path], None], tmp_path: Path, settings
) -> None:
    settings.EMBEDDED_CLUSTER = True
    use_cluster(tmp_path / "kubeconfig")
    assert "or it is empty. Start the embedded cluster: " in findings()[1]["configuration"][1]


@pytest.mark.usefixtures("processes")
def test_doctor_names_a_missing_permission(cluster: EmbeddedCluster) -> None:
    cluster.faults.add("status", status=403, verb="list", resource="clusters")
    code, found = findings()
    assert code == 1
    assert "answered 403" in found["api server"][1]
    assert "extend its Role" in found["api server"][1]
