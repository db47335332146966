"""Passes rely on the watcher for credentials that were just captured, and only then."""

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
from provisioning.reconcile.observe import is_just_captured
from provisioning.watch.streams import WATCHED_KINDS, Stream
from tests.factories import DatabaseFactory, ProjectFactory, SandboxFactory
from tests.unit.provisioning.watched_clusters import cluster

pytestmark = pytest.mark.django_db


def let_watcher_lead(now, since):
    """Let a watcher hold the lease; `now` and `since` are by its clock."""
    details = {"in_step": True, "since": since.isoformat()}
    assert heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, now, details)


@pytest.fixture
def applied():
    """A project whose credentials were just captured and whose sandbox is pending."""
    project = ProjectFactory.create(wanted=True, phase=Phase.CREATING, reason=Reason.SANDBOX_NOT_READY)
    DatabaseFactory.create(project=project, captured=True)
    SandboxFactory.create(project=project, phase=Phase.CREATING)
    return Project.objects.with_resources().get(pk=project.pk)


def test_watched_credentials_are_not_read_again(applied):
    now, captured_at = timezone.now(), applied.database.captured_at
    assert not is_just_captured(applied, applied.database, now)
    let_watcher_lead(now, since=captured_at - timedelta(seconds=1))
    assert is_just_captured(applied, applied.database, now)
    ClusterChange.objects.create(namespace="default", cluster=applied.database.name, at=captured_at)
    assert not is_just_captured(applied, applied.database, now)


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(seconds=10)])
def test_credentials_older_than_the_watcher_are_read_again(applied, behind):
    now = timezone.now()
    let_watcher_lead(now - behind, since=applied.database.captured_at + timedelta(seconds=1) - behind)
    assert not is_just_captured(applied, applied.database, now)


@pytest.mark.parametrize(
    ("kind", "phase", "is_news"),
    [("MODIFIED", "Running", False), ("MODIFIED", "Failed", True), ("DELETED", "Running", True)],
)
def test_failed_or_deleted_database_is_read_again(applied, kind, phase, is_news):
    applied.database.captured_at = now = timezone.now()
    let_watcher_lead(now, since=now - timedelta(seconds=1))
    body = cluster(applied.database.name, phase)
    body["metadata"]["labels"] = {PROJECT_ID_LABEL: str(applied.uid)}
    stream = Stream(WATCHED_KINDS[0], "default", threading.Event())
    stream.take(WatchEvent(kind, body))
    assert is_just_captured(applied, applied.database, timezone.now()) is not is_news
    assert OrmQ.objects.count() == 1


def test_change_counts_if_the_watchers_clock_is_behind(applied):
    now, captured_at = timezone.now(), applied.database.captured_at
    behind = timedelta(seconds=10)
    let_watcher_lead(now - behind, since=captured_at - timedelta(minutes=1))
    changed_at = captured_at + timedelta(milliseconds=1) - behind
    ClusterChange.objects.create(namespace="default", cluster=applied.database.name, at=changed_at)
    assert not is_just_captured(applied, applied.database, now)


def test_running_project_is_read_completely(applied):
    now = timezone.now()
    let_watcher_lead(now, since=applied.database.captured_at - timedelta(seconds=1))
    applied.phase = Phase.RUNNING
    assert not is_just_captured(applied, applied.database, now)
