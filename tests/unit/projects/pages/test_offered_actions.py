"""Which buttons and hints a page shows: only those that the project's state and the user's permissions allow."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import DatabaseCluster, Project
from projects.pages.buttons import available_buttons
from tests.factories import DatabaseFactory, ProjectFactory, UserFactory, provisioned_project
from tests.support.pages import HTMX, log_in, page

pytestmark = pytest.mark.django_db

LATE, IN_TIME = timedelta(seconds=-5), timedelta(seconds=100)


def removal(desired_state, *, left=IN_TIME, phase=Phase.DELETING, reason=Reason.DELETING, **fields) -> Project:
    project = ProjectFactory.create(
        name="aaa",
        desired_state=desired_state,
        phase=phase,
        reason=reason,
        deletion_deadline=timezone.now() + left,
        **fields,
    )
    DatabaseFactory.create(project=project, phase=Phase.DELETING)
    return project


def offered(project) -> set[str]:
    user = UserFactory.create(permissions=["view_project", "provision_project", "delete_project"])
    return {button.name for button in available_buttons(Project.objects.get(pk=project.pk), user)}


@pytest.mark.parametrize("wish", [DesiredState.DELETED, DesiredState.REGISTERED])
@pytest.mark.parametrize(
    ("fields", "is_offered"),
    [
        ({}, False),
        ({"left": LATE}, True),
        ({"phase": Phase.FAILED, "reason": Reason.DEADLINE_EXCEEDED}, True),
        ({"reason": Reason.CLUSTER_UNREACHABLE, "failures": 1}, True),
        ({"reason": Reason.CLUSTER_REFUSED, "failures": 1}, True),
        ({"reason": Reason.INTERNAL_ERROR, "failures": 1}, True),
        ({"reason": Reason.KEY_MISSING}, True),
    ],
)
def test_removal_offers_retry_and_forget_only_when_it_is_stuck(wish, fields, is_offered):
    project = removal(wish, **fields)
    assert ("forget" in offered(project)) is is_offered
    assert ("retry" in offered(project)) is is_offered
    body = log_in("view_project", "provision_project").get(page("detail", project.pk)).content.decode()
    assert ('data-next-action="none"' in body) is not is_offered


def test_provisioning_offers_retry_only_when_it_is_late():
    database = DatabaseFactory.create()
    assert offered(database.project) == {"cancel", "delete"}
    client = log_in("view_project", "provision_project")
    shown = client.get(page("detail", database.project.pk))
    assert 'data-next-action="none"' in shown.content.decode()
    DatabaseCluster.objects.filter(pk=database.pk).update(deadline=timezone.now() - timedelta(seconds=1))
    assert offered(database.project) == {"retry", "cancel", "delete"}
    late = client.get(shown.context["refresh_url"], headers=HTMX)
    assert 'data-next-action="retry"' in late.content.decode()


def test_refresh_offers_forget_as_soon_as_a_deletion_is_late():
    project = removal(DesiredState.DELETED)
    client = log_in("view_project", "provision_project", "delete_project")
    url = client.get(page("detail", project.pk)).context["refresh_url"]
    assert client.get(url, headers=HTMX).status_code == 204
    Project.objects.filter(pk=project.pk).update(deletion_deadline=timezone.now() - timedelta(seconds=1))
    assert f'href="{page("forget", project.pk)}"' in client.get(url, headers=HTMX).content.decode()


@pytest.mark.parametrize("wish", [DesiredState.DELETED, DesiredState.REGISTERED])
def test_removal_promises_no_sandbox_and_no_credentials(wish):
    body = log_in("view_project").get(page("detail", removal(wish).pk)).content.decode()
    assert "once the database" not in body
    assert "No sandbox." in body
    assert "No credentials." in body


# --- Permissions -----------------------------------------------------------------------------------------------

OFFERS = (
    'data-next-action="provision"',
    'data-next-action="retry"',
    'data-next-action="edit"',
    "Bulk actions",
    "Select projects",
)


@pytest.mark.parametrize("permissions", [["view_project"], []])
def test_viewers_are_offered_no_action(permissions):
    projects = [
        ProjectFactory.create(name="new"),
        ProjectFactory.create(name="failed", failed=True),
        ProjectFactory.create(name="drifted", running=True, reason=Reason.DRIFTED),
        removal(DesiredState.DELETED, phase=Phase.FAILED),
    ]
    client = log_in(*permissions)
    urls = [page("list"), reverse("admin:projects_project_changelist")]
    if permissions:
        urls += [page("detail", project.pk) for project in projects]
    for url in urls:
        body = client.get(url).content.decode()
        assert not [offer for offer in OFFERS if offer in body], url


@pytest.mark.parametrize("is_owner", [True, False])
def test_owners_and_operators_are_offered_actions(is_owner):
    client = log_in() if is_owner else log_in("view_project", "provision_project")
    owner = client.get(page("list")).wsgi_request.user if is_owner else None
    project = ProjectFactory.create(name="new", owner=owner)
    assert 'data-next-action="provision"' in client.get(page("detail", project.pk)).content.decode()
    assert "Bulk actions" in client.get(page("list")).content.decode()
    assert "Select projects" in client.get(reverse("admin:projects_project_changelist")).content.decode()


def test_running_project_offers_check_and_delete():
    assert offered(provisioned_project(name="aaa")) == {"provision", "delete"}
