"""What the deletion of a project deletes, releases and keeps on the embedded cluster."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from devcluster.controllers.scenarios import NEVER, Scenario
from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import DesiredState, Origin, Reason
from projects.models import DatabaseCluster, Orphan, OrphanAction, ProjectVariable
from projects.services.cancellation import request_cancel
from projects.services.orphans import request_orphan
from projects.services.provisioning import add_project, request_delete, request_provision, request_update
from provisioning.decisions.types import Action
from provisioning.inventory.adoption import request_adopt
from provisioning.inventory.clusters import take_inventory
from provisioning.inventory.orphans import end_orphan, judge, read_known
from provisioning.kube.client import connect
from provisioning.kube.kinds import PVC, SECRET, SERVICE, STATEFULSET, Kind
from provisioning.objects.names import INSTANCE_LABEL, MANAGED_BY_LABEL, ORIGIN_LABEL, PROJECT_ID_LABEL, project_id_of
from provisioning.objects.readers import Object, labels_of, metadata_of, uid_of
from provisioning.reconcile.apply import apply_action
from provisioning.reconcile.context import build_context
from provisioning.reconcile.lease import LeaseLostError, claim, release
from provisioning.reconcile.loop import observe_and_decide
from provisioning.reconcile.plan import plan
from tests.support.cluster_objects import CLUSTERS, apply_theirs, change, is_deleted, is_new, start
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db

STRANGER = "11111111-1111-1111-1111-111111111111"


def cluster_called(name: str) -> Object | None:
    return connect().get_or_none(CLUSTERS, "default", name)


def is_released(name: str) -> bool:
    there = cluster_called(name)
    return there is not None and PROJECT_ID_LABEL not in labels_of(there)


def relabel(kind: Kind, name: str, labels: dict[str, str | None]) -> None:
    change(kind, name, {"metadata": {"labels": labels}})


def apply_secret(name: str, **labels: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "data": {},
    }
    connect().apply(manifest, "secrets")


def is_there(kind: Kind, name: str) -> bool:
    return name in {metadata_of(item)["name"] for item in connect().list_objects(kind, "default")}


@pytest.mark.parametrize("deletes_adopted", [False, True])
def test_cluster_labeled_by_hand_is_left_alone(provisioned, unique_name, deletes_adopted):
    """It has the project's label but no row: anyone who may write Clusters can label others' Clusters."""
    theirs, ours = f"{unique_name}-theirs", provisioned.database.name
    apply_theirs(theirs, **{PROJECT_ID_LABEL: str(provisioned.uid)})
    request_delete(provisioned, actor="tester", delete_adopted=deletes_adopted)
    project = follow(provisioned, is_deleted)
    assert labels_of(cluster_called(theirs))[PROJECT_ID_LABEL] == str(provisioned.uid)
    assert cluster_called(ours) is None
    assert f"Cluster {theirs}" in project.events.get(reason="Deleted").message
    assert not project.events.filter(reason="ClusterReleased").exists()


def test_only_the_adopted_one_of_two_labeled_clusters_is_released(cluster, unique_name):
    """The way out of `ClusterAmbiguous` is to adopt one of them: the other one keeps the label."""
    project = start(unique_name)
    names = [f"{unique_name}-one", f"{unique_name}-two"]
    for name in names:
        apply_theirs(name, **{PROJECT_ID_LABEL: str(project.uid)})
    project = follow(project, lambda p: p.reason == Reason.CLUSTER_AMBIGUOUS)
    assert request_adopt(project, names[1], actor="tester").accepted
    request_delete(follow(project, is_running), actor="tester")
    follow(project, is_deleted)
    assert [is_released(name) for name in names] == [False, True]
    assert cluster_called(names[0]) is not None


def test_cluster_without_its_origin_label_is_deleted(provisioned):
    """The row tells."""
    name = provisioned.database.name
    relabel(CLUSTERS, name, {ORIGIN_LABEL: None})
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert cluster_called(name) is None


def test_secret_labeled_by_hand_is_kept_and_named(provisioned, unique_name):
    """The orphans' page says that it is not the panel's to delete: a deletion goes by the same rule."""
    name, uid = f"{unique_name}-notes", str(provisioned.uid)
    apply_secret(name, **{PROJECT_ID_LABEL: uid})
    secrets = connect().list_objects(SECRET, "default", labels=PROJECT_ID_LABEL)
    item = next(item for item in secrets if metadata_of(item)["name"] == name)
    orphan = judge("Secret", item, read_known("default", [uid]), timezone.now())
    assert orphan is not None
    assert (orphan.is_deletable, "never deletes it" in orphan.explanation) == (False, True)
    foreseen = plan(provisioned, timezone.now(), desired=DesiredState.DELETED)
    assert [item.verb for item in foreseen.objects if item.name == f"Secret default/{name}"] == ["keep"]
    request_delete(provisioned, actor="tester")
    project = follow(provisioned, is_deleted)
    assert is_there(SECRET, name)
    assert f"Secret {name}" in project.events.get(reason="Deleted").message


@pytest.mark.parametrize("kind", [STATEFULSET, SERVICE, SECRET, PVC], ids=lambda kind: kind.name)
def test_object_with_another_managed_by_label_is_deleted(provisioned, kind):
    """Another tool has put its own `managed-by` on what is called after the project's sandbox."""
    sandbox = provisioned.sandbox.name
    labels = f"{INSTANCE_LABEL}={sandbox}"
    (item,) = connect().list_objects(kind, "default", labels=labels)
    name = metadata_of(item)["name"]
    relabel(kind, name, {MANAGED_BY_LABEL: "another-tool"})
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert not is_there(kind, name)


# --- "also delete adopted databases" is about the one that people were shown -----------------------------------------


@pytest.mark.parametrize("is_labeled", [False, True])
def test_first_choice_of_an_adoption_is_released(cluster, unique_name, is_labeled):
    """A pass has no time to take it over, or labels it and can't store that anymore: people choose another one."""
    first, chosen = f"{unique_name}-first", f"{unique_name}-chosen"
    apply_theirs(first)
    apply_theirs(chosen)
    project = add_project(unique_name, actor="tester")
    assert request_adopt(project, first, actor="tester").accepted
    lease = claim(project.pk, timezone.now())
    assert lease is not None
    context = build_context(lease)
    assert observe_and_decide(context, timezone.now()).action is Action.ADOPT_CLUSTER
    if is_labeled:
        apply_action(Action.ADOPT_CLUSTER, context, timezone.now())
    assert request_adopt(project, chosen, actor="tester").accepted
    if is_labeled:
        with pytest.raises(LeaseLostError):
            context.store()
    release(lease, next_pass_at=None, now=timezone.now())
    project = follow(project, is_running)
    assert project.database.name == chosen
    assert (project_id_of(labels_of(cluster_called(first))) is not None) == is_labeled
    request_delete(project, actor="tester", delete_adopted=True)
    follow(project, is_deleted)
    assert is_released(first)
    assert cluster_called(chosen) is None


def test_cluster_released_by_a_cancellation_is_kept(cluster, unique_name):
    """A Cluster of ours that is older than the request, as after a restore of the panel's database."""
    name = f"{unique_name}-agentruntime-before"
    project = add_project(unique_name, actor="tester")
    cluster.set_scenario(name, Scenario(match=name, secret_after_s=NEVER))
    apply_theirs(name, **{PROJECT_ID_LABEL: str(project.uid), ORIGIN_LABEL: "created"})
    request_provision(project, actor="tester", may_adopt=True)
    project = follow(project, lambda p: p.database and p.database.applied_at)
    DatabaseCluster.objects.update(requested_at=timezone.now() + timedelta(hours=1))
    request_cancel(project, actor="tester")
    project = follow(project, is_new)
    assert is_released(name)
    request_delete(project, actor="tester")
    follow(project, is_deleted)
    assert is_released(name)


def test_cluster_released_as_an_orphan_is_kept(provisioned, unique_name):
    """A Cluster of ours from an earlier attempt, which people keep for themselves."""
    name = f"{unique_name}-agentruntime-before"
    apply_theirs(name, **{PROJECT_ID_LABEL: str(provisioned.uid), ORIGIN_LABEL: "created"})
    provisioned.databases.create(
        name=name, namespace="default", object_uid=uid_of(cluster_called(name)), retired_at=timezone.now()
    )
    take_inventory(timezone.now())
    orphan = Orphan.objects.get(name=name)
    assert request_orphan(orphan, OrphanAction.RELEASE, actor="ann").accepted
    end_orphan(orphan.pk, timezone.now())
    assert is_released(name)
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert is_released(name)


# --- certificates ----------------------------------------------------------------------------------------------------


def apply_certificate(name: str) -> None:
    """Make a Secret as cert-manager does."""
    apply_secret(name, **{"controller.cert-manager.io/fao": "true"})


CHANGES = {
    "port gone": {"SANDBOX_PORTS": "app:3000"},
    "issuer gone": {"SANDBOX_CLUSTER_ISSUER": ""},
    "domain gone": {"SANDBOX_DOMAIN": ""},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_certificate_of_a_removed_ingress_is_deleted(cluster, unique_name, settings, change):
    """It holds a private key, and none of our labels: nothing else would ever find it."""
    settings.SANDBOX_DOMAIN, settings.SANDBOX_CLUSTER_ISSUER = "apps.example.com", "issuer"
    settings.SANDBOX_PORTS = "app:3000,api:3001"
    project = follow(start(unique_name), is_running)
    certificate, theirs = f"{project.sandbox.name}-api-tls", f"{unique_name}-wildcard-tls"
    apply_certificate(certificate)
    apply_certificate(theirs)
    for name, value in change.items():
        setattr(settings, name, value)
    request_update(project, actor="tester", change="changed the settings")
    project = follow(project, lambda p: is_running(p) and p.is_carried_out)
    request_delete(project, actor="tester")
    follow(project, is_deleted)
    assert not is_there(SECRET, certificate)
    assert is_there(SECRET, theirs)


def test_migration_finds_certificates_of_existing_sandboxes(provisioned):
    """The migration finds them in what was applied, and takes no wildcard for one."""
    own, shared = f"{provisioned.sandbox.name}-app-tls", "wildcard-tls"
    for number, name in enumerate((own, shared)):
        manifest = {
            "metadata": {"annotations": {"cert-manager.io/cluster-issuer": "issuer"}},
            "spec": {"tls": [{"secretName": name}]},
        }
        provisioned.applied.create(
            kind="Ingress", namespace="default", name=f"i{number}", manifest=manifest, applied_at=timezone.now()
        )
    name = "0005_certificates_of_a_sandbox"
    apps = MigrationLoader(connection).project_state([("projects", name)]).apps
    import_module(f"projects.migrations.{name}").find_certificates(apps, connection.schema_editor())
    provisioned.sandbox.refresh_from_db()
    assert provisioned.sandbox.certificates == [own]


def test_adopted_cluster_labeled_by_hand_is_kept(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    name = f"{unique_name}-theirs"
    apply_theirs(name, **{PROJECT_ID_LABEL: str(project.uid)})
    request_provision(project, actor="tester", may_adopt=True)
    project = follow(project, is_running)
    assert project.database.origin == Origin.ADOPTED
    request_delete(project, actor="tester")
    follow(project, is_deleted)
    assert cluster_called(name) is not None


def test_cluster_labeled_for_another_project_outlives_the_deletion(provisioned):
    database = provisioned.database
    connect().merge_labels(CLUSTERS, "default", database.name, {PROJECT_ID_LABEL: STRANGER}, uid=database.object_uid)
    project = follow(provisioned, lambda p: p.reason == Reason.CLUSTER_NOT_OURS)
    request_delete(project, actor="tester")
    follow(project, is_deleted)
    assert cluster_called(database.name) is not None


def test_cluster_without_its_label_is_deleted(provisioned):
    database = provisioned.database
    connect().merge_labels(CLUSTERS, "default", database.name, {PROJECT_ID_LABEL: None}, uid=database.object_uid)
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert cluster_called(database.name) is None


def test_deletion_clears_the_variables(provisioned):
    ProjectVariable.objects.create(project=provisioned, name="API_KEY", value=EncryptedText.of("s3cret"))
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert not any(variable.value for variable in ProjectVariable.objects.filter(project=provisioned))
