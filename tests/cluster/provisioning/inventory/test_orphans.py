"""Orphans: which objects are ones, whose they are said to be, and what ends them and what doesn't."""

import json
import re
import time
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Orphan, OrphanWish, Project, read_inventory
from projects.services.forget import request_forget
from projects.services.orphans import request_orphan
from projects.services.provisioning import request_delete
from provisioning.inventory.clusters import take_inventory
from provisioning.inventory.orphans import Known, end_orphan, judge
from provisioning.kube.client import connect
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import SERVICE, Kind, cluster_kind
from provisioning.objects import manifests
from provisioning.objects.names import ORIGIN_LABEL, PROJECT_ID_LABEL
from tests.factories import DatabaseFactory, ProjectFactory, provisioned_project
from tests.support.cluster_objects import change, make_namespace
from tests.support.commands import run
from tests.support.pages import log_in

CLUSTERS = cluster_kind("apps.kubeblocks.io/v1")
STRANGER = "11111111-1111-1111-1111-111111111111"
NOW = timezone.now()


def project_in(desired: DesiredState, phase: Phase, reason: Reason = Reason.READY, **fields: Any) -> Project:
    return Project(pk=7, name="aaa", desired_state=desired, phase=phase, reason=reason, **fields)


RUNNING = project_in(DesiredState.RUNNING, Phase.RUNNING)
BUSY = project_in(DesiredState.RUNNING, Phase.WAITING)
DELETED = project_in(DesiredState.DELETED, Phase.DELETED, Reason.DELETED)
FORGOTTEN = project_in(DesiredState.DELETED, Phase.DELETED, Reason.FORGOTTEN)


def cluster_item(name: str = "c", owner: str = "me", origin: str = "created", **metadata: Any) -> dict[str, Any]:
    labels = {PROJECT_ID_LABEL: owner, ORIGIN_LABEL: origin}
    return {"metadata": {"name": name, "namespace": "default", "uid": "u", "labels": labels, **metadata}}


JUDGED = [
    ("in its place", cluster_item("has"), RUNNING, None),
    ("of a project in progress", cluster_item("other"), BUSY, None),
    ("going", cluster_item("other", deletionTimestamp="now"), RUNNING, None),
    ("without our label", {"metadata": {"name": "x", "labels": {}}}, RUNNING, None),
    ("of an earlier attempt", cluster_item("other"), RUNNING, ("earlier attempt to provision aaa", True, False)),
    ("of a deleted project", cluster_item("has"), DELETED, ("which is deleted", True, False)),
    ("of a forgotten project", cluster_item("has"), FORGOTTEN, ("which was forgotten", True, False)),
    (
        "of a forgotten project, going and held up",
        cluster_item("has", deletionTimestamp="now", finalizers=["operator/hold"]),
        FORGOTTEN,
        (
            "which was forgotten. It is already being deleted; waiting for its finalizers: operator/hold",
            False,
            False,
        ),
    ),
    ("another panel's, going", cluster_item("x", owner=STRANGER, deletionTimestamp="now"), None, None),
    ("adopted", cluster_item("has", origin="adopted"), FORGOTTEN, ("never deleted from here", False, False)),
    ("labelled by hand", cluster_item("has", origin=""), DELETED, ("never deleted from here", False, False)),
    ("another panel's?", cluster_item("x", owner=STRANGER), None, ("another panel", True, True)),
    ("nonsense", {"metadata": {"name": 1, "labels": {PROJECT_ID_LABEL: "x"}}}, None, None),
]


@pytest.mark.parametrize(("item", "project", "expected"), [row[1:] for row in JUDGED], ids=[row[0] for row in JUDGED])
def test_judge(item, project, expected):
    known = Known({"me": project} if project else {}, {7: frozenset({"has"})})
    orphan = judge("Cluster", item, known, NOW)
    if expected is None:
        assert orphan is None
        return
    assert orphan is not None
    said, is_deletable, is_foreign = expected
    assert said in orphan.explanation
    assert (orphan.is_deletable, orphan.is_foreign) == (is_deletable, is_foreign)


@pytest.mark.parametrize(
    ("fields", "wish", "is_sure", "said"),
    [
        ({"is_deletable": True}, OrphanWish.DELETE, False, ""),
        ({"is_releasable": True}, OrphanWish.RELEASE, False, ""),
        ({"is_releasable": True}, OrphanWish.DELETE, True, "adopted"),
        ({"is_deletable": True}, OrphanWish.RELEASE, True, "Only Clusters"),
        ({"is_deletable": True, "is_foreign": True}, OrphanWish.DELETE, False, "another panel's?"),
        ({"is_deletable": True, "is_foreign": True}, OrphanWish.DELETE, True, ""),
        ({}, OrphanWish.DELETE, True, "did not make"),
        ({}, OrphanWish.RELEASE, True, "did not make"),
        ({"is_vanished": True, "is_deletable": True}, OrphanWish.DELETE, True, "Retry, Delete or Forget"),
    ],
)
def test_what_may_be_asked(fields, wish, is_sure, said):
    refusal = Orphan(kind="Cluster", namespace="n", name="c", **fields).explain_refusal(wish, is_sure=is_sure)
    assert said in refusal
    assert bool(refusal) == bool(said)


# --- on the embedded cluster ---------------------------------------------------------------------------------------


def orphans_of(project: Project) -> dict[str, Orphan]:
    take_inventory(timezone.now())
    return {f"{row.kind} {row.name}": row for row in Orphan.objects.filter(labelled_as=project.kubernetes_name)}


@pytest.mark.django_db
def test_a_project_in_order_has_no_orphans(provisioned):
    assert orphans_of(provisioned) == {}


@pytest.mark.django_db
def test_what_a_forgotten_project_left_is_listed_and_can_be_ended(provisioned):
    request_delete(provisioned, actor="tester")
    request_forget(provisioned, actor="tester")
    found = orphans_of(provisioned)
    kinds = {row.kind for row in found.values()}
    assert kinds == {"Cluster", "StatefulSet", "Service", "Secret", "PersistentVolumeClaim"}
    for row in found.values():
        assert request_orphan(row, OrphanWish.DELETE, actor="ann").accepted
        end_orphan(row.pk, timezone.now())
    end = time.monotonic() + 30.0
    while left := orphans_of(provisioned):
        assert all("already being deleted" in row.explanation and not row.is_deletable for row in left.values())
        assert time.monotonic() < end
        time.sleep(0.1)
    said = " ".join(provisioned.events.filter(reason="OrphanEnded").values_list("message", flat=True))
    assert all(row.name in said for row in found.values())


@pytest.mark.django_db
def test_what_a_deleted_project_left_is_listed_where_no_other_project_lives(cluster, unique_name):
    """As an effect that came late leaves it: in a namespace that nobody else would be looked for in."""
    client = connect()
    make_namespace(unique_name)
    project = ProjectFactory.create(name=unique_name, namespace=unique_name, deleted=True)
    DatabaseFactory.create(project=project, namespace=unique_name, retired_at=timezone.now())
    owner = manifests.Owner(project.kubernetes_name, project.uid)
    client.apply(manifests.build_environment_secret("late", unique_name, owner, {"A": "b"}), "secrets")
    (row,) = orphans_of(project).values()
    assert (row.namespace, row.project, row.is_deletable) == (unique_name, project, True)
    assert "which is deleted" in row.explanation


@pytest.mark.django_db
@pytest.mark.parametrize(("is_forgotten", "is_said"), [(False, False), (True, True)])
def test_a_former_namespace_that_is_closed_to_the_panel_is_trouble_only_where_something_was_left(
    cluster, monkeypatch, is_forgotten, is_said
):
    reason = Reason.FORGOTTEN if is_forgotten else Reason.DELETED
    project = ProjectFactory.create(namespace="closed", deleted=True, reason=reason)
    DatabaseFactory.create(project=project, namespace="closed", retired_at=timezone.now())
    client = connect()
    listed = client.list_objects

    def list_objects(kind: Kind, namespace: str, **more: Any) -> Any:
        if namespace == "closed":
            raise RefusedError(403, "Forbidden", "clusters is forbidden")
        return listed(kind, namespace, **more)

    monkeypatch.setattr(client, "list_objects", list_objects)
    take_inventory(timezone.now())
    assert ("closed" in read_inventory().trouble) is is_said


@pytest.mark.django_db
def test_what_became_a_projects_meanwhile_is_left_alone(provisioned):
    row = Orphan.objects.create(
        kind="Cluster",
        namespace="default",
        name=provisioned.database.name,
        uid=provisioned.database.object_uid,
        project=provisioned,
        is_deletable=True,
        seen_at=timezone.now(),
    )
    request_orphan(row, OrphanWish.DELETE, actor="ann")
    end_orphan(row.pk, timezone.now())
    cluster = connect().get_or_none(CLUSTERS, "default", provisioned.database.name)
    assert "deletionTimestamp" not in cluster["metadata"]
    assert "It was not changed" in provisioned.events.get(reason="OrphanEnded").message


@pytest.mark.django_db
def test_another_panels_cluster_takes_two_confirmations(cluster, unique_name):
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
    assert not Orphan.objects.exclude(wish="").exists()
    foreseen = run("orphans", "--delete", named, "--no-other-panel", "--dry-run", "--json")
    assert (json.loads(foreseen.out)["name"], json.loads(foreseen.out)["wish"]) == (name, "")
    released = run("orphans", "--release", named, "--no-other-panel", "--yes", "--json")
    assert (released.code, json.loads(released.out)["wish"]) == (0, "release")
    assert "started" in released.err
    end_orphan(Orphan.objects.get(name=name).pk, timezone.now())
    kept = connect().get_or_none(CLUSTERS, "default", name)
    assert PROJECT_ID_LABEL not in kept["metadata"]["labels"]
    connect().delete(CLUSTERS, "default", name)


@pytest.mark.django_db
def test_rows_whose_objects_vanished_are_listed_with_their_ways_out(cluster, unique_name):
    project = provisioned_project(name=unique_name)
    found = orphans_of(project)
    assert {row.kind for row in found.values()} == {"Cluster", "StatefulSet"}
    assert all(row.is_vanished and "Retry" in row.explanation for row in found.values())
    Project.objects.filter(pk=project.pk).update(phase=Phase.WAITING)
    assert orphans_of(project) == {}, "it may be about to be made"


@pytest.mark.django_db
def test_the_inventory_wakes_a_project_that_has_drifted(provisioned):
    take_inventory(timezone.now())
    Project.objects.filter(pk=provisioned.pk).update(queued_at=None)
    take_inventory(timezone.now())
    assert Project.objects.get(pk=provisioned.pk).queued_at is None
    ports = [{"name": "app", "port": 99, "targetPort": "app"}]
    change(SERVICE, provisioned.sandbox.name, {"spec": {"ports": ports}})
    take_inventory(timezone.now())
    assert Project.objects.get(pk=provisioned.pk).queued_at is not None


@pytest.mark.django_db
def test_that_there_are_none_is_not_said_where_nothing_could_be_seen(cluster, settings, tmp_path):
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", cluster.kubeconfig.read_text()))
    settings.KUBECONFIG = str(nowhere)
    unseen = run("orphans")
    assert (unseen.code, unseen.out) == (1, "")
    assert "The list is incomplete. The API server" in unseen.err
    assert "There are no orphaned objects" not in unseen.err


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_page_lists_asks_and_puts_in_the_queue():
    row = Orphan.objects.create(
        kind="Cluster",
        namespace="default",
        name="left",
        uid="u",
        labelled_as="bbb",
        explanation="It has the label of bbb, which this panel does not know.",
        is_foreign=True,
        is_deletable=True,
        is_releasable=True,
        seen_at=timezone.now(),
    )
    client = log_in("view_project", "delete_project")
    listed = client.get("/admin/projects/orphan/").content.decode()
    assert "another panel&#x27;s?" in listed or "another panel's?" in listed
    address = f"/admin/projects/orphan/{row.pk}/delete/"
    assert "I am sure that no other panel has it" in client.get(address).content.decode()
    client.post(address, {"confirmed": "yes"})
    row.refresh_from_db()
    assert row.wish == ""
    client.post(address, {"confirmed": "yes", "is_sure": "yes"})
    row.refresh_from_db()
    assert (row.wish, row.wished_by) == ("delete", "maria")
    assert "provisioning.tasks.end_orphan" in [task.task["func"] for task in OrmQ.objects.all()]
    listed = client.get("/admin/projects/orphan/").content.decode()
    assert "this is in the queue" in listed
    assert "Deletion of Cluster default/left started." in listed
