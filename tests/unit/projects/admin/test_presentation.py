"""Names, breadcrumbs, empty lists and read-only values in the admin."""

import re
from datetime import UTC, datetime
from html import unescape

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags
from django_q.models import Schedule

from projects.domain.states import Origin, Reason
from projects.models import DatabaseCluster, Project, Sandbox
from projects.templatetags.panel import ago
from tests.factories import (
    DatabaseFactory,
    EventFactory,
    ProjectFactory,
    SandboxFactory,
    VariableFactory,
    provisioned_project,
)
from tests.support.html import links_of, texts_of
from tests.support.pages import edit, log_in

pytestmark = pytest.mark.django_db

NO_VARIABLES = {"variables-TOTAL_FORMS": "0", "variables-INITIAL_FORMS": "0"}


def breadcrumbs(body: str) -> list[str]:
    """Return the texts of the page's breadcrumbs in order."""
    return texts_of(body, "data-crumb")


def change_page(client: Client, project: Project) -> str:
    return client.get(reverse("admin:projects_project_change", args=[project.pk])).content.decode()


def test_breadcrumbs_keep_case_and_have_no_duplicates(admin):
    project = ProjectFactory.create(name="aab")
    assert breadcrumbs(change_page(admin, project)) == ["Projects", "aab"]
    assert breadcrumbs(admin.get(reverse("admin:projects_project_changelist")).content.decode()) == ["Projects"]
    sandbox = SandboxFactory.create(project__name="abc")
    body = admin.get(reverse("admin:projects_sandbox_change", args=[sandbox.pk])).content.decode()
    assert breadcrumbs(body) == ["Projects", "Sandboxes", "abc-sandbox"]


def test_default_database_is_read_only_text_without_the_permission():
    project = ProjectFactory.create(default_database_allowed=True)
    client = log_in("view_project", "change_project", "add_project")
    body = change_page(client, project)
    assert 'name="default_database_allowed"' not in body
    assert re.search(r"Allow default database.*?>\s*Yes\s*<", body, re.S)

    Project.objects.update(default_database_allowed=False)
    assert re.search(r"Allow default database.*?>\s*No\s*<", change_page(client, project), re.S)
    assert "Allow default database" in client.get(reverse("admin:projects_project_add")).content.decode()


@pytest.mark.parametrize("may_share", [True, False])
def test_default_database_needs_its_own_permission(may_share):
    project = ProjectFactory.create()
    client = log_in("view_project", "change_project", *(["allow_default_database"] if may_share else []))
    assert ('name="default_database_allowed"' in change_page(client, project)) is may_share
    data = {**NO_VARIABLES, "owner": "", "description": "", "namespace": "default", "default_database_allowed": "on"}
    assert edit(client, reverse("admin:projects_project_change", args=[project.pk]), data).status_code == 302
    project.refresh_from_db()
    assert project.default_database_allowed is may_share


def test_deleted_project_shows_no_inputs(admin):
    body = change_page(admin, ProjectFactory.create(deleted=True))
    assert 'name="default_database_allowed"' not in body
    assert "Allow default database" in body


@pytest.mark.parametrize(("simulated", "word"), [(True, "Yes"), (False, "No")])
def test_simulated_column_is_text(admin, simulated, word):
    SandboxFactory.create(is_simulated=simulated)
    body = admin.get(reverse("admin:projects_sandbox_changelist")).content.decode()
    (cell,) = re.findall(r"<td[^>]*field-simulated_shown[^>]*>(.*?)</td>", body, re.S)
    assert strip_tags(cell).split()[-1] == word


def test_live_view_link_follows_the_phase(admin):
    project = ProjectFactory.create()
    body = admin.get(reverse("admin:projects_project_changelist")).content.decode()
    assert body.index("field-phase_shown") < body.index(f'href="{project.get_absolute_url()}"')
    assert body.index(f'href="{project.get_absolute_url()}"') < body.index("field-reason_shown")


def test_record_pages_show_no_python_literals(admin):
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


def test_record_page_and_list_label_a_reason_alike(admin):
    project = provisioned_project()
    EventFactory.create(project=project, reason="ClusterNotRunning")
    Sandbox.objects.update(reason=Reason.CLUSTER_UNREACHABLE)
    DatabaseCluster.objects.update(reason=Reason.KUBEBLOCKS_MISSING)
    for kind, row, words in (
        ("event", project.events.first(), "Cluster not running"),
        ("sandbox", project.sandbox, "API server unreachable"),
        ("databasecluster", project.database, "KubeBlocks missing"),
    ):
        assert row is not None
        listed = reverse(f"admin:projects_{kind}_changelist")
        for address in (listed, f"{listed}{row.pk}/change/"):
            assert words in strip_tags(admin.get(address).content.decode()), address


def test_variable_name_appears_once(admin):
    project = ProjectFactory.create()
    VariableFactory.create(project=project, name="GREETING")
    assert change_page(admin, project).count("GREETING") == 1


def test_show_all_link_appears_only_with_a_filter(admin):
    ProjectFactory.create(name="aaa")
    listed = reverse("admin:projects_project_changelist")
    assert "Show all" not in admin.get(listed).content.decode()
    body = admin.get(f"{listed}?q=aaa").content.decode()
    assert ("Show all", "?") in links_of(body)
    assert "1 found (Show all)" in strip_tags(body)


@pytest.mark.parametrize(
    ("address", "texts"),
    [
        ("django_q_ormq", ["No queued tasks", "All tasks have been started.", "0 queued tasks"]),
        ("django_q_failure", ["No failed tasks", "No task has failed.", "0 failed tasks"]),
        ("projects_sandboxtemplate", ["No sandbox templates", "None added yet.", "Add sandbox template"]),
        ("projects_sandbox", ["No sandboxes", "None at the moment."]),
    ],
)
def test_empty_list_explains_itself(admin, address, texts):
    body = " ".join(strip_tags(admin.get(reverse(f"admin:{address}_changelist")).content.decode()).split())
    assert [text for text in texts if text not in body] == []


def test_list_without_results_offers_to_show_all(admin):
    body = admin.get(f"{reverse('admin:projects_sandbox_changelist')}?q=zzz").content.decode()
    assert "No sandboxes match your search or filters." in body
    assert "Apply filters" in body


def test_history_links_to_events_and_audit_log(admin):
    project = ProjectFactory.create(name="aaa")
    address = reverse("admin:projects_project_history", args=[project.pk])
    body = admin.get(address).content.decode()
    assert f'href="{project.get_absolute_url()}#events"' in body
    (audited,) = re.findall(r'href="(/admin/auditlog/logentry/[^"]+)"', body)
    found = admin.get(unescape(audited)).context["cl"].result_list
    assert {(entry.content_type.model, entry.object_pk) for entry in found} == {("project", str(project.pk))}
    body = log_in("view_project").get(address).content.decode()
    assert "#events" in body
    assert "/admin/auditlog/" not in body


def test_records_have_no_history(admin):
    sandbox = SandboxFactory.create()
    history = reverse("admin:projects_sandbox_history", args=[sandbox.pk])
    assert history not in admin.get(reverse("admin:projects_sandbox_change", args=[sandbox.pk])).content.decode()
    assert "Only the panel writes this record." in admin.get(history).content.decode()
    project = sandbox.project
    assert reverse("admin:projects_project_history", args=[project.pk]) in change_page(admin, project)


@pytest.mark.parametrize(
    ("count", "text"), [(1, "the adopted database and all its data"), (2, "adopted databases and all their data")]
)
def test_option_for_adopted_databases_has_the_right_number(admin, count, text):
    projects = [DatabaseFactory.create(origin=Origin.ADOPTED).project for _ in range(count)]
    data = {"action": "delete_selected_projects", "_selected_action": [project.pk for project in projects]}
    body = admin.post(reverse("admin:projects_project_changelist"), data).content.decode()
    assert f"Also delete {text}" in body


def test_breadcrumbs_use_the_names_of_the_sidebar(admin):
    called = {
        "django_q_ormq": ["Queue", "Queued tasks"],
        "django_q_schedule": ["Queue", "Scheduled tasks"],
        "auditlog_logentry": ["Audit log"],
        "auth_user": ["Access", "Users"],
        "mfa_authenticator": ["Access", "Second factors"],
    }
    titles = {item["title"] for group in settings.UNFOLD["SIDEBAR"]["navigation"] for item in group["items"]}
    for address, words in called.items():
        assert breadcrumbs(admin.get(reverse(f"admin:{address}_changelist")).content.decode()) == words
        assert words[-1] in titles


def test_dates_have_one_format_with_time_zone(admin):
    at = datetime(2026, 11, 7, 9, 1, 2, tzinfo=UTC)
    task = Schedule.objects.create(name="x", func="y", next_run=at, repeats=-1)
    body = admin.get(reverse("admin:django_q_schedule_change", args=[task.pk])).content.decode()
    assert "07 Nov 2026, 09:01:02 UTC" in body
    assert ">Forever<" in body
    assert 'title="07 Nov 2026, 09:01:02 UTC"' in ago(at)


def test_failed_tile_is_red_only_with_failures(admin):
    def colors() -> dict[str, str]:
        tiles = admin.get(reverse("admin:index")).context["tiles"]
        return {label: color for label, _, color, _ in tiles}

    assert colors()["Failed"] == "default"
    ProjectFactory.create(failed=True)
    assert colors()["Failed"] == "danger"
