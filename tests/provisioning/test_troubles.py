"""Passes while the API server fails: what is said, and that it heals. Faults are the embedded cluster's."""

from datetime import timedelta

import pytest
from django.utils import timezone

from projects.models import DatabaseCluster, Project
from projects.services import add_project, request_provision
from projects.states import Phase
from provisioning.adoption import list_clusters
from tests.conftest import follow, is_running

pytestmark = pytest.mark.django_db


def start(name):
    project = add_project(name, actor="tester")
    request_provision(project, actor="tester")
    return Project.objects.get(pk=project.pk)


def test_4_a_passing_api_error_is_said_and_heals(cluster, unique_name):
    fault = cluster.faults.add("status", status=503, resource="clusters", user="admin")
    project = follow(start(unique_name), lambda p: p.failures > 0)
    assert "503" in project.message
    assert project.phase == Phase.WAITING
    assert project.next_pass_at > timezone.now() - timedelta(seconds=1)
    cluster.faults.remove(fault.id)
    assert follow(project, is_running).failures == 0


def test_an_apply_whose_answer_was_lost_makes_no_second_cluster(cluster, unique_name):
    cluster.faults.add("reset-after", verb="patch", resource="clusters", user="admin", count=2)
    project = follow(start(unique_name), is_running)
    assert len([c for c in list_clusters("default") if c.name.startswith(f"{unique_name}-")]) == 1
    assert DatabaseCluster.objects.filter(project=project).count() == 1
