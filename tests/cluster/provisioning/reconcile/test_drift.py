"""Drift on the embedded cluster: found, shown, reverted or only reported, without values of Secrets."""

import base64
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import DriftPolicy, Origin, Phase, Reason
from projects.models import Project, ProjectVariable
from projects.services.adoption import Adoptable, request_adopt
from projects.services.provisioning import add_project, request_provision, request_update
from provisioning.decisions.types import Action
from provisioning.kube.client import connect
from provisioning.kube.kinds import SECRET, SERVICE, STATEFULSET
from provisioning.objects.manifests import environment_secret_name
from provisioning.objects.names import ORIGIN_LABEL, PROJECT_ID_LABEL
from provisioning.reconcile.apply import apply_action
from provisioning.reconcile.context import build_context
from provisioning.reconcile.drift import REVERTED
from provisioning.reconcile.lease import claim
from provisioning.reconcile.loop import observe_and_decide, run_pass
from tests.support.cluster_objects import CLUSTERS, change
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def checked(project: Project) -> Project:
    run_pass(project.pk)
    return Project.objects.with_resources().get(pk=project.pk)


def paths(project: Project) -> set[tuple[str, str]]:
    return {(item["object"].split()[0], item["path"]) for item in project.drift}


def drift_everything(project: Project) -> None:
    sandbox, database = project.sandbox, project.database
    change(STATEFULSET, sandbox.name, {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 99}}}})
    change(SERVICE, sandbox.name, {"spec": {"ports": [{"name": "app", "port": 99, "targetPort": "app"}]}})
    change(SECRET, environment_secret_name(sandbox.name), {"data": {"PROJECT_NAME": "b3RoZXI="}})
    change(CLUSTERS, database.name, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}})


EVERYTHING = {
    ("StatefulSet", "spec.template.spec.terminationGracePeriodSeconds"),
    ("Service", "spec.ports[app].port"),
    ("Secret", "data.PROJECT_NAME"),
    ("Cluster", "metadata.labels.app.kubernetes.io/managed-by"),
}


def test_new_project_has_no_drift(provisioned):
    project = checked(provisioned)
    assert (project.reason, project.drift) == (Reason.READY, [])
    kinds = set(project.applied.values_list("kind", flat=True))
    assert kinds == {"Cluster", "Secret", "Service", "StatefulSet"}


def test_drift_is_reverted_and_recorded(provisioned):
    drift_everything(provisioned)
    checked(provisioned)
    project = follow(provisioned, lambda p: is_running(p) and p.reason == Reason.READY)
    assert project.drift == []
    event = project.events.get(reason=REVERTED)
    assert "spec.ports[app].port: applied 3000, now 99" in event.message
    assert "data.PROJECT_NAME: applied a value, now another value" in event.message
    client, name = connect(), project.sandbox.name
    statefulset = client.get_or_none(STATEFULSET, "default", name)
    assert statefulset["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 10
    assert client.get_or_none(SERVICE, "default", name)["spec"]["ports"][0]["port"] == 3000
    (secret,) = client.list_objects(SECRET, "default", labels=f"app.kubernetes.io/instance={name}")
    assert base64.b64decode(secret["data"]["PROJECT_NAME"]).decode() == project.name
    assert paths(checked(project)) == set()


def test_restart_after_an_update_is_no_drift(provisioned):
    ProjectVariable.objects.create(project=provisioned, name="COLOR", value=EncryptedText.of("blue"))
    assert request_update(provisioned, actor="tester", change="changed variables").accepted
    before = provisioned.sandbox.environment_digest
    follow(provisioned, lambda p: is_running(p) and p.sandbox.environment_digest != before)
    run_pass(provisioned.pk)
    project = Project.objects.get(pk=provisioned.pk)
    assert not project.drift
    assert not project.events.filter(reason__in=[REVERTED, Reason.DRIFTED]).exists()
    assert project.events.filter(reason="SandboxApplied").count() == 2


def test_report_policy_reverts_nothing(provisioned):
    Project.objects.filter(pk=provisioned.pk).update(drift_policy=DriftPolicy.REPORT)
    checked(provisioned)
    change(SERVICE, provisioned.sandbox.name, {"spec": {"ports": [{"name": "app", "port": 99, "targetPort": "app"}]}})
    change(CLUSTERS, provisioned.database.name, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}})
    project = checked(provisioned)
    assert (project.phase, project.reason) == (Phase.RUNNING, Reason.DRIFTED)
    assert paths(project) == {item for item in EVERYTHING if item[0] in ("Service", "Cluster")}
    assert "The drift policy is Report only." in project.message
    checked(project)
    assert project.events.filter(reason=Reason.DRIFTED).count() == 1
    Project.objects.filter(pk=provisioned.pk).update(drift_policy="")
    project = follow(project, lambda p: p.reason == Reason.READY)
    assert project.drift == []


def test_spec_of_a_cluster_is_reported_and_never_reverted(provisioned):
    change(CLUSTERS, provisioned.database.name, {"spec": {"terminationPolicy": "WipeOut"}})
    project = follow(provisioned, lambda p: p.reason == Reason.DRIFTED)
    assert paths(project) == {("Cluster", "spec.terminationPolicy")}
    assert "OpsRequest" in project.message
    assert connect().get_or_none(CLUSTERS, "default", project.database.name)["spec"]["terminationPolicy"] == "WipeOut"


def killed_after_its_request(project: Project, cluster: Any) -> None:
    """A worker applies the Cluster, and dies before it has recorded that."""
    lease = claim(project.pk, timezone.now())
    assert lease is not None
    context = build_context(lease)
    for action in (Action.ENSURE_DATABASE, Action.APPLY_CLUSTER):
        assert observe_and_decide(context, timezone.now()).action is action
        apply_action(action, context, timezone.now())
    Project.objects.filter(pk=project.pk).update(lease_until=timezone.now())


def loses_its_answer(project: Project, cluster: Any) -> None:
    """The API server executes the request and its repetition, but the answers are lost."""
    cluster.faults.add("reset-after", verb="patch", resource="clusters", user="admin", count=2)
    run_pass(project.pk)


def edit_outside(name: str) -> None:
    change(CLUSTERS, name, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}})
    live = connect().get_or_none(CLUSTERS, "default", name)
    (component,) = live["spec"]["componentSpecs"]
    quantities = {"cpu": "700m", "memory": component["resources"]["limits"]["memory"]}
    change(CLUSTERS, name, {"spec": {"componentSpecs": [{**component, "resources": {"limits": quantities}}]}})


@pytest.mark.parametrize("is_edited_before", [True, False], ids=["edited before it is found", "edited when it runs"])
@pytest.mark.parametrize("lose", [killed_after_its_request, loses_its_answer])
def test_cluster_without_a_recorded_answer_is_checked_for_drift(
    cluster, unique_name, settings, lose: Callable[[Project, Any], None], is_edited_before: bool
):
    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    lose(project, cluster)
    database = project.databases.get()
    made = connect().get_or_none(CLUSTERS, "default", database.name)
    assert (database.applied_at, made is not None) == (None, True)
    settings.DATABASE_MEMORY = "2Gi"  # what was sent counts, not what would be sent now
    if not is_edited_before:
        follow(project, is_running)
    edit_outside(database.name)
    project = follow(project, lambda p: is_running(p) and p.reason == Reason.DRIFTED)
    resources = "spec.componentSpecs[postgresql].resources"
    changed = ("limits.cpu", "requests.cpu", "requests.memory")
    assert paths(project) == {("Cluster", f"{resources}.{path}") for path in changed}
    assert f"{resources}.limits.cpu: applied 500m, now 700m" in project.message
    (ours,) = connect().list_objects(CLUSTERS, "default", labels=f"{PROJECT_ID_LABEL}={project.uid}")
    assert ours["metadata"]["uid"] == made["metadata"]["uid"] == project.database.object_uid
    assert ours["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "controlpanel", "labels are taken back"
    assert ours["spec"]["componentSpecs"][0]["resources"]["limits"]["cpu"] == "700m", "the spec is sent once"


def said_to_be_gone(project: Project, cluster: Any) -> str:
    """A young Cluster whose API server says once that it is gone; return its name."""
    request_provision(project, actor="tester")
    run_pass(project.pk)
    cluster.faults.add("status", status=404, verb="get", resource="clusters", user="admin", count=1)
    return project.databases.get().name


def test_cluster_reported_missing_once_is_still_checked_for_drift(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    name = said_to_be_gone(project, cluster)
    project = follow(project, is_running)
    assert project.events.filter(reason__in=["ClusterVanished", "ClusterFound"]).count() == 2
    assert list(project.databases.values_list("name", "origin")) == [(name, Origin.CREATED)] * 2
    edit_outside(name)
    project = follow(project, lambda p: is_running(p) and p.reason == Reason.DRIFTED)
    assert {kind for kind, _ in paths(project)} == {"Cluster"}


def remembered_clusters(project: Project) -> list[str]:
    return list(project.applied.filter(kind="Cluster").values_list("name", flat=True))


def test_manifest_is_dropped_with_a_missing_cluster(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    name = said_to_be_gone(project, cluster)
    change(CLUSTERS, name, {"metadata": {"labels": {PROJECT_ID_LABEL: str(uuid.uuid4())}}})
    project = follow(project, is_running)
    assert project.database.name != name
    assert remembered_clusters(project) == [project.database.name]


def test_origin_label_does_not_make_a_created_cluster_adopted(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    name = said_to_be_gone(project, cluster)
    change(CLUSTERS, name, {"metadata": {"labels": {ORIGIN_LABEL: "adopted"}}})
    project = follow(project, is_running)
    assert (project.database.name, project.database.origin) == (name, Origin.CREATED)
    assert remembered_clusters(project) == [name]


def test_manifest_is_dropped_when_the_cluster_is_adopted(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    name = said_to_be_gone(project, cluster)
    change(CLUSTERS, name, {"metadata": {"labels": {PROJECT_ID_LABEL: None}}})
    project.databases.update(object_uid="")
    project = follow(project, lambda p: p.reason == Reason.ADOPTION_NEEDED)
    live = connect().get_or_none(CLUSTERS, "default", name)
    found = Adoptable("default", name, live["metadata"]["uid"], live["apiVersion"])
    assert request_adopt(project, found, actor="tester").accepted
    project = follow(project, is_running)
    assert (project.database.name, project.database.origin) == (name, Origin.ADOPTED)
    assert remembered_clusters(project) == []


def test_deleted_objects_are_created_again(provisioned):
    client, name = connect(), provisioned.sandbox.name
    checked(provisioned)
    client.delete(SERVICE, "default", name)
    client.delete(SECRET, "default", environment_secret_name(name))
    project = checked(provisioned)
    project = follow(project, lambda p: p.reason == Reason.READY)
    assert f"Service {name} is gone" in project.events.get(reason=REVERTED).message
    assert client.get_or_none(SERVICE, "default", name) is not None


def test_sandbox_scaled_to_zero_is_scaled_back(provisioned):
    change(STATEFULSET, provisioned.sandbox.name, {"spec": {"replicas": 0}})
    run_pass(provisioned.pk)
    project = follow(provisioned, lambda p: p.reason == Reason.READY)
    assert "spec.replicas: applied 1, now 0" in project.events.get(reason=REVERTED).message


def test_repeated_drift_is_only_reported_in_the_end(provisioned):
    for number in range(90, 94):
        ports = [{"name": "app", "port": number, "targetPort": "app"}]
        change(SERVICE, provisioned.sandbox.name, {"spec": {"ports": ports}})
        project = checked(provisioned)
    assert (project.reason, project.events.filter(reason=REVERTED).count()) == (Reason.DRIFTED, 3)
    assert "reverted this several times" in project.message


def test_stored_manifests_contain_no_secret(provisioned):
    password = provisioned.database.password.reveal()
    kept = str([row.manifest for row in provisioned.applied.all()])
    assert password not in kept
    assert base64.b64encode(password.encode()).decode() not in kept


def test_drift_check_sends_at_most_eight_requests(provisioned, cluster):
    client = connect()
    checked(provisioned)
    client._request("DELETE", "/devcluster/requests")
    checked(provisioned)
    rows = client._request("GET", "/devcluster/requests")["requests"]
    asked = {(row["verb"], row["resource"]): row["count"] for row in rows if row["user"] == "admin"}
    asked.pop(("delete", "/devcluster/requests"), None)
    assert sum(asked.values()) <= 8, asked
    assert not [verb for verb, _ in asked if verb not in ("get", "list")]
