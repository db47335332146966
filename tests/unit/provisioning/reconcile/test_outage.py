"""Requests while the API server can't be reached: they wait, and do not fail at once."""

from datetime import timedelta

import pytest
from django.utils import timezone

from projects.domain.states import Phase
from projects.models import Project
from projects.services.provisioning import request_delete, request_retry
from provisioning.kube.client import disconnect
from provisioning.reconcile.loop import run_pass
from tests.factories import ProjectFactory, provisioned_project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def outage(settings, tmp_path):
    settings.KUBECONFIG = str(tmp_path / "none")
    disconnect()
    yield
    disconnect()


def test_deletion_waits_for_the_api_server():
    project = provisioned_project(name="f1")
    request_delete(project, actor="tester")
    run_pass(project.pk)
    assert Project.objects.get(pk=project.pk).phase == Phase.DELETING


def test_retry_waits_for_the_api_server():
    project = ProjectFactory.create(name="f2", failed=True, requested_at=timezone.now() - timedelta(minutes=5))
    request_retry(project, actor="tester")
    run_pass(project.pk)
    assert Project.objects.get(pk=project.pk).phase == Phase.WAITING
