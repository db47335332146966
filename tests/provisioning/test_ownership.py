"""What the end of a project takes with it on the embedded cluster, and what it leaves, whoever has labelled it."""

import pytest
from django.utils import timezone

from projects.services import request_delete
from projects.states import DesiredState, Reason
from provisioning import kube as k
from provisioning.adoption import request_adopt
from provisioning.names import INSTANCE_LABEL, MANAGED_BY_LABEL, ORIGIN_LABEL, PROJECT_ID_LABEL
from provisioning.orphans import judge, read_known
from provisioning.planning import plan
from provisioning.readiness import Object, labels_of, metadata_of
from tests.conftest import follow, is_running
from tests.provisioning.test_drift_flow import change
from tests.provisioning.test_ways_out import CLUSTERS, apply_theirs, is_deleted, start

pytestmark = pytest.mark.django_db


def cluster_called(name: str) -> Object | None:
    return k.connect().get_or_none(CLUSTERS, "default", name)


def is_released(name: str) -> bool:
    there = cluster_called(name)
    return there is not None and PROJECT_ID_LABEL not in labels_of(there)


def relabel(kind: k.Kind, name: str, labels: dict[str, str | None]) -> None:
    change(kind, name, {"metadata": {"labels": labels}})


def apply_secret(name: str, **labels: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "data": {},
    }
    k.connect().apply(manifest, "secrets")


def is_there(kind: k.Kind, name: str) -> bool:
    return name in {metadata_of(item)["name"] for item in k.connect().list_objects(kind, "default")}


@pytest.mark.parametrize("deletes_adopted", [False, True])
def test_a_cluster_that_people_labelled_is_released(provisioned, unique_name, deletes_adopted):
    """The project's label, no origin and no row: nothing says that the panel made it, or that people gave it away."""
    theirs, ours = f"{unique_name}-theirs", provisioned.database.name
    apply_theirs(theirs, **{PROJECT_ID_LABEL: str(provisioned.uid)})
    request_delete(provisioned, actor="tester", delete_adopted=deletes_adopted)
    project = follow(provisioned, is_deleted)
    assert is_released(theirs)
    assert cluster_called(ours) is None
    assert f"Released the Cluster {theirs}" in project.events.get(reason="ClusterReleased").message


def test_of_two_clusters_that_people_labelled_neither_goes_with_the_project_that_adopted_one(cluster, unique_name):
    """The way out of `ClusterAmbiguous` is to adopt one of them: the other one keeps the label."""
    project = start(unique_name)
    names = [f"{unique_name}-one", f"{unique_name}-two"]
    for name in names:
        apply_theirs(name, **{PROJECT_ID_LABEL: str(project.uid)})
    project = follow(project, lambda p: p.reason == Reason.CLUSTER_AMBIGUOUS)
    assert request_adopt(project, names[1], actor="tester").accepted
    request_delete(follow(project, is_running), actor="tester")
    follow(project, is_deleted)
    assert [is_released(name) for name in names] == [True, True]


def test_a_cluster_of_ours_goes_without_its_origin_label_too(provisioned):
    """The row tells."""
    name = provisioned.database.name
    relabel(CLUSTERS, name, {ORIGIN_LABEL: None})
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert cluster_called(name) is None


def test_what_people_labelled_is_left_and_named(provisioned, unique_name):
    """The orphans' page says that it is not the panel's to delete: a deletion goes by the same rule."""
    name, uid = f"{unique_name}-notes", str(provisioned.uid)
    apply_secret(name, **{PROJECT_ID_LABEL: uid})
    secrets = k.connect().list_objects(k.SECRET, "default", labels=PROJECT_ID_LABEL)
    item = next(item for item in secrets if metadata_of(item)["name"] == name)
    orphan = judge("Secret", item, read_known("default", [uid]), timezone.now())
    assert orphan is not None
    assert (orphan.is_deletable, "never deletes it" in orphan.explanation) == (False, True)
    foreseen = plan(provisioned, timezone.now(), desired=DesiredState.DELETED)
    assert [item.verb for item in foreseen.objects if item.name == f"Secret default/{name}"] == ["keep"]
    request_delete(provisioned, actor="tester")
    project = follow(provisioned, is_deleted)
    assert is_there(k.SECRET, name)
    assert f"Secret {name}" in project.events.get(reason="Deleted").message


@pytest.mark.parametrize("kind", [k.STATEFULSET, k.SERVICE, k.SECRET, k.PVC], ids=lambda kind: kind.name)
def test_what_the_panel_made_goes_whoever_says_to_manage_it_now(provisioned, kind):
    """Another tool has put its own `managed-by` on what is called after the project's sandbox."""
    sandbox = provisioned.sandbox.name
    labels = f"{INSTANCE_LABEL}={sandbox}"
    (item,) = k.connect().list_objects(kind, "default", labels=labels)
    name = metadata_of(item)["name"]
    relabel(kind, name, {MANAGED_BY_LABEL: "another-tool"})
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert not is_there(kind, name)
