"""Status messages of pending Clusters reach their rows without a pass."""

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from projects.domain.states import Reason
from projects.models import Project
from provisioning.watch.status_relay import StatusRelay
from tests.factories import DatabaseFactory
from tests.unit.provisioning.watched_clusters import cluster

pytestmark = pytest.mark.django_db


def waiting_database():
    return DatabaseFactory.create(message="The database is not running yet: phase not set.", observed_phase="")


def test_message_is_written_without_a_pass():
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


def test_message_is_kept_until_the_row_is_pending():
    database, relay = waiting_database(), StatusRelay()
    Project.objects.filter(pk=database.project_id).update(lease_until=timezone.now())
    relay.take(cluster(database.name, "Creating"))
    assert relay.write() == 0
    Project.objects.filter(pk=database.project_id).update(lease_until=None)
    assert relay.write() == 1


def test_message_never_overwrites_a_later_pass():
    database, relay = waiting_database(), StatusRelay()
    relay.take(cluster(database.name, "Creating"))
    type(database).objects.filter(pk=database.pk).update(running_at=timezone.now(), observed_phase="Running")
    for _ in range(9):
        assert relay.write() == 0
    database.refresh_from_db()
    assert database.observed_phase == "Running"
