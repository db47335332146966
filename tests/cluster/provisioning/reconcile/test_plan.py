"""Plans and dry runs: they report what a pass would do, and change nothing."""

import json
from typing import Any

import pytest

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import DriftPolicy, Phase, Reason
from projects.models import Event, Project
from projects.services.provisioning import add_project, request_provision
from provisioning.kube.client import connect
from provisioning.kube.kinds import SERVICE
from provisioning.objects.names import PROJECT_ID_LABEL
from tests.support.cluster_objects import CLUSTERS, apply_theirs, change
from tests.support.commands import run
from tests.support.passes import follow

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def embedded(cluster):
    """Every plan is made against the embedded cluster."""


def plan_of(*arguments: str) -> Any:
    ran = run(*arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.lines[0])


def test_new_project_gets_a_cluster(unique_name):
    project = add_project(unique_name, actor="tester")
    assert plan_of("plan", unique_name)["action"] == ""
    planned = plan_of("provision", unique_name, "--dry-run")
    assert planned["action"] == "apply_cluster"
    (item,) = planned["objects"]
    assert item["name"] == f"Cluster default/{unique_name}-agentruntime-xxxxxx"
    assert item["note"] == "new"
    assert {"spec.terminationPolicy", "spec.clusterDef"} <= {change["path"] for change in item["diff"]}
    assert planned["afterwards"][-1] == "sandbox ready"
    project.refresh_from_db()
    assert (project.phase, project.databases.count(), Event.objects.filter(project=project).count()) == (
        Phase.NEW,
        0,
        1,
    )
    assert connect().list_objects(CLUSTERS, "default", labels=f"{PROJECT_ID_LABEL}={project.uid}") == []


def test_unknown_name_is_added(unique_name):
    ran = run("provision", unique_name, "--dry-run")
    assert (ran.code, "would be added" in ran.err) == (0, True)
    assert not Project.objects.filter(name=unique_name).exists()


def test_plan_of_a_new_project_is_json(unique_name):
    planned = plan_of("provision", unique_name, "--dry-run")
    assert (planned["project"], planned["adds_project"], planned["action"]) == (unique_name, True, "apply_cluster")
    assert [item["name"] for item in planned["objects"]] == [f"Cluster default/{unique_name}-agentruntime-xxxxxx"]
    assert not Project.objects.exists()


def test_cluster_of_the_same_name_is_adopted(unique_name):
    apply_theirs(unique_name)
    planned = plan_of("provision", unique_name, "--dry-run")
    assert (planned["adds_project"], planned["action"], planned["message"]) == (True, "adopt_cluster", "")
    (item,) = planned["objects"]
    assert (item["verb"], item["name"]) == ("label", f"Cluster default/{unique_name}")
    assert f"metadata.labels.{PROJECT_ID_LABEL}" in {change["path"] for change in item["diff"]}
    assert (
        f"{unique_name} would adopt {unique_name}, a Cluster that exists"
        in run("provision", unique_name, "--dry-run").out
    )
    assert not Project.objects.exists()
    assert PROJECT_ID_LABEL not in connect().get_or_none(CLUSTERS, "default", unique_name)["metadata"]["labels"]
    connect().delete(CLUSTERS, "default", unique_name)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_unreachable_cluster_has_no_plan(unique_name, use_cluster, tmp_path, arguments):
    use_cluster(tmp_path / "no-such-file")
    ran = run("provision", unique_name, "--dry-run", *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert f"{unique_name}: The kubeconfig " in ran.err
    assert "would be added" not in ran.err


def test_drift_is_shown_as_a_diff(provisioned):
    ports = [{"name": "app", "port": 99, "targetPort": "app"}]
    change(SERVICE, provisioned.sandbox.name, {"spec": {"ports": ports}})
    ran = run("plan", provisioned.name)
    assert "would revert changes made outside the panel" in ran.out
    assert "    - spec.ports[app].port: 99" in ran.out
    assert "    + spec.ports[app].port: 3000" in ran.out
    live = connect().get_or_none(SERVICE, "default", provisioned.sandbox.name)
    assert live["spec"]["ports"][0]["port"] == 99
    Project.objects.filter(pk=provisioned.pk).update(drift_policy=DriftPolicy.REPORT)
    reported = plan_of("plan", provisioned.name)
    assert (reported["action"], reported["drift"][0]["path"]) == ("", "spec.ports[app].port")


def test_changed_environment_is_shown_without_values(provisioned):
    provisioned.variables.create(name="TOKEN", value=EncryptedText.of("hunter2-hunter2"))
    planned = plan_of("plan", provisioned.name)
    assert planned["action"] == "apply_sandbox"
    changed = {item["name"].split()[0]: [change["path"] for change in item["diff"]] for item in planned["objects"]}
    assert changed["Secret"] == ["data.TOKEN"]
    assert changed["Service"] == []
    assert any("env[TOKEN]" in path for path in changed["StatefulSet"])
    said = json.dumps(planned)
    assert "hunter2" not in said
    assert provisioned.database.password.reveal() not in said


def test_adoption_is_planned(unique_name):
    name = f"{unique_name}-theirs"
    apply_theirs(name)
    foreseen = run("adopt", unique_name, "--cluster", name, "--dry-run")
    assert (foreseen.code, f"{unique_name} would adopt {name}" in foreseen.out) == (0, True)
    assert "would be added" in foreseen.err
    planned = plan_of("adopt", unique_name, "--cluster", name, "--dry-run")
    assert (planned["adds_project"], planned["action"]) == (True, "adopt_cluster")
    assert [item["name"] for item in planned["objects"]] == [f"Cluster default/{name}"]
    add_project(f"{unique_name}b", actor="tester")
    planned = plan_of("adopt", f"{unique_name}b", "--cluster", name, "--dry-run")
    assert (planned["adds_project"], planned["action"]) == (False, "adopt_cluster")
    missing = run("adopt", unique_name, "--cluster", "no-such", "--dry-run")
    assert (missing.code, "There is no cluster no-such" in missing.err) == (1, True)
    assert not Project.objects.filter(name=unique_name).exists()
    assert PROJECT_ID_LABEL not in connect().get_or_none(CLUSTERS, "default", name)["metadata"]["labels"]
    connect().delete(CLUSTERS, "default", name)


def test_deletion_and_cancellation_are_planned(provisioned, unique_name):
    planned = plan_of("delete", provisioned.name, "--dry-run")
    assert (planned["action"], planned["message"]) == ("delete_objects", "")
    said = run("delete", provisioned.name, "--dry-run").out
    assert said.splitlines()[0] == f"{provisioned.name} would delete its objects in the cluster."
    assert "Deleting" not in said
    assert f"Cluster default/{provisioned.database.name}" in {
        item["name"] for item in planned["objects"] if item["verb"] == "delete"
    }
    provisioned.refresh_from_db()
    assert provisioned.phase == Phase.RUNNING
    refused = run("cancel", provisioned.name, "--dry-run")
    assert (refused.code, "has run" in refused.err) == (1, True)
    other = add_project(f"{unique_name}b", actor="tester")
    request_provision(other, actor="tester")
    follow(other, lambda p: p.database and p.database.applied_at)
    assert plan_of("cancel", other.name, "--dry-run")["action"] == "delete_objects"


def test_retry_is_planned_with_its_request(provisioned):
    """A plan alone says what a pass does without it: nothing, where only a person may have the data given up."""
    connect().delete(CLUSTERS, "default", provisioned.database.name)
    follow(provisioned, lambda p: p.reason == Reason.CLUSTER_MISSING)
    assert plan_of("plan", provisioned.name)["action"] == ""
    planned = plan_of("retry", provisioned.name, "--dry-run")
    assert (planned["action"], planned["message"]) == ("replace_database", "")
    provisioned.refresh_from_db()
    assert (provisioned.phase, provisioned.reason) == (Phase.FAILED, Reason.CLUSTER_MISSING)
    refused = run("retry", add_project(f"{provisioned.name}b", actor="tester").name, "--dry-run")
    assert (refused.code, "Press Provision instead" in refused.err) == (1, True)


def test_password_rotation_is_planned(provisioned):
    planned = plan_of("rotate_password", provisioned.name, "--dry-run")
    assert (planned["action"], planned["message"]) == ("rotate_password", "")
    assert "restart the sandbox" in planned["afterwards"][0]
    assert plan_of("plan", provisioned.name)["action"] == ""
    provisioned.databases.update(origin="adopted")
    for option, code in (("--with-adopted", 0), ("--json", 1)):
        ran = run("rotate_password", provisioned.name, "--dry-run", option)
        assert (ran.code, "was adopted" in ran.err) == (code, bool(code))
    assert provisioned.databases.get().rotation_requested_at is None
    provisioned.databases.update(origin="created")
