"""Whose word has a Cluster taken over by its project's name, and whose has an adopted one deleted."""

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
def test_to_own_a_project_is_no_right_to_what_others_made(permissions, adopting, deleting):
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
def test_what_is_stored_is_the_right_of_who_presses(permissions, adopting, _deleting, press):
    _, client, project = owning(*permissions)
    press(client, project)
    project.refresh_from_db()
    assert (project.desired_state, project.adopts_by_name) == (DesiredState.RUNNING, adopting)


def test_who_has_a_shell_may_adopt():
    assert run("provision", "aaa").code == 0
    assert Project.objects.get(name="aaa").adopts_by_name


# --- One after the other -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("asking", [False, True])
def test_a_retry_adopts_no_more_than_what_it_repeats_and_no_more_than_its_asker_may(before, asking):
    project = ProjectFactory.create(failed=True, adopts_by_name=before)
    assert request_retry(project, actor="ann", may_adopt=asking).accepted
    assert adopts(project) is (before and asking)


@pytest.mark.parametrize("press", ["retry", "retry_selected"])
@pytest.mark.parametrize(("permissions", "adopting", "_deleting"), RIGHTS)
def test_a_retry_keeps_the_right_only_of_who_may(permissions, adopting, _deleting, press):
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
        # What is under way is asked for once: who may more has it do more, and nobody takes that back.
        (Phase.WAITING, False, True, True),
        (Phase.WAITING, True, False, True),
        # One that runs has its database.
        (Phase.RUNNING, False, True, False),
    ],
)
def test_another_request_to_provision(phase, before, asking, after):
    project = ProjectFactory.create(wanted=True, phase=phase, adopts_by_name=before)
    assert request_provision(project, actor="ann", may_adopt=asking).accepted
    assert adopts(project) is after
    if after and not before:
        assert project.events.filter(actor="ann", reason=Reason.REQUESTED).exists()


# --- Deleting what was adopted -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("permissions", "_adopting", "deleting"), RIGHTS)
def test_who_may_not_delete_what_was_adopted_is_not_asked(permissions, _adopting, deleting):
    _, client, project = owning(*permissions, running=True)
    DatabaseFactory.create(project=project, captured=True, origin=Origin.ADOPTED)
    asked = client.get(page("delete", project.pk)), run_action(client, "delete_selected_projects", project)
    for response in asked:
        body = response.content.decode()
        assert "was adopted: it is released and kept" in body
        assert ('name="delete_adopted"' in body) is deleting
        assert ("unless you tick the box below" in body) is deleting


@pytest.mark.parametrize("in_bulk", [False, True])
@pytest.mark.parametrize(("permissions", "_adopting", "deleting"), RIGHTS)
def test_a_tick_of_who_may_not_deletes_nothing_and_says_why(permissions, _adopting, deleting, in_bulk):
    _, client, project = owning(*permissions, running=True)
    DatabaseFactory.create(project=project, captured=True, origin=Origin.ADOPTED)
    if in_bulk:
        response = run_action(client, "delete_selected_projects", project, confirmed="yes", delete_adopted="yes")
    else:
        response = client.post(page("delete", project.pk), {"delete_adopted": "yes"}, follow=True)
    project.refresh_from_db()
    assert (project.desired_state == DesiredState.DELETED) is project.delete_adopted is deleting
    said = "Deleting an adopted database takes the permissions to view and to delete all projects"
    assert (response.status_code, said in response.content.decode()) == ((200, False) if deleting else (403, True))
    assert project.events.filter(message__endswith=", including its adopted database.").exists() is deleting


# --- Who is offered what -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("permissions", "adopting", "_deleting"), RIGHTS)
def test_adopt_is_offered_to_who_may_and_retry_to_everybody_else(permissions, adopting, _deleting):
    _, client, project = owning(*permissions, failed=True, reason=Reason.ADOPTION_NEEDED)
    for name, context in (("detail", "actions"), ("list", "rows")):
        shown = client.get(page(name, *([project.pk] if name == "detail" else []))).context[context]
        actions = shown if name == "detail" else next(of for row, of in shown if row == project)
        assert [action.label for action in actions if action.is_primary] == ["Adopt" if adopting else "Retry"]
        assert {action.name for action in actions} >= {"retry", "cancel", "delete"}
