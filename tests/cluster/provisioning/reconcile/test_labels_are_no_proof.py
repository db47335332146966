"""Objects that only have a project's label are neither captured, changed, deleted nor released with it."""

from typing import Any

import pytest

from projects.domain.states import Origin, Reason
from projects.models import DatabaseCluster
from projects.services.provisioning import add_project, request_delete, request_provision, request_retry
from provisioning.kube.client import connect
from provisioning.kube.kinds import INGRESS, PVC, SECRET, SERVICE, STATEFULSET, Kind, cluster_kind
from provisioning.objects.names import INSTANCE_LABEL, MANAGED_BY_LABEL, ORIGIN_LABEL, PROJECT_ID_LABEL, owner_labels
from provisioning.objects.readers import labels_of, uid_of
from provisioning.reconcile.loop import run_pass
from tests.support.passes import follow, is_running
from tests.support.standin_api import OPERATIONS, Api

pytestmark = pytest.mark.django_db
CLUSTERS = cluster_kind("apps.kubeblocks.io/v1")


def is_deleted(project):
    return project.phase == "Deleted"


def relabel(name, project, **labels):
    """Put a project's labels on a Cluster, as anyone who may patch Clusters can."""
    live = connect().get_or_none(CLUSTERS, "default", name)
    wanted = {PROJECT_ID_LABEL: str(project.uid), ORIGIN_LABEL: "created", **labels}
    connect().merge_labels(CLUSTERS, "default", name, wanted, uid=uid_of(live))


def cluster_called(name):
    return connect().get_or_none(CLUSTERS, "default", name)


@pytest.fixture
def victim(provisioned):
    """A running project whose Cluster has the labels of another project."""
    return provisioned


def test_relabeled_cluster_is_not_captured_by_another_project(victim, unique_name):
    attacker = add_project(f"{unique_name}a", actor="mallory")
    relabel(victim.database.name, attacker)
    request_provision(attacker, actor="mallory", may_adopt=True)
    attacker = follow(attacker, is_running)
    assert attacker.database.name != victim.database.name
    assert attacker.database.connection.password != victim.database.connection.password


def test_relabeled_cluster_is_not_deleted_with_another_project(victim, unique_name):
    attacker = add_project(f"{unique_name}a", actor="mallory")
    request_provision(attacker, actor="mallory")
    attacker = follow(attacker, is_running)
    relabel(victim.database.name, attacker)
    request_delete(attacker, actor="mallory", delete_adopted=True)
    attacker = follow(attacker, is_deleted)
    assert cluster_called(victim.database.name) is not None
    assert "deletionTimestamp" not in cluster_called(victim.database.name)["metadata"]


def test_labeled_cluster_without_a_row_needs_permission_to_adopt(cluster, unique_name):
    owner = add_project(f"{unique_name}o", actor="ada")
    request_provision(owner, actor="ada")
    owner = follow(owner, is_running)
    name = owner.database.name
    DatabaseCluster.objects.filter(pk=owner.database.pk).update(retired_at="2026-01-01T00:00Z", object_uid="")
    project = add_project(unique_name, actor="mallory")
    relabel(name, project)
    request_provision(project, actor="mallory")
    project = follow(project, lambda p: p.reason == Reason.ADOPTION_NEEDED)
    assert project.database is None
    request_retry(project, actor="mallory")
    run_pass(project.pk)
    request_provision(project, actor="root", may_adopt=True)
    project = follow(project, is_running)
    assert (project.database.name, project.database.origin) == (name, Origin.ADOPTED)
    request_delete(project, actor="mallory")
    follow(project, is_deleted)
    assert cluster_called(name) is not None


def test_new_cluster_of_the_same_name_is_another_one(provisioned):
    """A user deletes the project's Cluster and creates another with its name and labels."""
    name, client = provisioned.database.name, connect()
    before = cluster_called(name)
    password = provisioned.database.connection.password
    client.delete(CLUSTERS, "default", name)
    follow(provisioned, lambda _: cluster_called(name) is None)
    metadata = {"name": name, "namespace": "default", "labels": dict(labels_of(before))}
    spec = {"clusterDef": "postgresql", "topology": "replication", "terminationPolicy": "Delete"}
    client.apply(
        {
            "apiVersion": before["apiVersion"],
            "kind": "Cluster",
            "metadata": metadata,
            "spec": {**before["spec"], **spec},
        },
        "clusters",
    )
    project = follow(provisioned, lambda p: p.reason in (Reason.CLUSTER_NOT_OURS, Reason.CLUSTER_MISSING) or p.failures)
    live = project.database
    assert live is None or live.name != name or live.connection.password == password
    request_delete(project, actor="ada", delete_adopted=True)
    follow(project, is_deleted)
    assert cluster_called(name) is not None
    client.delete(CLUSTERS, "default", name)


@pytest.mark.parametrize("kind", [SECRET, SERVICE, PVC, INGRESS, STATEFULSET], ids=lambda kind: kind.name)
def test_object_with_copied_labels_outlives_the_project(provisioned, unique_name, kind):
    labels = {**owner_labels(provisioned.kubernetes_name, provisioned.uid), INSTANCE_LABEL: provisioned.sandbox.name}
    name = f"{unique_name}-theirs"
    bodies: dict[str, dict[str, Any]] = {
        "Secret": {"stringData": {"a": "b"}},
        "Service": {"spec": {"ports": [{"port": 80}]}},
        "PersistentVolumeClaim": {
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        },
        "Ingress": {"spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}},
        "StatefulSet": {
            "spec": {
                "replicas": 0,
                "serviceName": "a",
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "a", "image": "a"}]},
                },
            }
        },
    }
    manifest = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        **bodies[kind.name],
    }
    client = connect()
    client.apply(manifest, kind.plural)
    request_delete(provisioned, actor="ada")
    project = follow(provisioned, is_deleted)
    assert client.get_or_none(kind, "default", name) is not None
    assert f"{kind.name} {name}" in project.events.get(reason="Deleted").message
    client.delete(kind, "default", name)


def test_service_with_the_sandboxs_name_outlives_the_project(provisioned):
    name, client = provisioned.sandbox.name, connect()
    labels = dict(labels_of(client.get_or_none(SERVICE, "default", name)))
    client.delete(SERVICE, "default", name)
    metadata = {"name": name, "namespace": "default", "labels": labels}
    client.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}, "services"
    )
    request_delete(provisioned, actor="ada")
    follow(provisioned, is_deleted)
    assert client.get_or_none(SERVICE, "default", name) is not None
    client.delete(SERVICE, "default", name)


def test_helm_objects_with_the_same_label_delay_no_deletion(provisioned):
    client, name = connect(), provisioned.database.name
    for managed_by in ("Helm", "kubeblocks"):
        secret = f"release-{managed_by.lower()}-{provisioned.pk}"
        labels = {INSTANCE_LABEL: name, "app.kubernetes.io/managed-by": managed_by}
        client.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": secret, "namespace": "default", "labels": labels},
            },
            "secrets",
        )
    request_delete(provisioned, actor="ada")
    follow(provisioned, is_deleted)
    assert client.get_or_none(SECRET, "default", f"release-helm-{provisioned.pk}") is not None


def test_objects_that_only_look_derived_delay_no_deletion(provisioned):
    """A Helm release that is called like the Cluster, and copies that a person made with all labels."""
    client, name = connect(), provisioned.database.name
    claim: Any = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    helm, copied = (
        {MANAGED_BY_LABEL: "Helm", INSTANCE_LABEL: name},
        {MANAGED_BY_LABEL: "kubeblocks", INSTANCE_LABEL: name},
    )
    others: list[tuple[str, str, str, dict[str, str], dict[str, object]]] = [
        ("Secret", "secrets", f"sh.helm.release.v1.{name}.v1", helm, {}),
        ("PersistentVolumeClaim", "persistentvolumeclaims", f"data-{name}-redis-0", helm, claim),
        ("Secret", "secrets", f"{name}-postgresql-account-postgres-copy", copied, {}),
        ("PersistentVolumeClaim", "persistentvolumeclaims", f"{name}-dump", copied, claim),
        ("ConfigMap", "configmaps", f"{name}-notes", copied, {}),
        ("Service", "services", f"{name}-public", copied, {"spec": {"ports": [{"port": 5432}]}}),
    ]
    for kind, plural, of_name, labels, more in others:
        metadata = {"name": of_name, "namespace": "default", "labels": labels}
        client.apply({"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}, plural)
    request_delete(provisioned, actor="ada")
    follow(provisioned, is_deleted)
    assert client.get_or_none(SECRET, "default", f"sh.helm.release.v1.{name}.v1") is not None
    for kind, plural, of_name, *_ in others:
        client.delete(Kind("v1", plural, kind), "default", of_name)


@pytest.mark.parametrize("plural", ["backups", "opsrequests"])
def test_operations_and_backups_of_a_cluster_delay_no_deletion(provisioned, cluster, plural):
    """A Backup outlives its Cluster; an OpsRequest that somebody holds by a finalizer is not waited for."""
    api, name = Api(cluster), provisioned.database.name
    group, kind, spec = {
        "backups": (
            "/apis/dataprotection.kubeblocks.io/v1alpha1",
            "Backup",
            {"backupMethod": "pg-basebackup", "backupPolicyName": f"{name}-postgresql-backup-policy"},
        ),
        "opsrequests": (OPERATIONS, "OpsRequest", {"clusterName": name, "type": "Restart"}),
    }[plural]
    labels = {MANAGED_BY_LABEL: "kubeblocks", INSTANCE_LABEL: name}
    metadata = {"name": f"{name}-kept", "labels": labels, "finalizers": ["test.io/keep"]}
    assert api.create(group, plural, kind, {"metadata": metadata, "spec": spec}) is not None
    request_delete(provisioned, actor="ada")
    follow(provisioned, is_deleted)
    api.patch(group, plural, f"{name}-kept", {"metadata": {"finalizers": None}})
    api.delete(group, plural, f"{name}-kept")
