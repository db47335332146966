"""Bulk actions and forms with thousands of rows."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from projects.domain.limits import MOST_FORMS
from projects.domain.states import DesiredState, Phase
from projects.models import Project, ProjectVariable
from tests.factories import ProjectFactory
from tests.support.pages import edit

pytestmark = pytest.mark.django_db
LIST = "admin:projects_project_changelist"


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def add_many(count: int) -> None:
    """Add projects that have failed, so that there is something to delete."""
    Project.objects.bulk_create(
        ProjectFactory.build(name=f"p{number}", kubernetes_name=f"p{number}", phase=Phase.FAILED)
        for number in range(count)
    )


def hidden_fields(body: str) -> dict[str, list[str]]:
    """Return what a page's form sends: the names and values of its hidden fields."""
    fields: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*type=\"hidden\"[^>]*>", body):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and value and name[1] != "csrfmiddlewaretoken":
            fields.setdefault(name[1], []).append(value[1])
    return fields


def confirmation(client: Client) -> str:
    """Select all projects and return the page that asks before they are deleted."""
    data = {
        "action": "delete_selected_projects",
        "select_across": "1",
        "_selected_action": [Project.objects.first().pk],
    }
    answer = client.post(reverse(LIST), data)
    assert answer.status_code == 200
    return answer.content.decode()


def test_1200_projects_are_deleted_by_the_button_of_their_confirmation(root):
    add_many(1200)
    answer = root.post(reverse(LIST), hidden_fields(confirmation(root)), follow=True)
    assert answer.status_code == 200
    assert Project.objects.filter(desired_state=DesiredState.DELETED).count() == 1200
    assert "and 1150 more" in answer.content.decode()


def test_confirmation_of_10000_projects_is_accepted(root):
    add_many(10_000)
    body = confirmation(root)
    fields = hidden_fields(body)
    assert len(fields["_selected_action"]) == 10_000
    assert "Delete 10000 projects" in body
    assert len(body) < 4_000_000
    fields["confirmed"] = ["no"]
    assert root.post(reverse(LIST), fields).status_code == 200


def test_form_with_the_most_variables_is_accepted(root):
    project = ProjectFactory.create(name="aaa")
    rows = ProjectVariable.objects.bulk_create(
        ProjectVariable(project=project, name=f"V{number}") for number in range(MOST_FORMS)
    )
    data: dict[str, object] = {
        "namespace": "default",
        "description": "new",
        "variables-TOTAL_FORMS": MOST_FORMS,
        "variables-INITIAL_FORMS": MOST_FORMS,
    }
    for index, row in enumerate(rows):
        data |= {f"variables-{index}-id": row.pk, f"variables-{index}-project": project.pk}
        data |= {f"variables-{index}-name": row.name, f"variables-{index}-value": "", f"variables-{index}-DELETE": ""}
    assert len(data) > 1000
    assert edit(root, reverse("admin:projects_project_change", args=[project.pk]), data).status_code == 302
