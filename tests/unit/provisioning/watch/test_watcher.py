"""What the watches spare: checks of what is settled, passes for mere words, second looks at Secrets."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from projects.domain.states import Phase, Reason
from projects.models import Project
from provisioning import heartbeats
from provisioning.kube.client import WatchEvent
from provisioning.models import ClusterChange
from provisioning.objects.names import PROJECT_ID_LABEL
from provisioning.queue.sweep import postpone_settled_checks, sweep_once
from provisioning.reconcile.observe import is_just_captured
from provisioning.watch.status_relay import StatusRelay
from provisioning.watch.streams import WATCHED_KINDS, Stream
from tests.factories import DatabaseFactory, ProjectFactory, SandboxFactory, provisioned_project

pytestmark = pytest.mark.django_db


def cluster(name, phase, message=""):
    conditions = [{"type": "ReplicasReady", "status": "False", "message": message}] if message else []
    return {
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "status": {"phase": phase, "observedGeneration": 1, "conditions": conditions},
    }


def lead(now, since):
    """Now and since when: by the watcher's clock."""
    details = {"in_step": True, "since": since.isoformat()}
    assert heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, now, details)


def test_settled_projects_that_are_vouched_for_are_not_checked():
    now = timezone.now()
    settled, failed = provisioned_project(), ProjectFactory.create(failed=True)
    Project.objects.update(next_pass_at=now - timedelta(seconds=1), reason=Reason.READY)
    assert postpone_settled_checks(now) == 1
    assert sweep_once(now) == 1
    assert OrmQ.objects.get().task["args"] == (failed.pk,)
    settled.refresh_from_db()
    assert settled.next_pass_at > now + timedelta(minutes=1)


def test_a_settled_project_with_a_new_intent_is_checked():
    now = timezone.now()
    project = provisioned_project()
    Project.objects.filter(pk=project.pk).update(next_pass_at=now, reason=Reason.READY, wanted_generation=2)
    assert postpone_settled_checks(now) == 0
    assert sweep_once(now) == 1


def waiting_database():
    return DatabaseFactory.create(message="The database is not running yet: phase not set.", observed_phase="")


def test_words_of_a_waiting_database_are_written_without_a_pass():
    database, relay = waiting_database(), StatusRelay()
    Project.objects.filter(pk=database.project_id).update(reason=Reason.CLUSTER_NOT_RUNNING)
    relay.take(cluster(database.name, "Creating", "0/1 nodes are available"))
    assert relay.write() == 1
    database.refresh_from_db()
    assert database.observed_phase == "Creating"
    assert "0/1 nodes are available" in database.message
    assert Project.objects.get(pk=database.project_id).message == database.message
    assert OrmQ.objects.count() == 0
    assert relay.write() == 0


def test_words_that_come_before_the_row_waits_are_kept_for_a_while():
    database, relay = waiting_database(), StatusRelay()
    Project.objects.filter(pk=database.project_id).update(lease_until=timezone.now())
    relay.take(cluster(database.name, "Creating"))
    assert relay.write() == 0
    Project.objects.filter(pk=database.project_id).update(lease_until=None)
    assert relay.write() == 1


def test_words_never_go_over_what_a_pass_has_found_since():
    database, relay = waiting_database(), StatusRelay()
    relay.take(cluster(database.name, "Creating"))
    type(database).objects.filter(pk=database.pk).update(running_at=timezone.now(), observed_phase="Running")
    for _ in range(9):
        assert relay.write() == 0
    database.refresh_from_db()
    assert database.observed_phase == "Running"


@pytest.fixture
def applied():
    """A project that waits for its sandbox, its credentials just captured."""
    project = ProjectFactory.create(wanted=True, phase=Phase.CREATING, reason=Reason.SANDBOX_NOT_READY)
    DatabaseFactory.create(project=project, captured=True)
    SandboxFactory.create(project=project, phase=Phase.CREATING)
    return Project.objects.with_resources().get(pk=project.pk)


def test_credentials_that_the_watcher_has_followed_are_not_read_again(applied):
    now, captured_at = timezone.now(), applied.database.captured_at
    assert not is_just_captured(applied, applied.database, now)
    lead(now, since=captured_at - timedelta(seconds=1))
    assert is_just_captured(applied, applied.database, now)
    ClusterChange.objects.create(namespace="default", cluster=applied.database.name, at=captured_at)
    assert not is_just_captured(applied, applied.database, now)


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(seconds=10)])
def test_credentials_from_before_the_watcher_came_are_read_again(applied, behind):
    now = timezone.now()
    lead(now - behind, since=applied.database.captured_at + timedelta(seconds=1) - behind)
    assert not is_just_captured(applied, applied.database, now)


@pytest.mark.parametrize(
    ("kind", "phase", "is_news"),
    [("MODIFIED", "Running", False), ("MODIFIED", "Failed", True), ("DELETED", "Running", True)],
)
def test_a_database_that_changes_for_the_worse_is_looked_at_again(applied, kind, phase, is_news):
    applied.database.captured_at = now = timezone.now()
    lead(now, since=now - timedelta(seconds=1))
    body = cluster(applied.database.name, phase)
    body["metadata"]["labels"] = {PROJECT_ID_LABEL: str(applied.uid)}
    stream = Stream(WATCHED_KINDS[0], "default", threading.Event())
    stream.take(WatchEvent(kind, body))
    assert is_just_captured(applied, applied.database, timezone.now()) is not is_news
    assert OrmQ.objects.count() == 1


def test_a_change_is_seen_though_the_watchers_clock_is_behind(applied):
    now, captured_at = timezone.now(), applied.database.captured_at
    behind = timedelta(seconds=10)
    lead(now - behind, since=captured_at - timedelta(minutes=1))
    changed_at = captured_at + timedelta(milliseconds=1) - behind
    ClusterChange.objects.create(namespace="default", cluster=applied.database.name, at=changed_at)
    assert not is_just_captured(applied, applied.database, now)


def test_a_running_project_is_looked_at_whole(applied):
    now = timezone.now()
    lead(now, since=applied.database.captured_at - timedelta(seconds=1))
    applied.phase = Phase.RUNNING
    assert not is_just_captured(applied, applied.database, now)
