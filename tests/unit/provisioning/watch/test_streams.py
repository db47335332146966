"""A stream of events, and its connection to the panel's database."""

import threading

import pytest
from django.db import connection
from django_q.models import OrmQ

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
