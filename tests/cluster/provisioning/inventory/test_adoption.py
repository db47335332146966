"""Requests to adopt a Cluster: one is refused while the project has another, or if the name can't be one."""

import pytest

from projects.models import DatabaseCluster, Project
from projects.services.provisioning import add_project, request_delete, request_provision
from provisioning.inventory.adoption import request_adopt
from provisioning.kube.client import connect
from provisioning.objects.names import PROJECT_ID_LABEL
from provisioning.reconcile.loop import run_pass
from tests.support.cluster_objects import CLUSTERS, apply_theirs
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def test_adoption_is_refused_after_a_create_without_an_answer(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    cluster.faults.add("reset-after", verb="patch", resource="clusters", user="admin", count=2)
    run_pass(project.pk)
    apply_theirs(f"mine-{unique_name}")
    outcome = request_adopt(Project.objects.get(pk=project.pk), f"mine-{unique_name}", actor="tester")
    assert not outcome.accepted
    follow(project, is_running)
    ours = connect().list_objects(CLUSTERS, "default", labels=f"{PROJECT_ID_LABEL}={project.uid}")
    assert len(ours) == 1


def test_refused_adoption_creates_no_row(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    apply_theirs(f"mine-{unique_name}")
    stale = Project.objects.get(pk=project.pk)
    request_delete(project, actor="tester")
    assert not request_adopt(stale, f"mine-{unique_name}", actor="tester").accepted
    assert not DatabaseCluster.objects.filter(project=project, retired_at=None).exists()


@pytest.mark.parametrize("name", ["", "../x", "x" * 64, "A", "a b"])
def test_invalid_cluster_name_is_refused(cluster, unique_name, name):
    project = add_project(unique_name, actor="tester")
    outcome = request_adopt(project, name, actor="tester")
    assert not outcome.accepted
    assert "63" in outcome.message
