"""What the admin calls things: breadcrumbs, facts that someone may not change, the way to the live view."""

import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from projects.models import Project
from tests.factories import EventFactory, ProjectFactory, SandboxFactory, provisioned_project
from tests.projects.pages import log_in

pytestmark = pytest.mark.django_db

NO_VARIABLES = {"variables-TOTAL_FORMS": "0", "variables-INITIAL_FORMS": "0"}


def breadcrumbs(body: str) -> list[str]:
    """Return the texts of the page's breadcrumbs, in order."""
    parts = re.findall(
        r'<(?:a|span)[^>]* class="align-middle inline-block[^"]*tracking-tight">(.*?)</(?:a|span)', body, re.S
    )
    return [strip_tags(part).strip() for part in parts]


def change_page(client: Client, project: Project) -> str:
    return client.get(reverse("admin:projects_project_change", args=[project.pk])).content.decode()


def test_breadcrumbs_have_names_as_written_and_nothing_twice(admin):
    project = ProjectFactory.create(name="aab")
    assert breadcrumbs(change_page(admin, project)) == ["Projects", "aab"]
    assert breadcrumbs(admin.get(reverse("admin:projects_project_changelist")).content.decode()) == ["Projects"]
    sandbox = SandboxFactory.create(project__name="abc")
    body = admin.get(reverse("admin:projects_sandbox_change", args=[sandbox.pk])).content.decode()
    assert breadcrumbs(body) == ["Projects", "Sandboxes", "abc-sandbox"]


def test_the_default_database_is_shown_in_words_to_who_may_not_share_it():
    project = ProjectFactory.create(default_database_allowed=True)
    client = log_in("view_project", "change_project", "add_project")
    body = change_page(client, project)
    assert 'name="default_database_allowed"' not in body
    assert re.search(r"May start with the default database.*?>\s*Yes\s*<", body, re.S)

    Project.objects.update(default_database_allowed=False)
    assert re.search(r"May start with the default database.*?>\s*No\s*<", change_page(client, project), re.S)
    assert "May start with the default database" in client.get(reverse("admin:projects_project_add")).content.decode()


@pytest.mark.parametrize("may_share", [True, False])
def test_only_who_may_share_the_default_database_can(may_share):
    project = ProjectFactory.create()
    client = log_in("view_project", "change_project", *(["allow_default_database"] if may_share else []))
    assert ('name="default_database_allowed"' in change_page(client, project)) is may_share
    data = {**NO_VARIABLES, "owner": "", "description": "", "namespace": "default", "default_database_allowed": "on"}
    assert client.post(reverse("admin:projects_project_change", args=[project.pk]), data).status_code == 302
    project.refresh_from_db()
    assert project.default_database_allowed is may_share


def test_a_deleted_project_shows_no_control_that_cannot_be_used(admin):
    body = change_page(admin, ProjectFactory.create(deleted=True))
    assert 'name="default_database_allowed"' not in body
    assert "May start with the default database" in body


@pytest.mark.parametrize(("simulated", "word"), [(True, "Yes"), (False, "No")])
def test_whether_a_sandbox_is_simulated_is_said_in_words(admin, simulated, word):
    SandboxFactory.create(is_simulated=simulated)
    body = admin.get(reverse("admin:projects_sandbox_changelist")).content.decode()
    (cell,) = re.findall(r"<td[^>]*field-simulated_shown[^>]*>(.*?)</td>", body, re.S)
    assert strip_tags(cell).split()[-1] == word


def test_the_way_to_the_live_view_stands_beside_the_phase(admin):
    project = ProjectFactory.create()
    body = admin.get(reverse("admin:projects_project_changelist")).content.decode()
    assert body.index("field-phase_shown") < body.index(f'href="{project.get_absolute_url()}"')
    assert body.index(f'href="{project.get_absolute_url()}"') < body.index("field-reason_shown")


def test_no_page_of_a_record_shows_what_python_holds(admin):
    project = provisioned_project()
    EventFactory.create(project=project)
    for row in (project.database, project.sandbox, project.events.first()):
        assert row is not None
        body = admin.get(reverse(f"admin:projects_{row._meta.model_name}_change", args=[row.pk])).content.decode()
        values = [strip_tags(value) for value in re.findall(r'<div class="readonly[^"]*">(.*?)</div>', body, re.S)]
        assert values
        assert not [value for value in values if value.startswith(("(&#x27;", "[", "{"))]
    database = admin.get(reverse("admin:projects_databasecluster_change", args=[project.database.pk])).content.decode()
    assert re.search(r"Credentials.*?>Captured<", database, re.S)
    assert "API version" in database
    assert "UID" in database
