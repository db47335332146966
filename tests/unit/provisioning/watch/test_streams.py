"""A stream of events, and its connection to the panel's database."""

import threading

import pytest
from django.db import connection
from django_q.models import OrmQ

from projects.models import Project
from provisioning.kube.client import WatchEvent
from provisioning.objects.names import PROJECT_ID_LABEL
from provisioning.watch.streams import WATCHED_KINDS, Stream
from tests.factories import ProjectFactory


@pytest.mark.django_db(transaction=True)
def test_stream_opens_a_lost_database_connection_again():
    project = ProjectFactory.create(name="h1", waiting=True)
    stream = Stream(WATCHED_KINDS[0], "default", threading.Event())
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


@pytest.mark.django_db
def test_phases_of_a_database_that_has_run_wake_a_pass():
    project = ProjectFactory.create(name="h1", waiting=True)
    stream = Stream(WATCHED_KINDS[0], "default", threading.Event())
    stream._fingerprints = {}
    metadata = {"name": "x", "labels": {PROJECT_ID_LABEL: str(project.uid)}}

    def wakes(phase: str, *, stop: bool = False) -> bool:
        OrmQ.objects.all().delete()
        Project.objects.update(queued_at=None)
        spec = {"componentSpecs": [{"name": "postgresql", "stop": stop}]}
        item = {"apiVersion": "apps.kubeblocks.io/v1", "metadata": metadata, "spec": spec, "status": {"phase": phase}}
        stream.take(WatchEvent("MODIFIED", item))
        return bool(OrmQ.objects.exists())

    assert [wakes(phase) for phase in ("", "Creating", "Creating")] == [False, False, False]
    assert [wakes(phase) for phase in ("Running", "Updating", "Running", "Running")] == [True, True, True, False]
    assert [wakes(phase, stop=True) for phase in ("Running", "Stopping", "Stopped")] == [True, True, True]
    assert [wakes(phase) for phase in ("Stopped", "Updating", "Running")] == [True, True, True]
