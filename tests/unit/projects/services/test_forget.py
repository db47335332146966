"""Forget: the page and the command ask first, list what is left, and change nothing in the cluster."""

import json

import pytest

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Event
from projects.services.forget import list_left
from tests.factories import DatabaseFactory, ProjectFactory, SandboxFactory
from tests.support.commands import run
from tests.support.pages import log_in, page

pytestmark = pytest.mark.django_db


def stuck_project(**fields):
    project = ProjectFactory.create(name="stuck", desired_state=DesiredState.DELETED, phase=Phase.FAILED, **fields)
    DatabaseFactory.create(project=project, captured=True)
    SandboxFactory.create(project=project)
    return project


def test_page_asks_first_and_lists_what_is_left():
    project = stuck_project()
    client = log_in("view_project", "delete_project")
    asked = client.get(page("forget", project.pk)).content.decode()
    for left in list_left(project):
        assert f"<strong>{left.kind}</strong> {left.namespace}/{left.name}" in asked
    unconfirmed = client.post(page("forget", project.pk)).content.decode()
    assert "data-unconfirmed" in unconfirmed
    project.refresh_from_db()
    assert project.phase == Phase.FAILED
    client.post(page("forget", project.pk), {"confirmed": "yes"})
    project.refresh_from_db()
    assert (project.phase, project.reason, project.next_pass_at) == (Phase.DELETED, Reason.FORGOTTEN, None)
    event = Event.objects.get(project=project, reason=Reason.FORGOTTEN)
    for said in (project.message, event.message):
        assert "Cluster default/stuck-agentruntime-abc123" in said
        assert "PersistentVolumeClaim default/home-stuck-sandbox-0" in said
        assert "gone" not in said
    assert project.databases.get().password.reveal() == ""


def test_command_needs_yes():
    project = stuck_project()
    asked = run("forget", "stuck")
    assert asked.code == 2
    assert "Left behind, as last known: Cluster default/stuck-agentruntime-abc123" in asked.err
    assert run("forget", "stuck", "--dry-run").code == 0
    foreseen = json.loads(run("forget", "stuck", "--dry-run", "--json").out)
    assert foreseen["project"] == "stuck"
    assert "Cluster default/stuck-agentruntime-abc123" in foreseen["left"]
    project.refresh_from_db()
    assert project.phase == Phase.FAILED
    done = run("forget", "stuck", "--yes", "--json")
    assert (done.code, '"reason": "Forgotten"' in done.out) == (0, True)
