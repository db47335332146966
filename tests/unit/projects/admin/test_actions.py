"""The admin's bulk actions: tasks, messages, permissions."""

import pytest
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from projects.domain.states import DesiredState, Phase
from projects.models import Project
from tests.factories import (
    DatabaseFactory,
    ProjectFactory,
    UserFactory,
    provisioned_project,
)
from tests.support.html import links_of

pytestmark = pytest.mark.django_db

LIST = "admin:projects_project_changelist"


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(UserFactory.create(permissions=list(permissions), username="maria"))
    return client


def run_action(client: Client, action: str, *projects: Project, **data: str):
    return client.post(
        reverse(LIST), {"action": action, "_selected_action": [p.pk for p in projects], **data}, follow=True
    )


def messages_of(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


# --- Bulk actions ----------------------------------------------------------------------------------------------


def test_bulk_provision_reports_each_project(admin):
    fresh = ProjectFactory.create(name="aaa")
    running = ProjectFactory.create(name="bbb", waiting=True)
    deleted = ProjectFactory.create(name="ccc", deleted=True)
    response = run_action(admin, "provision_selected", fresh, running, deleted, phase="any")
    assert messages_of(response)[:2] == [
        "aaa: provisioning started.",
        f"bbb is already being provisioned: {running.message}",
    ]
    fresh.refresh_from_db()
    assert fresh.desired_state == DesiredState.RUNNING
    assert {task.task["args"] for task in OrmQ.objects.all()} == {(fresh.pk,), (running.pk,)}


def test_bulk_retry_explains_refusals(admin):
    never = ProjectFactory.create(name="aaa")
    failed = ProjectFactory.create(name="bbb", failed=True)
    response = run_action(admin, "retry_selected", never, failed)
    *said, progress = messages_of(response)
    assert said == ["bbb: retry started.", "aaa is not provisioned. Press Provision instead."]
    assert links_of(progress) == [("View progress of bbb", failed.get_absolute_url())]
    assert OrmQ.objects.get().task["args"] == (failed.pk,)


def test_refused_actions_link_to_no_progress(admin):
    response = run_action(admin, "retry_selected", ProjectFactory.create(name="aaa"))
    assert messages_of(response) == ["aaa is not provisioned. Press Provision instead."]


def test_many_outcomes_are_grouped(admin):
    projects = [ProjectFactory.create(name=f"new-{n:02}") for n in range(20)]
    projects += [ProjectFactory.create(name=f"old-{n:02}", failed=True) for n in range(2)]
    response = run_action(admin, "retry_selected", *projects[:12], *projects[20:])
    retried, first_retried, refused, _ = messages_of(response)
    assert (retried, first_retried) == (
        "old-00: retry started.",
        "old-01: retry started.",
    )
    assert refused.startswith("<p><strong>12 projects</strong>: Not provisioned. Press Provision instead. (new-00,")

    response = run_action(admin, "provision_selected", *projects[:20])
    accepted, follow = messages_of(response)
    assert f'href="{reverse("projects:list")}?phase=unsettled">View progress of all projects</a>' in follow
    assert accepted.startswith("<p><strong>20 projects</strong>: Provisioning started. (new-00, new-01,")
    assert OrmQ.objects.count() == 22


def test_bulk_delete_asks_first_and_lists_what_is_kept(admin):
    created = provisioned_project(name="aaa")
    adopted = ProjectFactory.create(name="bbb", running=True)
    DatabaseFactory.create(project=adopted, captured=True, origin="adopted")
    gone = ProjectFactory.create(name="ccc", deleted=True)

    response = run_action(admin, "delete_selected_projects", created, adopted, gone)
    body = response.content.decode()
    assert "Delete 2 projects?" in body
    assert "aaa-agentruntime-abc123</strong> and all its data will be deleted" in body
    assert "bbb-agentruntime-abc123</strong> was adopted: it will be released and kept" in body
    assert not OrmQ.objects.exists()

    run_action(admin, "delete_selected_projects", created, adopted, confirmed="yes")
    for project in (created, adopted):
        project.refresh_from_db()
        assert (project.desired_state, project.phase) == (DesiredState.DELETED, Phase.DELETING)
        assert not project.delete_adopted
    assert OrmQ.objects.count() == 2


def test_bulk_delete_includes_adopted_databases_on_request(admin):
    adopted = ProjectFactory.create(running=True)
    DatabaseFactory.create(project=adopted, captured=True, origin="adopted")
    run_action(admin, "delete_selected_projects", adopted, confirmed="yes", delete_adopted="yes")
    adopted.refresh_from_db()
    assert adopted.delete_adopted


@pytest.mark.parametrize(
    ("permissions", "offered"),
    [
        (("view_project",), set()),
        (
            ("view_project", "provision_project"),
            {
                "provision_selected",
                "retry_selected",
                "cancel_selected",
                "verify_selected",
                "rotate_passwords",
                "restore_secrets",
            },
        ),
        (("view_project", "delete_project"), {"delete_selected_projects"}),
    ],
)
def test_actions_need_their_permissions(permissions, offered):
    project = ProjectFactory.create()
    client = staff(*permissions)
    form = client.get(reverse(LIST)).context["action_form"]
    choices = {value for value, _ in form.fields["action"].choices if value} if form else set()
    assert choices == offered
    changing = {
        "provision_selected",
        "retry_selected",
        "cancel_selected",
        "rotate_passwords",
        "delete_selected_projects",
    }
    for action in changing - offered:
        run_action(client, action, project, confirmed="yes")
    project.refresh_from_db()
    assert project.desired_state == DesiredState.REGISTERED
    assert not OrmQ.objects.exists()
