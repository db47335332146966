"""Requests for a new database password by page, bulk action and command."""

import pytest
from django.db import connection

from projects.domain.states import Origin, Phase, Reason
from projects.models import DatabaseCluster, Project
from tests.factories import ProjectFactory, provisioned_project
from tests.support.commands import run
from tests.support.pages import log_in, page
from tests.unit.projects.admin.test_actions import messages_of, run_action

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return provisioned_project(name="aaa")


def is_asked_for(project: Project) -> bool:
    return DatabaseCluster.objects.get(project=project).rotation_requested_at is not None


def test_page_explains_and_asks(project):
    client = log_in("view_project", "provision_project")
    assert page("rotate_password", project.pk) in client.get(page("detail", project.pk)).content.decode()
    assert "data-confirm" in client.get(page("rotate_password", project.pk)).content.decode()
    assert not is_asked_for(project)
    answer = client.post(page("rotate_password", project.pk), follow=True)
    assert "password rotation started" in answer.content.decode()
    assert is_asked_for(project)
    assert project.events.get(reason="PasswordRotationRequested").actor == "maria"


def test_viewer_gets_no_link(project):
    client = log_in("view_project", "reveal_credentials")
    assert "rotate-password" not in client.get(page("detail", project.pk)).content.decode()
    assert client.post(page("rotate_password", project.pk)).status_code == 403


def test_link_appears_before_the_sandbox_is_ready(project, admin):
    """The card of the credentials is fetched once they are captured, and not again when the project comes to rest."""
    Project.objects.update(phase=Phase.CREATING, reason=Reason.SANDBOX_NOT_READY)
    assert page("rotate_password", project.pk) in admin.get(page("detail", project.pk)).content.decode()


def test_adopted_database_needs_a_confirmation(project, admin):
    DatabaseCluster.objects.update(origin=Origin.ADOPTED)
    answer = admin.post(page("rotate_password", project.pk))
    assert "data-unconfirmed" in answer.content.decode()
    assert not is_asked_for(project)
    assert any("locks out" in said for said in messages_of(run_action(admin, "rotate_passwords", project)))
    ran = run("rotate_password", "aaa")
    assert ran.code == 1
    assert "--with-adopted" in ran.err
    assert not is_asked_for(project)
    admin.post(page("rotate_password", project.pk), {"with_adopted": "yes"})
    assert is_asked_for(project)


def test_database_adopted_in_the_meantime_needs_a_confirmation(project, admin):
    adopted: list[int] = []

    def adopt(execute, statement, *arguments):
        """Make it an adopted database right after the view has first read it."""
        answer = execute(statement, *arguments)
        if not adopted and 'FROM "projects_databasecluster"' in statement:
            adopted.append(DatabaseCluster.objects.update(origin=Origin.ADOPTED))
        return answer

    with connection.execute_wrapper(adopt):
        answer = admin.post(page("rotate_password", project.pk))
    assert adopted == [1]
    assert "data-unconfirmed" in answer.content.decode()
    assert not is_asked_for(project)


def test_project_that_does_not_run_is_refused(admin):
    project = ProjectFactory.create(name="new")
    assert "has to be running" in admin.get(page("rotate_password", project.pk)).content.decode()
    assert any("has to be running" in said for said in messages_of(run_action(admin, "rotate_passwords", project)))
    assert run("rotate_password", "new").code == 1


def test_command_and_action_request_a_rotation(project, admin):
    other = provisioned_project(name="bbb")
    ran = run("rotate_password", "aaa")
    assert ran.code == 0, ran.err
    assert ran.out == "aaa: password rotation started.\n"
    run_action(admin, "rotate_passwords", other)
    assert is_asked_for(project)
    assert is_asked_for(other)
