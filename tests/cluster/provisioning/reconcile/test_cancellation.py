"""Cancel, delete and forget on the embedded cluster: at every step, in races, and without a cluster in reach."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from django.utils import timezone

from devcluster.controllers.scenarios import NEVER, Scenario
from projects.domain.states import DesiredState, Origin, Phase, Reason
from projects.models import DatabaseCluster, Project, SandboxTemplate
from projects.services.cancellation import request_cancel
from projects.services.forget import list_left, request_forget
from projects.services.provisioning import add_project, request_delete, request_provision, request_retry
from provisioning.inventory.adoption import request_adopt
from provisioning.kube.client import connect, disconnect
from provisioning.kube.kinds import INGRESS, POD, PVC, SECRET, SERVICE, STATEFULSET
from provisioning.objects import manifests
from provisioning.objects.names import INSTANCE_LABEL, PROJECT_ID_LABEL
from provisioning.reconcile.context import build_context
from provisioning.reconcile.lease import LeaseLostError, claim, release
from provisioning.reconcile.loop import observe_and_decide, run_pass
from provisioning.reconcile.record import record
from provisioning.reconcile.teardown import delete_objects
from tests.factories import DatabaseFactory
from tests.support.cluster_objects import CLUSTERS, apply_theirs, is_deleted, is_new, start
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db

KINDS = (CLUSTERS, STATEFULSET, SERVICE, SECRET, PVC, INGRESS, POD)


def objects_of(project: Project) -> list[str]:
    client, selector = connect(), f"{PROJECT_ID_LABEL}={project.uid}"
    return [
        f"{kind.name} {item['metadata']['name']}"
        for kind in KINDS
        for item in client.list_objects(kind, project.namespace, labels=selector)
    ]


def names_of(project: Project) -> set[str]:
    return {*project.databases.values_list("name", flat=True), *project.sandboxes.values_list("name", flat=True)}


@dataclass(frozen=True)
class Halt:
    """Where a provisioning is made to stop: a fault of the API server, or a Cluster that comes so far."""

    fault: str = ""
    resource: str = ""
    scenario: Scenario | None = None


HALTS = {
    "nothing done yet": None,
    "Cluster refused": Halt("status", "clusters"),
    "Cluster applied, answer lost": Halt("reset-after", "clusters"),
    "Cluster coming": Halt(scenario=Scenario(running_after_s=NEVER)),
    "Secret late": Halt(scenario=Scenario(secret_after_s=NEVER)),
    "environment refused": Halt("status", "secrets"),
    "Service refused": Halt("status", "services"),
    "StatefulSet refused": Halt("status", "statefulsets"),
    "StatefulSet applied, answer lost": Halt("reset-after", "statefulsets"),
}


def halted(cluster, name: str, halt: Halt | None) -> Project:
    """Return a project whose provisioning has come as far as `halt` lets it."""
    if halt and halt.scenario:
        cluster.set_scenario(name, replace(halt.scenario, match=f"{name}-*"))
    project = start(name)
    if halt is None:
        return project
    if halt.scenario:
        waits = {Reason.CLUSTER_NOT_RUNNING, Reason.SECRET_MISSING}
        return follow(project, lambda p: p.reason in waits)
    fault = cluster.faults.add(halt.fault, verb="patch", resource=halt.resource, status=503, user="admin")
    project = follow(project, lambda p: p.failures > 0)
    cluster.faults.remove(fault.id)
    return project


@pytest.mark.parametrize("halt", HALTS.values(), ids=HALTS)
def test_cancel_deletes_all_objects_at_every_step(cluster, unique_name, halt):
    project = halted(cluster, unique_name, halt)
    assert request_cancel(project, actor="tester").accepted
    project = follow(project, is_new)
    assert (project.reason, project.desired_state) == (Reason.CANCELLED, DesiredState.REGISTERED)
    assert objects_of(project) == []
    assert (project.database, project.sandbox, project.requested_at) == (None, None, None)
    assert project.next_pass_at > timezone.now() + timedelta(seconds=60), "a last look, when late passes must be over"
    assert [event.reason for event in project.events.all()[:1]] == ["Cancelled"]


def test_provision_after_a_cancellation_uses_new_names(cluster, unique_name):
    project = halted(cluster, unique_name, HALTS["StatefulSet refused"])
    before = names_of(project)
    request_cancel(project, actor="tester")
    refused = request_provision(project, actor="tester")
    assert not refused.accepted
    assert refused.reason == "Cancelling"
    project = follow(project, is_new)
    assert request_provision(project, actor="tester").accepted
    project = follow(project, is_running)
    assert project.database is not None
    assert project.sandbox is not None
    assert not {project.database.name, project.sandbox.name} & before
    assert not request_cancel(project, actor="tester").accepted, "it has run"


def test_cancel_wins_over_readiness_that_is_not_recorded(cluster, unique_name):
    project = follow(start(unique_name), lambda p: p.sandbox and p.sandbox.applied_at)
    end = timezone.now() + timedelta(seconds=20)
    while True:
        lease = claim(project.pk, timezone.now())
        assert lease is not None
        context = build_context(lease)
        decision = observe_and_decide(context, timezone.now())
        if decision.project.phase is Phase.RUNNING:
            break
        assert timezone.now() < end
        Project.objects.filter(pk=project.pk).update(lease_until=None)
    assert request_cancel(project, actor="tester").accepted
    with pytest.raises(LeaseLostError):
        record(context, decision, timezone.now())
    Project.objects.filter(pk=project.pk).update(lease_until=None)
    project = follow(project, is_new)
    assert (objects_of(project), project.has_run) == ([], False)


def test_last_pass_deletes_objects_of_an_overtaken_pass(cluster, unique_name):
    project = follow(start(unique_name), lambda p: p.database and p.database.applied_at)
    sandbox = project.sandboxes.create(name=f"{unique_name}-sandbox-late00", namespace=project.namespace)
    owner = manifests.Owner(project.kubernetes_name, project.uid)
    spec = manifests.SandboxSpec("image", {"app": 3000}, "100m", "64Mi", "1Gi")
    late = manifests.build_service(sandbox.name, sandbox.namespace, owner, spec)
    request_cancel(project, actor="tester")
    project = follow(project, is_new)
    connect().apply(late, "services")
    run_pass(project.pk)
    project = follow(project, is_new)
    assert objects_of(project) == []


def test_cancel_releases_an_adopted_cluster(cluster, unique_name):
    name = f"{unique_name}-theirs"
    cluster.set_scenario(name, Scenario(match=name, secret_after_s=NEVER))
    apply_theirs(name)
    project = add_project(unique_name, actor="tester")
    assert request_adopt(project, name, actor="tester").accepted
    project = follow(project, lambda p: p.database and p.database.applied_at)
    request_cancel(project, actor="tester")
    project = follow(project, is_new)
    theirs = connect().get_or_none(CLUSTERS, "default", name)
    assert theirs is not None
    assert PROJECT_ID_LABEL not in theirs["metadata"].get("labels", {})


def test_cancel_keeps_a_cluster_older_than_the_request(cluster, unique_name):
    """As after the panel's database was restored from a backup: the Cluster is ours by its labels, and has data."""
    name = f"{unique_name}-agentruntime-before"
    project = add_project(unique_name, actor="tester")
    cluster.set_scenario(name, Scenario(match=name, secret_after_s=NEVER))
    apply_theirs(name, **{PROJECT_ID_LABEL: str(project.uid), "controlpanel.fullstackagent.io/origin": "created"})
    request_provision(project, actor="tester", may_adopt=True)
    project = follow(project, lambda p: p.database and p.database.applied_at)
    # Only rows prove that the panel created a Cluster.
    assert (project.database.name, project.database.origin) == (name, Origin.ADOPTED)
    DatabaseCluster.objects.update(requested_at=timezone.now() + timedelta(hours=1))
    request_cancel(project, actor="tester")
    project = follow(project, is_new)
    kept = connect().get_or_none(CLUSTERS, "default", name)
    assert kept is not None
    assert "deletionTimestamp" not in kept["metadata"]
    assert objects_of(project) == []


def test_stuck_cancellation_names_what_is_left_and_can_be_forgotten(cluster, unique_name, settings):
    settings.READY_TIMEOUT_S = 1
    cluster.set_scenario(unique_name, Scenario(match=f"{unique_name}-*", slow_delete_s=60))
    project = follow(start(unique_name), lambda p: p.database and p.database.applied_at)
    request_cancel(project, actor="tester")
    project = follow(project, lambda p: p.phase == Phase.FAILED)
    assert f"Cluster {project.database.name}" in project.message
    assert project.reason == Reason.DEADLINE_EXCEEDED
    assert request_retry(project, actor="tester").accepted
    assert request_forget(project, actor="tester").accepted


# --- delete --------------------------------------------------------------------------------------------------------


def test_deletion_deletes_certificates_of_its_ingresses(cluster, unique_name, settings):
    """cert-manager leaves the Secret of an Ingress that goes."""
    settings.SANDBOX_DOMAIN, settings.SANDBOX_CLUSTER_ISSUER = "apps.example.com", "issuer"
    project = follow(start(unique_name), is_running)
    client, name = connect(), f"{project.sandbox.name}-app-tls"
    for secret in (name, f"{unique_name}-other-tls"):
        metadata = {"name": secret, "namespace": "default", "labels": {"controller.cert-manager.io/fao": "true"}}
        client.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "type": "kubernetes.io/tls",
                "data": {"tls.crt": "", "tls.key": ""},
            },
            "secrets",
        )
    request_delete(project, actor="tester")
    project = follow(project, is_deleted)
    left = {item["metadata"]["name"] for item in client.list_objects(SECRET, "default")}
    assert name not in left
    assert f"{unique_name}-other-tls" in left
    assert "Backups that KubeBlocks made" in project.events.get(reason="Deleted").message
    assert not project.applied.exists()


# --- forget --------------------------------------------------------------------------------------------------------


def test_forget_lists_existing_objects(provisioned, settings):
    """The names come from rows alone: here they are compared with the cluster."""
    kinds = {kind.name: kind for kind in KINDS}
    client = connect()
    for left in list_left(provisioned):
        found = {item["metadata"]["name"] for item in client.list_objects(kinds[left.kind], left.namespace)}
        assert left.name in found, str(left)


def test_forget_lists_ingresses_and_certificates_of_a_template(cluster, unique_name):
    """They come from what was applied, not from the settings of today."""
    template = SandboxTemplate.objects.create(
        name="web", image="web:1", ports="app:3000,api:3001", domain="apps.example.com", cluster_issuer="issuer"
    )
    project = add_project(unique_name, actor="tester", template=template)
    request_provision(project, actor="tester")
    project = follow(project, lambda p: p.sandbox and p.sandbox.applied_at)
    name, left = project.sandbox.name, list_left(project)
    ingresses = {item["metadata"]["name"] for item in connect().list_objects(INGRESS, "default")}
    assert {item.name for item in left if item.kind == "Ingress"} == {f"{name}-app", f"{name}-api"} <= ingresses
    assert {item.name for item in left if item.kind == "Secret"} >= {f"{name}-app-tls", f"{name}-api-tls"}


def test_forget_names_the_object_that_blocked_the_deletion(provisioned, unique_name):
    """The volume of a database that was replaced: a deletion waits for it, and it costs money once it is forgotten."""
    DatabaseFactory.create(
        project=provisioned, name=unique_name, namespace="default", retired_at=timezone.now(), reason="ClusterMissing"
    )
    client, name = connect(), f"data-{unique_name}-postgresql-0"
    labels = {INSTANCE_LABEL: unique_name, "app.kubernetes.io/managed-by": "kubeblocks"}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": "default", "labels": labels}
    volume = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    client.apply(volume, "persistentvolumeclaims")
    request_delete(provisioned, actor="tester")
    follow(
        provisioned, lambda p: p.reason == Reason.DELETING and p.message == f"Deleting PersistentVolumeClaim {name}."
    )
    Project.objects.filter(pk=provisioned.pk).update(deletion_deadline=timezone.now() - timedelta(hours=1))
    project = follow(provisioned, lambda p: p.phase == Phase.FAILED)
    assert name not in {item.name for item in list_left(project)}
    assert request_forget(project, actor="tester").accepted
    assert f": PersistentVolumeClaim {name}." in project.events.get(reason=Reason.FORGOTTEN).message
    client.delete(PVC, "default", name)


def out_of_reach(settings, tmp_path) -> None:
    settings.KUBECONFIG = str(tmp_path / "none")
    disconnect()


def test_forget_changes_nothing_in_the_cluster(provisioned, cluster):
    """A finalizer is stuck; a pass that was queued before does nothing either."""
    name = provisioned.database.name
    cluster.set_scenario(provisioned.name, Scenario(match=f"{name}", slow_delete_s=60))
    request_delete(provisioned, actor="tester")
    before = objects_of(provisioned)
    assert request_forget(provisioned, actor="tester").accepted
    for _ in range(2):
        run_pass(provisioned.pk)
    project = Project.objects.get(pk=provisioned.pk)
    assert (project.phase, project.reason, project.next_pass_at) == (Phase.DELETED, Reason.FORGOTTEN, None)
    assert objects_of(project) == before
    assert f"Cluster default/{name}" in project.events.get(reason=Reason.FORGOTTEN).message
    cluster.set_scenario(provisioned.name, None)


def test_object_created_after_the_observation_is_not_deleted(provisioned):
    request_delete(provisioned, actor="tester")
    lease = claim(provisioned.pk, timezone.now())
    assert lease is not None
    context = build_context(lease)
    observe_and_decide(context, timezone.now())
    kube, name = connect(), manifests.environment_secret_name(provisioned.sandbox.name)
    kube.delete(SECRET, "default", name)
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}}
    kube.apply(theirs, "secrets")
    delete_objects(context)
    assert kube.get_or_none(SECRET, "default", name) is not None
    release(lease, next_pass_at=timezone.now(), now=timezone.now())
    follow(provisioned, is_deleted)
    assert kube.delete(SECRET, "default", name)


def test_running_pass_does_not_undo_forget(provisioned):
    request_delete(provisioned, actor="tester")
    lease = claim(provisioned.pk, timezone.now())
    assert lease is not None
    context = build_context(lease)
    decision = observe_and_decide(context, timezone.now())
    request_forget(provisioned, actor="tester")
    with pytest.raises(LeaseLostError):
        record(context, decision, timezone.now())
    assert Project.objects.get(pk=provisioned.pk).reason == Reason.FORGOTTEN


def test_forget_works_without_a_cluster(provisioned, settings, tmp_path):
    out_of_reach(settings, tmp_path)
    project = follow(provisioned, lambda p: p.failures > 0)
    assert request_forget(project, actor="tester").accepted
    run_pass(project.pk)
    assert Project.objects.get(pk=project.pk).reason == Reason.FORGOTTEN


def test_forget_works_with_an_expired_token(provisioned, cluster):
    cluster.faults.add("status", status=401, user="admin")
    project = follow(provisioned, lambda p: p.failures > 0)
    assert project.reason == Reason.CLUSTER_REFUSED
    assert request_forget(project, actor="tester").accepted


def test_project_in_a_missing_namespace_can_be_deleted(cluster, unique_name, settings):
    settings.ALLOWED_NAMESPACES = [f"gone-{unique_name}"]
    project = add_project(unique_name, actor="tester", namespace=f"gone-{unique_name}")
    request_provision(project, actor="tester")
    project = follow(project, lambda p: p.reason == Reason.NAMESPACE_MISSING)
    request_delete(project, actor="tester")
    follow(project, is_deleted)


def test_project_that_never_ran_is_deleted_without_a_cluster(settings, tmp_path):
    out_of_reach(settings, tmp_path)
    project = add_project("nothing", actor="tester")
    request_delete(project, actor="tester")
    run_pass(project.pk)
    assert Project.objects.get(pk=project.pk).phase == Phase.DELETED


@pytest.mark.parametrize("request_end", [request_delete, request_cancel])
def test_ended_project_settles_without_a_cluster(cluster, unique_name, use_cluster, tmp_path, request_end):
    """One more pass looks for objects of a late effect. No button is offered for it."""
    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    run_pass(project.pk)
    request_end(project, actor="tester")
    ended = follow(project, lambda row: row.has_ended)
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", cluster.kubeconfig.read_text()))
    use_cluster(nowhere)
    for _ in range(13):
        assert ended.next_pass_at is not None
        run_pass(ended.pk)
        before, ended = ended, Project.objects.get(pk=ended.pk)
        assert (ended.phase, ended.reason, ended.message) == (before.phase, before.reason, before.message)
    assert (ended.next_pass_at, ended.failures) == (None, 0)
