"""Databases whose Cluster was deleted outside the panel."""

import time

import pytest

from projects.domain.states import Phase, Reason
from projects.models import Project
from projects.services.provisioning import add_project, request_provision, request_retry
from provisioning.reconcile.loop import run_pass
from tests.support.cluster_objects import delete_cluster

pytestmark = pytest.mark.django_db


def test_retry_reports_a_missing_database_before_it_replaces_one(provisioned):
    name = provisioned.database.name
    delete_cluster(name)
    request_retry(provisioned, actor="tester")
    run_pass(provisioned.pk)
    project = Project.objects.with_resources().get(pk=provisioned.pk)
    assert (project.database.name, project.reason) == (name, Reason.CLUSTER_MISSING)


def test_database_that_is_deleted_repeatedly_fails(cluster, unique_name, settings):
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
