"""request_update: what a change to a project does to its rows, its queue and its pages, in each state."""

import pytest
from django.urls import reverse
from django_q.models import OrmQ

from projects.domain.states import Phase, Reason
from projects.models import Project, SandboxTemplate
from projects.services.provisioning import request_provision, request_update
from tests.factories import ProjectFactory, provisioned_project

pytestmark = pytest.mark.django_db


def reread(project: Project) -> Project:
    return Project.objects.get(pk=project.pk)


def test_a_running_project_keeps_its_phase_and_is_followed():
    project = provisioned_project()
    assert request_update(project, actor="ann", change="changed the variable KEY").accepted
    seen = reread(project)
    assert (seen.phase, seen.reason) == (Phase.RUNNING, Reason.REQUESTED)
    assert seen.message == "ann changed the variable KEY. The sandbox restarts if it uses that."
    assert not seen.is_carried_out
    assert [event.message for event in seen.events.all()] == ["ann changed the variable KEY."]
    assert OrmQ.objects.get().task["args"] == (project.pk,)


def test_a_change_is_no_request_for_a_database():
    project = provisioned_project()
    request_update(project, actor="ann", change="changed the variable KEY")
    seen = reread(project)
    assert seen.asked_generation <= seen.observed_generation
    fresh = ProjectFactory.create()
    request_provision(fresh, actor="ann")
    seen = reread(fresh)
    assert seen.asked_generation == seen.wanted_generation == 1


@pytest.mark.parametrize("state", ["waiting", "failed"])
def test_a_project_that_waits_or_has_failed_gets_a_pass_and_keeps_its_words(state):
    project = ProjectFactory.create(**{state: True})
    request_update(project, actor="ann", change="changed the description")
    seen = reread(project)
    assert (seen.phase, seen.message, seen.wanted_generation) == (project.phase, project.message, 1)
    assert OrmQ.objects.count() == 1


@pytest.mark.parametrize("state", [{}, {"deleted": True}])
def test_a_project_that_does_not_run_gets_an_event_and_no_pass(state):
    project = ProjectFactory.create(**state)
    request_update(project, actor="ann", change="changed the description")
    assert project.events.count() == 1
    assert not OrmQ.objects.exists()
    assert reread(project).wanted_generation == project.wanted_generation


def test_a_changed_template_is_an_update_of_each_running_project(admin):
    template = SandboxTemplate.objects.create(name="node", image="example.org/node:22")
    project = provisioned_project(template=template)
    url = reverse("admin:projects_sandboxtemplate_change", args=[template.pk])
    values = {"name": "node", "ports": "app:3000", "cpu": "500m", "memory": "512Mi", "storage": "10Gi"}
    admin.post(url, {**values, "image": "example.org/node:24"})
    assert not reread(project).is_carried_out
    assert project.events.get().message == "root changed the template node."
