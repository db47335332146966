"""Steps of a provisioning and their durations, for the current request."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from projects.domain.progress import time_to_run_s
from projects.domain.states import DesiredState, Origin, Phase, Reason, Step
from projects.models import DatabaseCluster, Project, Sandbox
from provisioning.management.progress import ProgressTracker
from provisioning.management.summary import describe_project
from tests.factories import DatabaseFactory, ProjectFactory, SandboxFactory, provisioned_project
from tests.support.pages import log_in, page

pytestmark = pytest.mark.django_db

REPEATED = {Step.CREDENTIALS_CAPTURED, Step.CONNECTION_VERIFIED, Step.SANDBOX_APPLIED, Step.SANDBOX_READY}


def durations(project: Project) -> dict[Step, float | None]:
    steps = Project.objects.get(pk=project.pk).steps()
    return {reached.step: reached.duration_s and round(reached.duration_s, 1) for reached in steps}


def change_password(project: Project) -> None:
    """Leave the rows as a password rotation does: these steps are reached again."""
    now = timezone.now()
    DatabaseCluster.objects.filter(project=project).update(captured_at=now, verified_at=now)
    Sandbox.objects.filter(project=project).update(applied_at=now, ready_at=now + timedelta(seconds=4))


def test_duration_counts_from_the_previous_step():
    assert durations(provisioned_project()) == {
        Step.REQUESTED: None,
        Step.CLUSTER_APPLIED: 0.4,
        Step.CLUSTER_RUNNING: 11.6,
        Step.CREDENTIALS_CAPTURED: 0.2,
        Step.CONNECTION_VERIFIED: 0.1,
        Step.SANDBOX_APPLIED: 0.2,
        Step.SANDBOX_READY: 1.6,
    }


def test_steps_repeated_by_a_password_change_have_no_duration():
    project = provisioned_project()
    change_password(project)
    took = durations(project)
    assert {step for step in took if took[step] is None} == {Step.REQUESTED, *REPEATED}
    page_of_it = log_in("view_project").get(page("detail", project.pk)).content.decode()
    assert "Total</span><strong>14 s</strong>" in page_of_it
    assert " min" not in page_of_it.split('id="steps-title"')[1].split("panel-total")[0].replace("min ago", "")


def test_unfinished_password_change_gives_no_zero_duration():
    project = provisioned_project()
    now = timezone.now()
    DatabaseCluster.objects.filter(project=project).update(captured_at=now, verified_at=now)
    assert durations(project)[Step.SANDBOX_APPLIED] is None


def test_tracker_reports_repeated_steps_without_a_duration():
    project = provisioned_project(name="shop")
    tracker = ProgressTracker([project])
    change_password(project)
    lines = tracker.refresh()
    assert [line.split("shop  ")[1] for line in lines] == [
        "Credentials captured",
        "Connection verified",
        "Sandbox applied",
        "Sandbox ready",
    ]


def test_retry_restarts_the_durations():
    asked = timezone.now() - timedelta(seconds=10)
    project = ProjectFactory.create(waiting=True, requested_at=asked)
    DatabaseFactory.create(
        project=project, applied_at=asked - timedelta(minutes=5), running_at=asked + timedelta(seconds=3)
    )
    took = durations(project)
    assert (took[Step.CLUSTER_APPLIED], took[Step.CLUSTER_RUNNING]) == (None, 3.0)


def test_total_is_of_the_first_request():
    project = provisioned_project()
    assert time_to_run_s(project) == pytest.approx(14.1)
    project.requested_at = timezone.now()
    assert time_to_run_s(project) is None
    assert time_to_run_s(ProjectFactory.create(waiting=True)) is None


def test_deleted_project_shows_no_cancelled_steps():
    project = ProjectFactory.create(name="aaa")
    ended = {"retired_at": timezone.now(), "phase": Phase.DELETED, "reason": Reason.CANCELLED}
    DatabaseFactory.create(project=project, **ended)
    SandboxFactory.create(project=project, **ended)
    tracker = ProgressTracker([project])
    Project.objects.filter(pk=project.pk).update(desired_state=DesiredState.DELETED, phase=Phase.DELETED)
    assert tracker.refresh() == []
    steps: Any = describe_project(Project.objects.with_resources().get(pk=project.pk))["steps"]
    assert {step["at"] for step in steps} == {None}


@pytest.mark.parametrize(("origin", "said"), [(Origin.CREATED, "applied"), (Origin.ADOPTED, "adopted")])
def test_step_names_an_adopted_cluster(origin, said):
    project = provisioned_project()
    DatabaseCluster.objects.filter(project=project).update(origin=origin)
    project = Project.objects.get(pk=project.pk)
    assert f"Cluster {said}" in [reached.label for reached in project.steps()]
    described: Any = describe_project(project)
    assert described["database"]["origin"] == origin
    body = log_in("view_project").get(page("detail", project.pk)).content.decode()
    assert (f"Cluster {said}<" in body, body.count("Cluster applied<")) == (True, int(origin is Origin.CREATED))
