"""Permissions to adopt a Cluster by name, and to delete an adopted database."""

import pytest
from django.test import Client

from projects.domain.permissions import may_adopt, may_delete_adopted
from projects.domain.states import DesiredState, Origin, Phase, Reason
from projects.models import Project
from projects.services.provisioning import request_provision, request_retry
from tests.factories import DatabaseFactory, ProjectFactory, UserFactory
from tests.support.commands import run
from tests.support.pages import HTMX, page
from tests.unit.projects.admin.test_actions import run_action

pytestmark = pytest.mark.django_db

# permissions of one who owns the project; may adopt; may delete what was adopted
RIGHTS = [
    ([], False, False),
    (["provision_project", "delete_project", "add_project"], False, False),
    (["view_project", "change_project", "reveal_credentials"], False, False),
    (["view_project", "provision_project"], True, False),
    (["view_project", "delete_project"], False, True),
]


def owning(*permissions, **fields):
    """Return a user with these permissions, logged in, and a project of theirs."""
    user = UserFactory.create(permissions=list(permissions))
    client = Client()
    client.force_login(user)
    return user, client, ProjectFactory.create(owner=user, **fields)


def adopts(project):
    return Project.objects.get(pk=project.pk).adopts_by_name


@pytest.mark.parametrize(("permissions", "adopting", "deleting"), RIGHTS)
def test_owners_may_not_adopt_or_delete_adopted_databases(permissions, adopting, deleting):
    user, _, _ = owning(*permissions)
    assert (may_adopt(user), may_delete_adopted(user)) == (adopting, deleting)


def by_page(client, project):
    client.post(page("provision", project.pk))


def by_htmx(client, project):
    client.post(page("provision", project.pk), headers=HTMX)


def in_bulk(client, project):
    run_action(client, "provision_selected", project)


@pytest.mark.parametrize("press", [by_page, by_htmx, in_bulk])
@pytest.mark.parametrize(("permissions", "adopting", "_deleting"), RIGHTS)
def test_request_stores_whether_its_user_may_adopt(permissions, adopting, _deleting, press):
    _, client, project = owning(*permissions)
    press(client, project)
    project.refresh_from_db()
    assert (project.desired_state, project.adopts_by_name) == (DesiredState.RUNNING, adopting)


def test_commands_can_adopt():
    assert run("provision", "aaa").code == 0
    assert Project.objects.get(name="aaa").adopts_by_name


# --- One after the other -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("asking", [False, True])
def test_retry_adopts_only_if_both_requests_may(before, asking):
    project = ProjectFactory.create(failed=True, adopts_by_name=before)
    assert request_retry(project, actor="ann", may_adopt=asking).accepted
    assert adopts(project) is (before and asking)


@pytest.mark.parametrize("press", ["retry", "retry_selected"])
@pytest.mark.parametrize(("permissions", "adopting", "_deleting"), RIGHTS)
def test_retry_by_a_user_without_permission_no_longer_adopts(permissions, adopting, _deleting, press):
    _, client, project = owning(*permissions, failed=True, adopts_by_name=True)
    if press == "retry":
        client.post(page("retry", project.pk))
    else:
        run_action(client, press, project)
    project.refresh_from_db()
    assert (project.reason, project.adopts_by_name) == (Reason.REQUESTED, adopting)


@pytest.mark.parametrize(
    ("phase", "before", "asking", "after"),
    [
        (Phase.FAILED, True, False, False),
        (Phase.FAILED, False, True, True),
        # A repeated request in progress can add the right to adopt, never remove it.
        (Phase.WAITING, False, True, True),
        (Phase.WAITING, True, False, True),
        # One that runs has its database.
        (Phase.RUNNING, False, True, False),
    ],
)
def test_second_provision_request_can_add_the_right(phase, before, asking, after):
    project = ProjectFactory.create(wanted=True, phase=phase, adopts_by_name=before)
    assert request_provision(project, actor="ann", may_adopt=asking).accepted
    assert adopts(project) is after
    if after and not before:
        assert project.events.filter(actor="ann", reason=Reason.REQUESTED).exists()


# --- Deleting what was adopted -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("permissions", "_adopting", "deleting"), RIGHTS)
def test_option_to_delete_adopted_needs_its_permissions(permissions, _adopting, deleting):
    _, client, project = owning(*permissions, running=True)
    DatabaseFactory.create(project=project, captured=True, origin=Origin.ADOPTED)
    asked = client.get(page("delete", project.pk)), run_action(client, "delete_selected_projects", project)
    for response in asked:
        body = response.content.decode()
        assert "was adopted: it will be released and kept" in body
        assert ('name="delete_adopted"' in body) is deleting
        assert ("unless you select the option below" in body) is deleting


@pytest.mark.parametrize("in_bulk", [False, True])
@pytest.mark.parametrize(("permissions", "_adopting", "deleting"), RIGHTS)
def test_forged_option_to_delete_adopted_is_refused(permissions, _adopting, deleting, in_bulk):
    _, client, project = owning(*permissions, running=True)
    DatabaseFactory.create(project=project, captured=True, origin=Origin.ADOPTED)
    if in_bulk:
        response = run_action(client, "delete_selected_projects", project, confirmed="yes", delete_adopted="yes")
    else:
        response = client.post(page("delete", project.pk), {"delete_adopted": "yes"}, follow=True)
    project.refresh_from_db()
    assert (project.desired_state == DesiredState.DELETED) is project.delete_adopted is deleting
    said = "You don&#x27;t have permission to delete adopted databases"
    assert (response.status_code, said in response.content.decode()) == ((200, False) if deleting else (403, True))
    assert project.events.filter(message__endswith=", including its adopted database.").exists() is deleting


# --- Who is offered what -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("permissions", "adopting", "_deleting"), RIGHTS)
def test_adopt_button_needs_its_permissions(permissions, adopting, _deleting):
    _, client, project = owning(*permissions, failed=True, reason=Reason.ADOPTION_NEEDED)
    for name, context in (("detail", "buttons"), ("list", "rows")):
        shown = client.get(page(name, *([project.pk] if name == "detail" else []))).context[context]
        buttons = shown if name == "detail" else next(of for row, of in shown if row == project)
        assert [button.label for button in buttons if button.is_primary] == ["Adopt" if adopting else "Retry"]
        assert {button.name for button in buttons} >= {"retry", "cancel", "delete"}
