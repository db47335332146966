"""Orphaned objects on the embedded cluster: how they are found, deleted and released."""

import json
import re
import time
from typing import Any

import pytest
from django.utils import timezone

from projects.domain.states import Phase, Reason
from projects.models import Orphan, OrphanAction, Project, read_inventory
from projects.services.forget import request_forget
from projects.services.orphans import request_orphan
from projects.services.provisioning import request_delete
from provisioning.inventory.clusters import take_inventory
from provisioning.inventory.orphans import end_orphan
from provisioning.kube.client import connect
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import SERVICE, Kind
from provisioning.objects import manifests
from provisioning.objects.names import PROJECT_ID_LABEL
from provisioning.objects.refusals import Cause
from tests.factories import DatabaseFactory, ProjectFactory, provisioned_project
from tests.support.cluster_objects import CLUSTERS, change, make_namespace
from tests.support.commands import run

pytestmark = pytest.mark.django_db


def orphans_of(project: Project) -> dict[str, Orphan]:
    take_inventory(timezone.now())
    return {f"{row.kind} {row.name}": row for row in Orphan.objects.filter(labelled_as=project.kubernetes_name)}


def test_running_project_has_no_orphans(provisioned):
    assert orphans_of(provisioned) == {}


def test_objects_of_a_forgotten_project_can_be_deleted(provisioned):
    request_delete(provisioned, actor="tester")
    request_forget(provisioned, actor="tester")
    found = orphans_of(provisioned)
    kinds = {row.kind for row in found.values()}
    assert kinds == {"Cluster", "StatefulSet", "Service", "Secret", "PersistentVolumeClaim"}
    for row in found.values():
        assert request_orphan(row, OrphanAction.DELETE, actor="ann").accepted
        end_orphan(row.pk, timezone.now())
    end = time.monotonic() + 30.0
    while left := orphans_of(provisioned):
        assert all("already being deleted" in row.explanation and not row.is_deletable for row in left.values())
        assert time.monotonic() < end
        time.sleep(0.1)
    said = " ".join(provisioned.events.filter(reason="OrphanEnded").values_list("message", flat=True))
    assert all(row.name in said for row in found.values())


def test_objects_in_a_former_namespace_are_listed(cluster, unique_name):
    """As a late effect leaves it, in a namespace without other projects."""
    client = connect()
    make_namespace(unique_name)
    project = ProjectFactory.create(name=unique_name, namespace=unique_name, deleted=True)
    DatabaseFactory.create(project=project, namespace=unique_name, retired_at=timezone.now())
    owner = manifests.Owner(project.kubernetes_name, project.uid)
    client.apply(manifests.build_environment_secret("late", unique_name, owner, {"A": "b"}), "secrets")
    (row,) = orphans_of(project).values()
    assert (row.namespace, row.project, row.is_deletable) == (unique_name, project, True)
    assert "which is deleted" in row.explanation


@pytest.mark.parametrize(("is_forgotten", "is_said"), [(False, False), (True, True)])
def test_forbidden_namespace_is_reported_only_if_objects_were_left(cluster, monkeypatch, is_forgotten, is_said):
    reason = Reason.FORGOTTEN if is_forgotten else Reason.DELETED
    project = ProjectFactory.create(namespace="closed", deleted=True, reason=reason)
    DatabaseFactory.create(project=project, namespace="closed", retired_at=timezone.now())
    client = connect()
    listed = client.list_objects

    def list_objects(kind: Kind, namespace: str, **more: Any) -> Any:
        if namespace == "closed":
            raise RefusedError(403, "Forbidden", "clusters is forbidden", cause=Cause.NO_PERMISSION)
        return listed(kind, namespace, **more)

    monkeypatch.setattr(client, "list_objects", list_objects)
    take_inventory(timezone.now())
    assert ("closed" in read_inventory().trouble) is is_said


def test_object_that_a_project_uses_is_not_deleted(provisioned):
    row = Orphan.objects.create(
        kind="Cluster",
        namespace="default",
        name=provisioned.database.name,
        uid=provisioned.database.object_uid,
        project=provisioned,
        is_deletable=True,
        seen_at=timezone.now(),
    )
    request_orphan(row, OrphanAction.DELETE, actor="ann")
    end_orphan(row.pk, timezone.now())
    cluster = connect().get_or_none(CLUSTERS, "default", provisioned.database.name)
    assert "deletionTimestamp" not in cluster["metadata"]
    assert "It was not changed" in provisioned.events.get(reason="OrphanEnded").message


def test_cluster_of_another_panel_needs_two_confirmations(cluster, unique_name):
    spec = manifests.DatabaseSpec("16.4.0", "postgresql-14.8.0", "100m", "128Mi", "1Gi")
    owner = manifests.Owner(unique_name, Project().uid)
    name = f"{unique_name}-foreign"
    manifest = manifests.build_cluster(CLUSTERS.api_version, name=name, namespace="default", owner=owner, spec=spec)
    connect().apply(manifest, "clusters")
    named = f"Cluster/default/{name}"
    listed = run("orphans")
    assert f"{named}  It has the label of {unique_name}, which this panel does not know" in listed.out
    unsure = run("orphans", "--delete", named, "--yes")
    assert (unsure.code, "--no-other-panel" in unsure.err) == (1, True)
    assert run("orphans", "--delete", named, "--no-other-panel", "--dry-run").code == 0
    assert run("orphans", "--delete", named, "--no-other-panel").code == 2
    assert not Orphan.objects.exclude(requested_action="").exists()
    foreseen = run("orphans", "--delete", named, "--no-other-panel", "--dry-run", "--json")
    assert (json.loads(foreseen.out)["name"], json.loads(foreseen.out)["wish"]) == (name, "")
    released = run("orphans", "--release", named, "--no-other-panel", "--yes", "--json")
    assert (released.code, json.loads(released.out)["wish"]) == (0, "release")
    assert "started" in released.err
    end_orphan(Orphan.objects.get(name=name).pk, timezone.now())
    kept = connect().get_or_none(CLUSTERS, "default", name)
    assert PROJECT_ID_LABEL not in kept["metadata"]["labels"]
    connect().delete(CLUSTERS, "default", name)


def test_missing_objects_are_listed_with_remedies(cluster, unique_name):
    project = provisioned_project(name=unique_name)
    found = orphans_of(project)
    assert {row.kind for row in found.values()} == {"Cluster", "StatefulSet"}
    assert all(row.is_vanished and "Retry" in row.explanation for row in found.values())
    Project.objects.filter(pk=project.pk).update(phase=Phase.WAITING)
    assert orphans_of(project) == {}, "it may be about to be made"


def test_inventory_enqueues_a_drifted_project(provisioned):
    take_inventory(timezone.now())
    Project.objects.filter(pk=provisioned.pk).update(queued_at=None)
    take_inventory(timezone.now())
    assert Project.objects.get(pk=provisioned.pk).queued_at is None
    ports = [{"name": "app", "port": 99, "targetPort": "app"}]
    change(SERVICE, provisioned.sandbox.name, {"spec": {"ports": ports}})
    take_inventory(timezone.now())
    assert Project.objects.get(pk=provisioned.pk).queued_at is not None


def test_unreachable_cluster_is_not_reported_as_empty(cluster, settings, tmp_path):
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", cluster.kubeconfig.read_text()))
    settings.KUBECONFIG = str(nowhere)
    unseen = run("orphans")
    assert (unseen.code, unseen.out) == (1, "")
    assert "The list is incomplete. The API server" in unseen.err
    assert "There are no orphaned objects" not in unseen.err
