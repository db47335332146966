"""request_update: the effect of a change on rows, queue and pages, in each state."""

import pytest
from django.urls import reverse
from django_q.models import OrmQ

from projects.domain.states import Phase, Reason
from projects.models import Project, SandboxTemplate
from projects.services.provisioning import request_provision, request_update
from tests.factories import ProjectFactory, provisioned_project
from tests.support.pages import edit

pytestmark = pytest.mark.django_db


def reread(project: Project) -> Project:
    return Project.objects.get(pk=project.pk)


def test_running_project_keeps_its_phase():
    project = provisioned_project()
    assert request_update(project, actor="ann", change="changed the variable KEY").accepted
    seen = reread(project)
    assert (seen.phase, seen.reason) == (Phase.RUNNING, Reason.REQUESTED)
    assert seen.message == "ann changed the variable KEY. The sandbox restarts if it uses that."
    assert not seen.is_carried_out
    assert [event.message for event in seen.events.all()] == ["ann changed the variable KEY."]
    assert OrmQ.objects.get().task["args"] == (project.pk,)


def test_update_requests_no_database():
    project = provisioned_project()
    request_update(project, actor="ann", change="changed the variable KEY")
    seen = reread(project)
    assert seen.asked_generation <= seen.observed_generation
    fresh = ProjectFactory.create()
    request_provision(fresh, actor="ann")
    seen = reread(fresh)
    assert seen.asked_generation == seen.wanted_generation == 1


@pytest.mark.parametrize("state", ["waiting", "failed"])
def test_waiting_or_failed_project_gets_a_pass(state):
    project = ProjectFactory.create(**{state: True})
    request_update(project, actor="ann", change="changed the description")
    seen = reread(project)
    assert (seen.phase, seen.message, seen.wanted_generation) == (project.phase, project.message, 1)
    assert OrmQ.objects.count() == 1


@pytest.mark.parametrize("state", [{}, {"deleted": True}])
def test_stopped_project_gets_an_event_only(state):
    project = ProjectFactory.create(**state)
    request_update(project, actor="ann", change="changed the description")
    assert project.events.count() == 1
    assert not OrmQ.objects.exists()
    assert reread(project).wanted_generation == project.wanted_generation


def test_changed_template_updates_running_projects(admin):
    template = SandboxTemplate.objects.create(name="node", image="example.org/node:22")
    project = provisioned_project(template=template)
    url = reverse("admin:projects_sandboxtemplate_change", args=[template.pk])
    values = {"name": "node", "ports": "app:3000", "cpu": "500m", "memory": "512Mi", "storage": "10Gi"}
    edit(admin, url, {**values, "image": "example.org/node:24"})
    assert not reread(project).is_carried_out
    assert project.events.get().message == "root changed the template node."
