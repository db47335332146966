"""What the admin calls things: breadcrumbs, facts that someone may not change, the way to the live view."""

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
from tests.support.pages import log_in

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


def test_a_record_names_its_reason_as_its_list_does(admin):
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


def test_a_variable_is_named_once(admin):
    project = ProjectFactory.create()
    VariableFactory.create(project=project, name="GREETING")
    assert change_page(admin, project).count("GREETING") == 1


def test_the_head_of_a_list_leads_back_to_all_only_where_some_are_left_out(admin):
    ProjectFactory.create(name="aaa")
    listed = reverse("admin:projects_project_changelist")
    assert "Show all" not in admin.get(listed).content.decode()
    body = admin.get(f"{listed}?q=aaa").content.decode()
    assert re.search(r'1 found \(<a class="panel-link" href="\?">Show all</a>\)', body)


@pytest.mark.parametrize(
    ("address", "sentences"),
    [
        ("django_q_ormq", ["No queued tasks", "Nothing waits", "0 queued tasks"]),
        ("django_q_failure", ["No failed tasks", "No task has ended with an error.", "0 failed tasks"]),
        ("projects_sandboxtemplate", ["No sandbox templates", "None was added yet.", "Add sandbox template"]),
        ("projects_sandbox", ["No sandboxes", "There are none now."]),
    ],
)
def test_an_empty_list_says_why_it_is_empty(admin, address, sentences):
    body = " ".join(strip_tags(admin.get(reverse(f"admin:{address}_changelist")).content.decode()).split())
    assert [sentence for sentence in sentences if sentence not in body] == []


def test_a_list_in_which_nothing_was_found_leads_back_to_all(admin):
    body = admin.get(f"{reverse('admin:projects_sandbox_changelist')}?q=zzz").content.decode()
    assert "No sandboxes match what you look for." in body
    assert "Apply filters" in body


def test_a_history_leads_to_the_timeline_and_to_the_audit_log(admin):
    project = ProjectFactory.create(name="aaa")
    address = reverse("admin:projects_project_history", args=[project.pk])
    body = admin.get(address).content.decode()
    assert f'href="{project.get_absolute_url()}#timeline"' in body
    (audited,) = re.findall(r'href="(/admin/auditlog/logentry/[^"]+)"', body)
    found = admin.get(unescape(audited)).context["cl"].result_list
    assert {(entry.content_type.model, entry.object_pk) for entry in found} == {("project", str(project.pk))}
    body = log_in("view_project").get(address).content.decode()
    assert "#timeline" in body
    assert "/admin/auditlog/" not in body


def test_what_the_panel_alone_writes_has_no_history(admin):
    sandbox = SandboxFactory.create()
    history = reverse("admin:projects_sandbox_history", args=[sandbox.pk])
    assert history not in admin.get(reverse("admin:projects_sandbox_change", args=[sandbox.pk])).content.decode()
    assert "The panel alone writes it." in admin.get(history).content.decode()
    project = sandbox.project
    assert reverse("admin:projects_project_history", args=[project.pk]) in change_page(admin, project)


@pytest.mark.parametrize(("count", "words"), [(1, "the adopted database, with"), (2, "adopted databases, with")])
def test_the_box_for_adopted_databases_counts_them(admin, count, words):
    projects = [DatabaseFactory.create(origin=Origin.ADOPTED).project for _ in range(count)]
    data = {"action": "delete_selected_projects", "_selected_action": [project.pk for project in projects]}
    body = admin.post(reverse("admin:projects_project_changelist"), data).content.decode()
    assert f"Also delete {words} all of" in body


def test_groups_and_models_are_called_what_the_sidebar_calls_them(admin):
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


def test_moments_are_written_alike_and_with_their_zone(admin):
    at = datetime(2026, 11, 7, 9, 1, 2, tzinfo=UTC)
    task = Schedule.objects.create(name="x", func="y", next_run=at, repeats=-1)
    body = admin.get(reverse("admin:django_q_schedule_change", args=[task.pk])).content.decode()
    assert "07 Nov 2026, 09:01:02 UTC" in body
    assert ">for ever<" in body
    assert 'title="07 Nov 2026, 09:01:02 UTC"' in ago(at)


def test_no_failure_is_not_shown_in_red(admin):
    def colours() -> dict[str, str]:
        tiles = admin.get(reverse("admin:index")).context["tiles"]
        return {label: colour for label, _, colour, _ in tiles}

    assert colours()["Failed"] == "default"
    ProjectFactory.create(failed=True)
    assert colours()["Failed"] == "danger"
