"""A project whose database or API server comes and goes: its history says what happened, and stays short."""

import pytest

from devcluster.controllers.scenarios import Failure, Scenario
from projects.domain.states import Phase, Reason
from projects.models import Project
from provisioning.reconcile.loop import run_pass
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def told(project: Project, reason: str) -> list[str]:
    return list(project.events.filter(reason=reason).order_by("at", "pk").values_list("message", flat=True))


def test_flapping_database_is_told_with_its_cause_and_count(cluster, provisioned):
    project, failure = provisioned, Failure(phase="Abnormal", message="disk full")
    for _ in range(5):
        cluster.set_scenario("flapping", Scenario(match=project.database.name, fail=failure))
        project = follow(project, lambda p: p.phase == Phase.WAITING)
        cluster.set_scenario("flapping", None)
        project = follow(project, is_running)
    messages = told(project, "Recovered")
    assert len(messages) == 3
    assert messages[0].startswith("Not ready for ")
    assert "disk full" in messages[0]
    assert messages[2].startswith("Not ready 4 times since ")
    assert len(told(project, Reason.READY)) == 1


def test_flapping_api_server_is_told_with_its_count(cluster, provisioned):
    project = provisioned
    for _ in range(4):
        fault = cluster.faults.add("status", status=503, user="admin")
        run_pass(project.pk)
        project.refresh_from_db()
        assert (project.phase, project.reason) == (Phase.RUNNING, Reason.API_SERVER_FAILED)
        cluster.faults.remove(fault.id)
        project = follow(project, lambda p: p.reason == Reason.READY)
    messages = told(project, Reason.API_SERVER_FAILED)
    assert len(messages) == 3
    assert "4 times since" in messages[2]


def test_interruption_that_began_earlier_is_told_when_it_ends(provisioned):
    interruptions = {"open": {"since": "2026-11-29T12:00:00+00:00", "reason": "ClusterFailed", "message": "no"}}
    Project.objects.filter(pk=provisioned.pk).update(interruptions=interruptions, phase=Phase.WAITING)
    project = follow(provisioned, is_running)
    assert len(told(project, "Recovered")) == 1
    assert "open" not in project.interruptions
