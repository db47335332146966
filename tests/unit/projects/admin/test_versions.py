"""Two users edit one object: no save undoes a change that its user has not seen."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from projects.models import Project, ProjectVariable, SandboxTemplate
from tests.factories import PASSWORD, ProjectFactory, UserFactory, VariableFactory
from tests.support.pages import edit, opened
from tests.unit.projects.admin.test_projects import variable_rows
from tests.unit.projects.admin.test_templates import VALUES

pytestmark = pytest.mark.django_db

CHANGE = "admin:projects_project_change"


def differences(answer: Any) -> list[tuple[str, str, str]]:
    """Return what a refused form shows: (field, stored value, value of the form)."""
    assert answer.status_code == 200
    return [(found.label, found.theirs, found.yours) for found in answer.context["adminform"].form.differences]


def replacing(answer: Any) -> dict[str, str]:
    """Return what a refused form sends when its user chooses to replace the stored values."""
    form = answer.context["adminform"].form
    return {"_version": form.carried_version, "_replaced_version": form.stored_version}


def project_fields(**fields: str) -> dict[str, str]:
    none = {"variables-TOTAL_FORMS": "0", "variables-INITIAL_FORMS": "0"}
    return {"namespace": "default", "owner": "", "description": "", **none, **fields}


def test_second_save_of_a_project_is_refused_with_both_values(admin: Client):
    project = ProjectFactory.create(description="old")
    url = reverse(CHANGE, args=[project.pk])
    version = opened(admin, url)
    assert edit(admin, url, project_fields(description="theirs")).status_code == 302

    refused = admin.post(url, {**version, **project_fields(description="mine", drift_policy="report")})
    assert differences(refused) == [("Description", "theirs", "mine")]
    body = refused.content.decode()
    assert "was changed after this form was opened" in body
    assert ">mine</textarea>" in body
    assert '<option value="report" selected>' in body
    project.refresh_from_db()
    assert (project.description, project.drift_policy) == ("theirs", "")


def test_refused_form_is_saved_only_by_choice(admin: Client):
    project = ProjectFactory.create(description="old")
    url = reverse(CHANGE, args=[project.pk])
    version = opened(admin, url)
    edit(admin, url, project_fields(description="theirs"))
    refused = admin.post(url, {**version, **project_fields(description="mine")})
    again = admin.post(url, {"_version": replacing(refused)["_version"], **project_fields(description="mine")})
    assert differences(again) == [("Description", "theirs", "mine")]

    edit(admin, url, project_fields(description="theirs again"))
    third = admin.post(url, {**replacing(again), **project_fields(description="mine")})
    assert differences(third) == [("Description", "theirs again", "mine")]
    assert admin.post(url, {**replacing(third), **project_fields(description="mine")}).status_code == 302
    assert Project.objects.get().description == "mine"


def test_form_without_a_version_changes_nothing(admin: Client):
    project = ProjectFactory.create(description="stored")
    url = reverse(CHANGE, args=[project.pk])
    for version in ({}, {"_version": "{"}, {"_version": "[1]"}, {"_version": "[" * 100_000}):
        refused = admin.post(url, {**version, **project_fields(description="mine")})
        assert differences(refused) == [("Description", "stored", "mine")]
    assert Project.objects.get().description == "stored"


def test_same_change_by_two_users_is_no_conflict(admin: Client):
    project = ProjectFactory.create()
    url = reverse(CHANGE, args=[project.pk])
    version = opened(admin, url)
    for _ in range(2):
        assert admin.post(url, {**version, **project_fields(description="a\r\nb")}).status_code == 302


def test_pass_between_opening_and_saving_is_no_conflict(admin: Client):
    project = ProjectFactory.create(waiting=True)
    url = reverse(CHANGE, args=[project.pk])
    version = opened(admin, url)
    Project.objects.update(message="Another status.", failures=3, drift=[])
    assert admin.post(url, {**version, **project_fields(description="mine")}).status_code == 302


def test_variable_that_both_changed_is_refused_with_its_values_masked(admin: Client):
    variable = VariableFactory.create(name="TOKEN")
    project, url = variable.project, reverse(CHANGE, args=[variable.project_id])
    version = opened(admin, url)
    edit(admin, url, variable_rows(project, (variable, "TOKEN", "canary-theirs")))

    refused = admin.post(url, {**version, **variable_rows(project, (variable, "TOKEN", "canary-mine"))})
    assert differences(refused) == [
        ("Variable TOKEN", "name TOKEN, value ••••••", "name TOKEN, value •••••• (entered)")
    ]
    assert "canary" not in refused.content.decode()
    assert PASSWORD not in refused.content.decode()
    variable.refresh_from_db()
    assert variable.value.reveal() == "canary-theirs"

    data = variable_rows(project, (variable, "TOKEN", "canary-mine"))
    assert admin.post(url, {**replacing(refused), **data}).status_code == 302
    variable.refresh_from_db()
    assert variable.value.reveal() == "canary-mine"


def test_variable_that_only_the_other_user_changed_is_kept(admin: Client):
    variable = VariableFactory.create(name="TOKEN")
    project, url = variable.project, reverse(CHANGE, args=[variable.project_id])
    version = opened(admin, url)
    edit(admin, url, variable_rows(project, (variable, "TOKEN", "theirs"), (None, "NEW", "theirs")))
    data = {**variable_rows(project, (variable, "TOKEN", "")), "description": "mine"}
    assert admin.post(url, {**version, **data}).status_code == 302
    assert {row.name: row.value.reveal() for row in ProjectVariable.objects.all()} == {
        "TOKEN": "theirs",
        "NEW": "theirs",
    }


def test_removed_variable_is_shown_and_added_again_by_choice(admin: Client):
    variable = VariableFactory.create(name="TOKEN")
    project, url = variable.project, reverse(CHANGE, args=[variable.project_id])
    version, data = opened(admin, url), variable_rows(project, (variable, "TOKEN", "mine"))
    edit(admin, url, {**variable_rows(project, (variable, "TOKEN", "")), "variables-0-DELETE": "on"})
    assert not ProjectVariable.objects.exists()

    refused = admin.post(url, {**version, **data})
    assert differences(refused) == [("Variable TOKEN", "removed", "name TOKEN, value •••••• (entered)")]
    assert 'value="TOKEN"' in refused.content.decode()
    data = variable_rows(project, (None, "TOKEN", "mine"))
    assert admin.post(url, {**replacing(refused), **data}).status_code == 302
    assert ProjectVariable.objects.get().value.reveal() == "mine"


def test_untouched_variable_that_was_removed_stays_removed(admin: Client):
    variable = VariableFactory.create(name="TOKEN")
    project, url = variable.project, reverse(CHANGE, args=[variable.project_id])
    version, data = opened(admin, url), variable_rows(project, (variable, "TOKEN", ""))
    variable.delete()
    refused = admin.post(url, {**version, **data, "description": "mine"})
    assert differences(refused) == [("Variable TOKEN", "removed", "no value entered: stays removed")]
    data = {**variable_rows(project), "description": "mine"}
    assert admin.post(url, {**replacing(refused), **data}).status_code == 302
    assert not ProjectVariable.objects.exists()


def test_variable_that_both_added_is_refused(admin: Client):
    project = ProjectFactory.create()
    url = reverse(CHANGE, args=[project.pk])
    version = opened(admin, url)
    edit(admin, url, variable_rows(project, (None, "TOKEN", "theirs")))
    refused = admin.post(url, {**version, **variable_rows(project, (None, "TOKEN", "mine"))})
    assert [label for label, _, _ in differences(refused)] == ["Variable TOKEN"]
    stored = ProjectVariable.objects.get()
    data = variable_rows(project, (stored, "TOKEN", "mine"))
    assert admin.post(url, {**replacing(refused), **data}).status_code == 302
    assert ProjectVariable.objects.get().value.reveal() == "mine"


def test_second_save_of_a_template_is_refused(admin: Client):
    template = SandboxTemplate.objects.create(**VALUES)
    url = reverse("admin:projects_sandboxtemplate_change", args=[template.pk])
    version = opened(admin, url)
    edit(admin, url, {**VALUES, "image": "example.org/node:23"})
    refused = admin.post(url, {**version, **VALUES, "memory": "1Gi"})
    assert differences(refused) == [("Image", "example.org/node:23", "example.org/node:22")]
    template.refresh_from_db()
    assert (template.image, template.memory) == ("example.org/node:23", "512Mi")


def test_second_save_of_a_user_is_refused(admin: Client):
    viewers, operators = Group.objects.get(name="Viewer"), Group.objects.get(name="Operator")
    user = UserFactory.create(username="maria")
    url = reverse("admin:auth_user_change", args=[user.pk])
    version, data = opened(admin, url), {"username": "maria", "is_staff": "on", "is_active": "on"}
    edit(admin, url, {**data, "groups": [viewers.pk]})
    refused = admin.post(url, {**version, "username": "maria", "is_active": "on", "groups": [operators.pk]})
    assert differences(refused) == [("Groups", "with Viewer", "with Operator")]
    user.refresh_from_db()
    assert user.is_staff
    assert list(user.groups.all()) == [viewers]


def test_second_save_of_a_group_is_refused(admin: Client):
    group, permission = Group.objects.create(name="team"), Permission.objects.get(codename="view_project")
    url = reverse("admin:auth_group_change", args=[group.pk])
    version = opened(admin, url)
    edit(admin, url, {"name": "team", "permissions": [permission.pk]})
    refused = admin.post(url, {**version, "name": "crew", "permissions": []})
    assert differences(refused) == [("Permissions", f"with {permission}", "without them")]
    group.refresh_from_db()
    assert group.name == "team"


def test_form_of_a_deleted_template_keeps_its_input(admin: Client):
    template = SandboxTemplate.objects.create(**VALUES)
    url = reverse("admin:projects_sandboxtemplate_change", args=[template.pk])
    version = opened(admin, url)
    template.delete()
    page = admin.post(url, {**version, **VALUES, "description": "a, b & c"}, follow=True)
    assert "was deleted after its form was opened" in page.content.decode()
    form = page.context["adminform"].form
    assert {name: form.initial[name] for name in (*VALUES, "description")} == {**VALUES, "description": "a, b & c"}


def test_form_of_a_deleted_group_keeps_its_permissions(admin: Client):
    group, permission = Group.objects.create(name="team"), Permission.objects.get(codename="view_project")
    url = reverse("admin:auth_group_change", args=[group.pk])
    version = opened(admin, url)
    group.delete()
    page = admin.post(url, {**version, "name": "crew", "permissions": [permission.pk]}, follow=True)
    assert page.context["adminform"].form.initial["permissions"] == [str(permission.pk)]


def test_version_says_nothing_about_the_values(admin: Client, settings):
    first, second = (VariableFactory.create(name="TOKEN") for _ in range(2))
    versions = [opened(admin, reverse(CHANGE, args=[row.project_id]))["_version"] for row in (first, second)]
    assert versions[0] != versions[1]
    settings.SECRET_KEY = "another"  # the digests have a key, so nobody can check a guess of a value
    client = Client()
    client.force_login(User.objects.get())
    assert opened(client, reverse(CHANGE, args=[first.project_id]))["_version"] != versions[0]


def test_users_without_permission_to_save_get_no_version(db):
    project = ProjectFactory.create()
    client = Client()
    client.force_login(UserFactory.create(permissions=["view_project"]))
    assert opened(client, reverse(CHANGE, args=[project.pk])) == {}
    assert User.objects.count() == 1
