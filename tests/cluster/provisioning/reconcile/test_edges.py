"""Edges that a review found: what must not be undone, deleted, orphaned or waited for in vain."""

import threading
import time
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib import admin
from django.db import connection
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import OrmQ

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import DesiredState, Origin, Phase, Reason
from projects.models import DatabaseCluster, Project, ProjectVariable
from projects.services.provisioning import add_project, request_delete, request_provision, request_retry
from provisioning.inventory.adoption import request_adopt
from provisioning.kube.client import WatchEvent, connect, disconnect
from provisioning.kube.kinds import cluster_kind
from provisioning.objects import manifests
from provisioning.objects.names import PROJECT_ID_LABEL
from provisioning.queue.sweep import sweep_without_watcher
from provisioning.reconcile.lease import LeaseLostError, claim
from provisioning.reconcile.loop import run_pass
from provisioning.watch.streams import SUBJECTS, Stream
from tests.factories import ProjectFactory, provisioned_project
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db

CLUSTERS = cluster_kind("apps.kubeblocks.io/v1")
STRANGER = "11111111-1111-1111-1111-111111111111"


def is_deleted(project):
    return project.phase == Phase.DELETED


def apply_cluster(name, **labels):
    spec = manifests.DatabaseSpec("16.4.0", "postgresql-14.8.0", "100m", "128Mi", "1Gi")
    owner = manifests.Owner("x", Project().uid)
    manifest = manifests.build_cluster("apps.kubeblocks.io/v1", name=name, namespace="default", owner=owner, spec=spec)
    manifest["metadata"]["labels"] = labels
    return connect().apply(manifest, "clusters")


def delete_cluster(name):
    client = connect()
    client.delete(CLUSTERS, "default", name)
    while client.get_or_none(CLUSTERS, "default", name):
        time.sleep(0.05)


def test_the_chained_sweep_is_not_given_out_at_once():
    ProjectFactory.create(name="aaa", next_pass_at=timezone.now() + timedelta(seconds=30))
    sweep_without_watcher()
    assert OrmQ.objects.count() == 1
    assert not get_broker().dequeue()


def test_saving_the_admin_form_keeps_a_newer_intent():
    project = ProjectFactory.create(name="a1", running=True)
    stale = Project.objects.get(pk=project.pk)
    request_delete(project, actor="bob")
    stale.description = "new words"
    request = SimpleNamespace(user=SimpleNamespace(get_username=lambda: "ann"), POST={})
    form = SimpleNamespace(changed_data=["description"], instance=stale)
    admin.site.get_model_admin(Project).save_model(request, stale, form, True)  # type: ignore[arg-type]
    project.refresh_from_db()
    assert (project.description, project.desired_state) == ("new words", DesiredState.DELETED)


def test_a_cluster_labelled_by_hand_is_released_and_kept(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    name = f"{unique_name}-theirs"
    apply_cluster(name, **{PROJECT_ID_LABEL: str(project.uid)})
    request_provision(project, actor="tester")
    project = follow(project, is_running)
    assert project.database.origin == Origin.ADOPTED
    request_delete(project, actor="tester")
    follow(project, is_deleted)
    assert connect().get_or_none(CLUSTERS, "default", name) is not None


def test_a_project_whose_cluster_became_a_strangers_can_be_deleted(provisioned):
    database = provisioned.database
    client = connect()
    client.merge_labels(CLUSTERS, "default", database.name, {PROJECT_ID_LABEL: STRANGER}, uid=database.object_uid)
    project = follow(provisioned, lambda p: p.reason == Reason.CLUSTER_NOT_OURS)
    request_delete(project, actor="tester")
    follow(project, is_deleted)
    assert client.get_or_none(CLUSTERS, "default", database.name) is not None


def test_a_cluster_that_lost_its_label_is_deleted_all_the_same(provisioned):
    database = provisioned.database
    client = connect()
    client.merge_labels(CLUSTERS, "default", database.name, {PROJECT_ID_LABEL: None}, uid=database.object_uid)
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert client.get_or_none(CLUSTERS, "default", database.name) is None


@pytest.fixture
def outage(settings, tmp_path):
    settings.KUBECONFIG = str(tmp_path / "none")
    disconnect()
    yield
    disconnect()


def test_a_delete_during_an_outage_does_not_fail_at_once(outage):
    project = provisioned_project(name="f1")
    request_delete(project, actor="tester")
    run_pass(project.pk)
    assert Project.objects.get(pk=project.pk).phase == Phase.DELETING


def test_a_retry_during_an_outage_waits_anew(outage):
    project = ProjectFactory.create(name="f2", failed=True, requested_at=timezone.now() - timedelta(minutes=5))
    request_retry(project, actor="tester")
    run_pass(project.pk)
    assert Project.objects.get(pk=project.pk).phase == Phase.WAITING


def test_a_pass_writes_nothing_over_a_newer_intent_even_if_its_words_stay_the_same(cluster, unique_name):
    from provisioning.reconcile.context import build_context
    from provisioning.reconcile.loop import observe_and_decide
    from provisioning.reconcile.record import record

    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    follow(project, lambda p: p.database and p.database.applied_at)
    lease = claim(project.pk, timezone.now())
    assert lease is not None
    context = build_context(lease)
    decision = observe_and_decide(context, timezone.now())
    request_delete(project, actor="tester")
    DatabaseCluster.objects.filter(project=project).update(message="written by the newer pass")
    with suppress(LeaseLostError):
        record(context, decision, timezone.now())
    assert DatabaseCluster.objects.get(project=project).message == "written by the newer pass"


def test_adopting_after_a_lost_answer_makes_no_orphan(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    cluster.faults.add("reset-after", verb="patch", resource="clusters", user="admin", count=2)
    run_pass(project.pk)
    apply_cluster(f"mine-{unique_name}")
    outcome = request_adopt(Project.objects.get(pk=project.pk), f"mine-{unique_name}", actor="tester")
    assert not outcome.accepted
    follow(project, is_running)
    ours = connect().list_objects(CLUSTERS, "default", labels=f"{PROJECT_ID_LABEL}={project.uid}")
    assert len(ours) == 1


def test_a_refused_adoption_leaves_nothing(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    apply_cluster(f"mine-{unique_name}")
    stale = Project.objects.get(pk=project.pk)
    request_delete(project, actor="tester")
    assert not request_adopt(stale, f"mine-{unique_name}", actor="tester").accepted
    assert not DatabaseCluster.objects.filter(project=project, retired_at=None).exists()


@pytest.mark.parametrize("name", ["", "../x", "x" * 64, "A", "a b"])
def test_a_cluster_name_that_cannot_be_is_refused(cluster, unique_name, name):
    project = add_project(unique_name, actor="tester")
    outcome = request_adopt(project, name, actor="tester")
    assert not outcome.accepted
    assert "63" in outcome.message


def test_a_retry_replaces_no_database_that_nobody_knew_was_gone(provisioned):
    name = provisioned.database.name
    delete_cluster(name)
    request_retry(provisioned, actor="tester")
    run_pass(provisioned.pk)
    project = Project.objects.with_resources().get(pk=provisioned.pk)
    assert (project.database.name, project.reason) == (name, Reason.CLUSTER_MISSING)


def test_a_database_that_is_deleted_again_and_again_fails_in_the_end(cluster, unique_name, settings):
    settings.READY_TIMEOUT_S = 2
    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    end = time.monotonic() + 20
    while time.monotonic() < end and (project.phase, project.reason) != (Phase.FAILED, Reason.CLUSTER_MISSING):
        run_pass(project.pk)
        project = Project.objects.with_resources().get(pk=project.pk)
        # The deadline may pass while there is a Cluster: that fails too, and the Cluster is deleted all the same.
        if project.phase in (Phase.WAITING, Phase.FAILED) and project.database:
            delete_cluster(project.database.name)
    assert (project.phase, project.reason) == (Phase.FAILED, Reason.CLUSTER_MISSING)


def test_variables_are_forgotten_with_the_project(provisioned):
    ProjectVariable.objects.create(project=provisioned, name="API_KEY", value=EncryptedText.of("s3cret"))
    request_delete(provisioned, actor="tester")
    follow(provisioned, is_deleted)
    assert not any(variable.value for variable in ProjectVariable.objects.filter(project=provisioned))


@pytest.mark.django_db(transaction=True)
def test_a_stream_outlives_its_database_connection():
    project = ProjectFactory.create(name="h1", waiting=True)
    stream = Stream(SUBJECTS[0], "default", threading.Event())
    stream._fingerprints = {}

    def take_events():
        connection.ensure_connection()
        connection.connection.close()
        for phase in ("Creating", "Running", "Failed", "Running"):
            metadata = {"name": "x", "labels": {PROJECT_ID_LABEL: str(project.uid)}}
            stream.take(WatchEvent("MODIFIED", {"metadata": metadata, "status": {"phase": phase}}))
        connection.close()

    thread = threading.Thread(target=take_events)
    thread.start()
    thread.join()
    assert OrmQ.objects.count() == 1
