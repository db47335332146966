"""The admin of projects: lists, forms, masking, permissions."""

from types import SimpleNamespace

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import DesiredState, Phase
from projects.models import DatabaseCluster, Event, Project, ProjectVariable, Sandbox
from projects.services.provisioning import request_delete
from tests.factories import (
    PASSWORD,
    ProjectFactory,
    SandboxFactory,
    UserFactory,
    VariableFactory,
    provisioned_project,
)
from tests.support.pages import edit

pytestmark = pytest.mark.django_db

LIST = "admin:projects_project_changelist"
ADD = "admin:projects_project_add"
CHANGE = "admin:projects_project_change"
NO_VARIABLES = {"variables-TOTAL_FORMS": "0", "variables-INITIAL_FORMS": "0"}


def variable_rows(project: Project, *rows: tuple[ProjectVariable | None, str, str]) -> dict[str, str]:
    """Return the inline's form data: (row or None for a new one, name, value as typed)."""
    data = {
        "variables-TOTAL_FORMS": str(len(rows)),
        "variables-INITIAL_FORMS": str(sum(row is not None for row, _, _ in rows)),
        "owner": "",
        "description": project.description,
        "namespace": project.namespace,
    }
    for index, (row, name, value) in enumerate(rows):
        data |= {f"variables-{index}-name": name, f"variables-{index}-value": value}
        data |= {f"variables-{index}-id": str(row.pk) if row else "", f"variables-{index}-project": str(project.pk)}
    return data


# --- Lists -----------------------------------------------------------------------------------------------------


def test_number_of_queries_of_the_list_does_not_grow_with_rows(admin, django_assert_max_num_queries):
    for _ in range(25):
        provisioned_project(owner=UserFactory.create())
    admin.get(reverse(LIST))
    with django_assert_max_num_queries(10):
        body = admin.get(reverse(LIST)).content.decode()
    assert body.count("Live view of project-") == 25


@pytest.mark.parametrize("model", ["databasecluster", "sandbox", "event"])
def test_number_of_queries_of_other_lists_does_not_grow_with_rows(admin, model, django_assert_max_num_queries):
    for _ in range(12):
        provisioned_project()
    with django_assert_max_num_queries(8):
        assert admin.get(reverse(f"admin:projects_{model}_changelist")).status_code == 200


def test_deleted_projects_are_hidden_by_default(admin):
    ProjectFactory.create(name="alpha")
    ProjectFactory.create(name="gamma", deleted=True)

    def names(query: str) -> list[str]:
        return [project.name for project in admin.get(reverse(LIST) + query).context["cl"].result_list]

    assert names("") == ["alpha"]
    assert names("?phase=Deleted") == ["gamma"]
    assert names("?phase=any") == ["alpha", "gamma"]


def test_filters_by_owner_namespace_desired_state_and_default_credentials(admin):
    zoe = UserFactory.create(username="zoe")
    ProjectFactory.create(name="alpha", owner=zoe)
    ProjectFactory.create(name="beta", namespace="other", running=True)
    SandboxFactory.create(project=ProjectFactory.create(name="gamma", running=True), credentials="default")

    def names(query: str) -> list[str]:
        return [project.name for project in admin.get(reverse(LIST) + query).context["cl"].result_list]

    assert names(f"?owner__id__exact={zoe.pk}") == ["alpha"]
    assert names("?namespace=other") == ["beta"]
    assert names("?desired_state__exact=running") == ["beta", "gamma"]
    assert names("?credentials=default") == ["gamma"]
    assert names("?q=alph") == ["alpha"]


@pytest.mark.parametrize(
    "url",
    [
        "admin:index",
        "admin:auth_user_changelist",
        "admin:auth_group_changelist",
        "admin:auth_user_add",
        "admin:django_q_ormq_changelist",
        "admin:django_q_failure_changelist",
        "admin:django_q_success_changelist",
        "admin:django_q_schedule_changelist",
    ],
)
def test_every_sidebar_page_opens(admin, url):
    assert admin.get(reverse(url)).status_code == 200


# --- Adding and changing ---------------------------------------------------------------------------------------


def test_add_form_saves_the_project_and_its_variables(admin):
    page = admin.get(reverse(ADD))
    assert page.context["adminform"].form.initial["owner"] == User.objects.get(username="root").pk
    response = admin.post(
        reverse(ADD),
        {
            **variable_rows(ProjectFactory.build(), (None, "API_KEY", PASSWORD)),
            "variables-0-project": "",
            "name": " Web  Shop ",
            "owner": User.objects.get().pk,
            "namespace": "",
        },
    )
    assert response.status_code == 302, response.context["errors"]
    project = Project.objects.get()
    assert (project.name, project.kubernetes_name, project.namespace) == ("Web Shop", "web-shop", "default")
    assert project.variables.get().value.reveal() == PASSWORD
    assert [event.reason for event in project.events.all()] == ["Registered"]
    assert PASSWORD not in "".join(Event.objects.values_list("message", flat=True))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", "The name is empty"),
        ("x" * 300, "The name has 300 characters"),
        ("../x", "characters that can&#x27;t be used: /"),
        ("<script>alert(1)</script>", "characters that can&#x27;t be used"),
        ("a\0b", "U+0000"),
        ("漢字", "no letter a-z and no digit"),
        ("TAKEN", "and so is the project &#x27;taken&#x27;"),
        ("gone", "names can&#x27;t be reused"),
    ],
)
def test_invalid_name_shows_an_error(admin, name, error):
    ProjectFactory.create(name="taken")
    ProjectFactory.create(name="Gone", deleted=True)
    response = admin.post(reverse(ADD), {**NO_VARIABLES, "name": name})
    assert response.status_code == 200
    body = response.content.decode()
    assert error in body
    assert "<script>alert" not in body
    assert Project.objects.count() == 2


def test_name_taken_between_check_and_insert_shows_an_error(admin):
    """The rival's row is there, and only the first check is too early to see it."""
    ProjectFactory.create(name="aaa")
    inserts = []

    def look_too_early(execute, sql, params, many, context):
        if sql.startswith('INSERT INTO "projects_project"'):
            inserts.append(sql)
        if not inserts and sql.startswith("SELECT") and " WHERE " in sql:
            params = tuple("not-there-yet" if value == "aaa" else value for value in params)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look_too_early):
        response = admin.post(reverse(ADD), {**NO_VARIABLES, "name": "aaa", "owner": ""})
    assert len(inserts) == 1
    assert response.status_code == 200
    assert "The project &#x27;aaa&#x27; already exists. Choose another name." in response.content.decode()
    assert Project.objects.count() == 1


def test_stale_namespace_of_a_provisioned_project_gets_a_warning(admin):
    project = ProjectFactory.create(name="aaa")
    data = {**NO_VARIABLES, "namespace": "other", "owner": "", "description": "changed"}
    Project.objects.filter(pk=project.pk).update(desired_state=DesiredState.RUNNING)
    page = edit(admin, reverse(CHANGE, args=[project.pk]), data, follow=True)
    project.refresh_from_db()
    assert (project.namespace, project.description) == ("default", "changed")
    assert "aaa was provisioned in the meantime. Its namespace stays default." in page.content.decode()


@pytest.mark.parametrize("phase", [Phase.DELETING, Phase.DELETED])
def test_project_deleted_in_the_meantime_is_not_changed(admin, phase):
    project = ProjectFactory.create(name="aaa", running=True)
    data = {**variable_rows(project, (None, "TOKEN", PASSWORD)), "description": "changed"}
    Project.objects.filter(pk=project.pk).update(desired_state=DesiredState.DELETED, phase=phase)
    page = edit(admin, reverse(CHANGE, args=[project.pk]), data)
    assert page.status_code == 403
    assert "aaa is deleted or being deleted." in page.content.decode()
    project.refresh_from_db()
    assert project.description == ""
    assert not project.variables.exists()


def test_name_is_fixed_and_namespace_too_once_provisioned(admin):
    project = ProjectFactory.create(name="aaa", running=True)
    data = {**NO_VARIABLES, "name": "other", "namespace": "other", "owner": "", "description": "changed"}
    assert edit(admin, reverse(CHANGE, args=[project.pk]), data).status_code == 302
    project.refresh_from_db()
    assert (project.name, project.namespace, project.description) == ("aaa", "default", "changed")


def test_empty_variable_value_keeps_the_stored_one(admin):
    project = ProjectFactory.create(running=True)
    kept = VariableFactory.create(project=project, name="KEPT")
    replaced = VariableFactory.create(project=project, name="REPLACED")
    url = reverse(CHANGE, args=[project.pk])
    body = admin.get(url).content.decode()
    assert "KEPT" in body
    assert "canary" not in body

    response = edit(admin, url, variable_rows(project, (kept, "KEPT", ""), (replaced, "REPLACED", "new value")))
    assert response.status_code == 302
    kept.refresh_from_db()
    replaced.refresh_from_db()
    assert kept.value.reveal() == PASSWORD
    assert replaced.value.reveal() == "new value"
    event = project.events.get()
    assert event.message == "root changed variable REPLACED."
    assert OrmQ.objects.count() == 1, "a running sandbox gets a pass that applies the change"


def test_event_says_which_variables_were_added_changed_and_removed(admin):
    project = ProjectFactory.create(running=True)
    old = VariableFactory.create(project=project, name="OLD")
    data = variable_rows(project, (old, "OLD", ""), (None, "ONE", "1"), (None, "TWO", "2"))
    url = reverse(CHANGE, args=[project.pk])
    assert edit(admin, url, {**data, "variables-0-DELETE": "on", "description": "other"}).status_code == 302
    event = project.events.get()
    assert event.message == "root changed description; added variables ONE, TWO; removed variable OLD."


def test_saving_without_changes_enqueues_nothing(admin):
    project = ProjectFactory.create(running=True)
    variable = VariableFactory.create(project=project, name="KEPT")
    edit(admin, reverse(CHANGE, args=[project.pk]), variable_rows(project, (variable, "KEPT", "")))
    assert not OrmQ.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("name", "error"), [("1ST", "not starting with a digit"), ("PGHOST", "PGHOST is set by the panel")]
)
def test_invalid_variable_name_shows_an_error(admin, name, error):
    project = ProjectFactory.create()
    response = edit(admin, reverse(CHANGE, args=[project.pk]), variable_rows(project, (None, name, PASSWORD)))
    assert response.status_code == 200
    assert error in response.content.decode()
    assert "canary" not in response.content.decode()


def test_duplicate_variable_name_shows_an_error(admin):
    project = ProjectFactory.create()
    first = VariableFactory.create(project=project, name="FIRST")
    second = VariableFactory.create(project=project, name="SECOND")
    response = edit(
        admin, reverse(CHANGE, args=[project.pk]), variable_rows(project, (first, "SECOND", ""), (second, "SECOND", ""))
    )
    assert response.status_code == 200
    assert "duplicate" in response.content.decode()


# --- Masks -----------------------------------------------------------------------------------------------------


def test_no_admin_page_shows_the_password(admin):
    project = provisioned_project()
    VariableFactory.create(project=project)
    urls = [reverse(LIST), reverse("admin:index"), reverse(CHANGE, args=[project.pk])]
    for model, row in (("databasecluster", project.database), ("sandbox", project.sandbox)):
        assert row is not None
        urls += [
            reverse(f"admin:projects_{model}_changelist"),
            reverse(f"admin:projects_{model}_change", args=[row.pk]),
        ]
    database = project.database
    assert database is not None
    for url in urls:
        body = admin.get(url).content.decode()
        assert "canary" not in body, url
        assert database.password.stored not in body, url
        assert "gAAAA" not in body, f"ciphertext on {url}"


@pytest.mark.parametrize("model", ["databasecluster", "sandbox", "event"])
def test_records_are_read_only(admin, model):
    project = provisioned_project()
    event = Event.objects.create(project=project, at=project.created_at, actor="x", reason="X", message="y")
    row = {"databasecluster": project.database, "sandbox": project.sandbox, "event": event}[model]
    assert row is not None
    url = reverse(f"admin:projects_{model}_change", args=[row.pk])
    assert admin.get(url).status_code == 200
    assert edit(admin, url, {"name": "other"}).status_code == 403
    assert admin.post(reverse(f"admin:projects_{model}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    assert admin.get(reverse(f"admin:projects_{model}_add")).status_code == 403


def test_admin_removes_no_project_row(admin):
    project = ProjectFactory.create()
    assert admin.post(reverse("admin:projects_project_delete", args=[project.pk]), {"post": "yes"}).status_code == 403
    admin.post(reverse(LIST), {"action": "delete_selected", "_selected_action": [project.pk], "post": "yes"})
    assert Project.objects.filter(pk=project.pk).exists()


def test_queued_tasks_show_no_arguments(admin):
    project = ProjectFactory.create(name="aaa")
    admin.post(reverse(LIST), {"action": "provision_selected", "_selected_action": [project.pk]})
    task = OrmQ.objects.get()
    body = admin.get(reverse("admin:django_q_ormq_changelist")).content.decode()
    assert "provisioning.tasks.reconcile_project" in body
    assert task.payload not in body
    assert task.payload not in admin.get(reverse("admin:django_q_ormq_change", args=[task.pk])).content.decode()


def test_queue_is_read_only_for_administrators():
    url = reverse("admin:django_q_ormq_changelist")
    client = Client()
    client.force_login(UserFactory.create(groups=["Operator"]))
    assert client.get(url).status_code == 403
    administrator = UserFactory.create(groups=["Administrator"])
    administrator.user_permissions.add(*Permission.objects.filter(content_type__app_label="django_q"))
    client.force_login(administrator)
    assert client.get(url).status_code == 200
    assert client.get(reverse("admin:django_q_ormq_add")).status_code == 403


# --- A project's page ------------------------------------------------------------------------------------------


def test_change_page_shows_status_steps_events_and_masked_credentials(admin):
    project = provisioned_project(name="aaa")
    Event.objects.create(
        project=project, at=project.created_at, actor="pass", reason="SandboxReady", message="The sandbox answers."
    )
    body = admin.get(reverse(CHANGE, args=[project.pk])).content.decode()
    for text in ("The database and the sandbox are running.", "Connection verified", "+12 s", "10.0.0.7", "••••••"):
        assert text in body
    assert "The sandbox answers." in body
    assert f'hx-get="{reverse("projects:status", args=[project.pk])}' in body


def test_opening_a_page_changes_nothing(admin):
    project = ProjectFactory.create(waiting=True)
    admin.get(reverse(CHANGE, args=[project.pk]))
    for name in ("provision", "retry"):
        assert admin.get(reverse(CHANGE, args=[project.pk]).replace("change", name)).status_code in (302, 404)
    assert not OrmQ.objects.exists()
    assert not Event.objects.exists()


def test_deleted_project_is_read_only(admin):
    project = ProjectFactory.create(deleted=True, name="aaa")
    url = reverse(CHANGE, args=[project.pk])
    assert admin.get(url).status_code == 200
    assert edit(admin, url, {**NO_VARIABLES, "description": "changed"}).status_code == 403


def test_staff_without_permission_see_no_row_and_anonymous_users_log_in():
    project = ProjectFactory.create(name="of-others")
    assert "of-others" not in staff_without_permission().get(reverse(LIST)).content.decode()
    assert staff_without_permission().get(reverse(CHANGE, args=[project.pk])).status_code == 302
    for url in (reverse(LIST), reverse(CHANGE, args=[project.pk])):
        assert Client().get(url).headers["Location"].startswith(reverse("admin:login"))


def staff_without_permission() -> Client:
    client = Client()
    client.force_login(UserFactory.create())
    return client


def test_overview_lists_what_needs_attention(admin):
    ProjectFactory.create(name="broken", failed=True, message="The addon postgresql is not installed.")
    SandboxFactory.create(project=ProjectFactory.create(name="late", waiting=True), credentials="default")
    ProjectFactory.create(name="stuck", waiting=True, failures=2, message="Make it with `kubectl create namespace x`.")
    ProjectFactory.create(name="hiccup", waiting=True, failures=1, message="Tried again in a moment.")
    body = admin.get(reverse("admin:index")).content.decode()
    assert "The addon postgresql is not installed." in body
    assert "Default credentials" in body
    assert "late" in body
    assert "Make it with <code>kubectl create namespace x</code>." in body
    assert "Tried again in a moment." not in body


def test_overview_shows_only_visible_projects():
    ProjectFactory.create(name="broken", failed=True, message="The addon postgresql is not installed.")
    body = staff_without_permission().get(reverse("admin:index")).content.decode()
    assert "The addon postgresql is not installed." not in body


def test_factories_encrypt_their_rows():
    project = provisioned_project()
    database = DatabaseCluster.objects.get(project=project)
    assert isinstance(database.password, EncryptedText)
    assert "canary" not in database.password.stored
    assert Sandbox.objects.get(project=project).credentials == "captured"


def test_saving_an_older_form_keeps_a_newer_request():
    project = ProjectFactory.create(name="a1", running=True)
    stale = Project.objects.get(pk=project.pk)
    request_delete(project, actor="bob")
    stale.description = "new words"
    request = SimpleNamespace(user=SimpleNamespace(get_username=lambda: "ann"), POST={})
    form = SimpleNamespace(changed_data=["description"], instance=stale)
    site.get_model_admin(Project).save_model(request, stale, form, True)  # type: ignore[arg-type]
    project.refresh_from_db()
    assert (project.description, project.desired_state) == ("new words", DesiredState.DELETED)
