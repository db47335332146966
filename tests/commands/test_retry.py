"""`manage.py retry`: failed requests start again with a new deadline."""

import json
import time
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Project
from provisioning import heartbeats
from tests.commands.test_provision import carry_out, in_background
from tests.factories import ProjectFactory
from tests.support.commands import run

pytestmark = pytest.mark.django_db


def failed(name: str, desired: DesiredState) -> Project:
    """Return a project whose last request has failed, with a deadline that is long past."""
    long_ago = timezone.now() - timedelta(hours=1)
    project: Project = ProjectFactory.create(name=name, failed=True)
    rows = Project.objects.filter(pk=project.pk)
    rows.update(desired_state=desired, requested_at=long_ago, deletion_deadline=long_ago)
    return project


@pytest.mark.parametrize(
    ("desired", "phase"),
    [
        (DesiredState.RUNNING, Phase.WAITING),
        (DesiredState.DELETED, Phase.DELETING),
        (DesiredState.REGISTERED, Phase.DELETING),
    ],
)
def test_failed_project_gets_a_new_deadline(desired: DesiredState, phase: Phase) -> None:
    heartbeats.beat_queue()
    project = failed("aaa", desired)
    ran = run("retry", "aaa", "--json")
    assert (ran.code, ran.err, json.loads(ran.out)["phase"]) == (0, "", phase)
    project.refresh_from_db()
    assert (project.desired_state, project.wanted_generation, OrmQ.objects.count()) == (desired, 2, 1)
    since = project.requested_at if desired is DesiredState.RUNNING else project.deletion_deadline
    assert since is not None
    assert since > timezone.now() - timedelta(minutes=1)


def test_project_without_a_request_is_refused() -> None:
    ProjectFactory.create(name="new")
    ProjectFactory.create(name="gone", deleted=True)
    failed("aaa", DesiredState.RUNNING)
    ran = run("retry", "new", "gone", "aaa")
    assert (ran.code, ran.out) == (1, "aaa: retry started.\n")
    assert "new is not provisioned. Press Provision instead." in ran.err
    assert "gone is deleted, and its name can't be reused." in ran.err


@pytest.mark.django_db(transaction=True)
def test_wait_ends_when_all_projects_are_as_requested() -> None:
    projects = {failed("up", DesiredState.RUNNING): Phase.RUNNING, failed("down", DesiredState.DELETED): Phase.DELETED}

    def work() -> None:
        for project, phase in projects.items():
            until_s = time.monotonic() + 10
            while Project.objects.get(pk=project.pk).wanted_generation < 2 and time.monotonic() < until_s:
                time.sleep(0.02)
            carry_out(Project.objects.get(pk=project.pk), phase, Reason.READY, "Done.")

    with in_background(work):
        ran = run("retry", "up", "down", "--wait", "--timeout-s", "20")
    assert ran.code == 0
    assert {"up: Running. Done.", "down: Deleted. Done."} <= set(ran.lines)
