"""Changes of a running project: its page shows the restart, and no change creates a database."""

import pytest
from django.test import Client
from django.urls import reverse

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, Project, ProjectVariable
from projects.services.provisioning import request_update
from tests.contract.conftest import eventually
from tests.contract.panel import steps
from tests.contract.panel.steps import CLUSTERS
from tests.factories import UserFactory
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def polls(client, project):
    return "every 1500ms" in client.get(reverse("projects:detail", args=[project.pk])).content.decode()


def test_page_shows_a_change_until_it_is_applied(cluster, provisioned):
    client = Client()
    client.force_login(UserFactory.create(permissions=["view_project"]))
    assert not polls(client, provisioned)
    before = provisioned.sandbox.applied_at
    ProjectVariable.objects.create(project=provisioned, name="EXTRA", value=EncryptedText.of("v1"))
    assert request_update(provisioned, actor="ann", change="changed the variable EXTRA").accepted
    assert Project.objects.get(pk=provisioned.pk).phase == Phase.RUNNING
    assert polls(client, provisioned)
    settled = follow(provisioned, lambda project: project.is_carried_out)
    assert is_running(settled)
    assert settled.sandbox.applied_at > before
    assert settled.reason == Reason.READY
    assert not polls(client, settled)


def test_unrelated_change_does_not_restart_the_sandbox(cluster, provisioned):
    request_update(provisioned, actor="ann", change="changed the description")
    settled = follow(provisioned, lambda project: project.is_carried_out)
    assert (settled.phase, settled.reason) == (Phase.RUNNING, Reason.READY)
    assert settled.sandbox.applied_at == provisioned.sandbox.applied_at


def test_change_does_not_replace_a_missing_database(cluster, provisioned):
    name = provisioned.database.name
    steps.administrator.delete(CLUSTERS, "default", name)
    eventually(lambda: steps.administrator.get_or_none(CLUSTERS, "default", name), lambda item: item is None)
    request_update(provisioned, actor="ann", change="changed the description")
    gone = follow(provisioned, lambda project: project.is_carried_out)
    assert (gone.phase, gone.reason) == (Phase.FAILED, Reason.CLUSTER_MISSING)
    assert DatabaseCluster.objects.get(project=gone).name == name
