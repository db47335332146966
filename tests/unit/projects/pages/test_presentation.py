"""The status a page shows: deleted projects, the next action, refusals, filters, labels and colors."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from projects.domain.request_policy import Request, find_refusal
from projects.domain.states import DesiredState, DriftPolicy, Level, Origin, Phase, Reason, Step
from projects.models import DatabaseCluster, Project, Sandbox
from projects.pages.presentation import event_level
from projects.templatetags.panel import breakable, inline_code
from provisioning.decisions.readiness import explain_deadline
from tests.factories import DatabaseFactory, EventFactory, ProjectFactory, SandboxFactory, provisioned_project
from tests.support.pages import HTMX, log_in, page

pytestmark = pytest.mark.django_db


def deleted_project(name: str) -> Project:
    """Return a project that ran and was deleted, with retired rows as the passes leave them."""
    project = provisioned_project(name=name)
    for rows in (DatabaseCluster.objects, Sandbox.objects):
        rows.filter(project=project).update(phase=Phase.DELETED, retired_at=timezone.now())
    Project.objects.filter(pk=project.pk).update(
        desired_state=DesiredState.DELETED,
        phase=Phase.DELETED,
        reason=Reason.DELETED,
        message="Database and sandbox deleted.",
    )
    return Project.objects.get(pk=project.pk)


# --- Deleted projects ------------------------------------------------------------------------------------------


def test_deleted_project_shows_the_steps_it_reached():
    project = deleted_project("aaa")
    assert [reached.step for reached in project.steps() if reached.at] == list(Step)
    response = log_in("view_project", "change_project").get(page("detail", project.pk))
    assert {line.state for line in response.context["step_lines"]} == {"done"}
    body = response.content.decode()
    assert "before deletion" in body
    assert "Database deleted." in body
    assert reverse("admin:projects_project_change", args=[project.pk]) not in body


def test_steps_ignore_retired_rows():
    project = ProjectFactory.create(waiting=True)
    DatabaseFactory.create(project=project, captured=True, retired_at=timezone.now(), name="earlier")
    DatabaseFactory.create(project=project)
    SandboxFactory.create(project=project, retired_at=timezone.now())
    reached = {reached.step for reached in project.steps() if reached.at}
    assert reached == {Step.REQUESTED, Step.CLUSTER_APPLIED}


def test_project_deleted_before_provisioning_shows_no_steps():
    project = ProjectFactory.create(deleted=True)
    response = log_in("view_project").get(page("detail", project.pk))
    assert response.context["step_lines"] == []
    body = response.content.decode()
    assert 'id="steps-title"' not in body
    assert "No database." in body


@pytest.mark.parametrize(
    ("origin", "delete_adopted", "outcome"),
    [(Origin.CREATED, False, "deleted"), (Origin.ADOPTED, False, "released"), (Origin.ADOPTED, True, "deleted")],
)
def test_deleted_project_says_what_happened_to_its_database(origin, delete_adopted, outcome):
    project = deleted_project("aaa")
    DatabaseCluster.objects.filter(project=project).update(origin=origin)
    Project.objects.filter(pk=project.pk).update(delete_adopted=delete_adopted)
    body = log_in("view_project").get(page("detail", project.pk)).content.decode()
    assert f"Database {outcome}." in body


def test_delete_page_of_a_deleted_project_refuses():
    project = deleted_project("aaa")
    body = log_in("view_project", "delete_project").get(page("delete", project.pk)).content.decode()
    assert "data-refusal" in body
    assert "data-confirm" not in body
    assert "is-danger" not in body


def test_delete_page_of_a_forgotten_project_points_to_its_remaining_objects():
    project = ProjectFactory.create(deleted=True, reason=Reason.FORGOTTEN)
    body = log_in("view_project", "delete_project").get(page("delete", project.pk)).content.decode()
    assert "data-refusal" in body
    assert escape(str(find_refusal(Request.DELETE, project))) in body


# --- The next action -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", sorted(Reason.needs_person()))
@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.CREATING, Phase.RUNNING, Phase.DELETING, Phase.FAILED])
def test_problem_that_needs_a_person_asks_for_a_fix(phase, reason):
    project = ProjectFactory.create(wanted=True, phase=phase, reason=reason, message="Create the namespace `nowhere`.")
    body = log_in("view_project").get(page("detail", project.pk)).content.decode()
    # A database that is started again needs no request.
    is_retried = phase is Phase.FAILED and reason != Reason.DATABASE_STOPPED
    assert f'data-next-action="{"fix-and-retry" if is_retried else "fix"}"' in body


@pytest.mark.parametrize(("policy", "action"), [("", "fix"), (DriftPolicy.MEND, "fix"), (DriftPolicy.REPORT, "edit")])
def test_drift_that_keeps_a_sandbox_down_asks_for_an_end_of_it(policy, action):
    drift = [{"object": "StatefulSet s", "path": "spec.replicas", "applied": "1", "live": "0", "obstacle": ""}]
    state = {"phase": Phase.CREATING, "reason": Reason.DRIFTED, "drift": drift, "drift_policy": policy}
    project = ProjectFactory.create(wanted=True, **state)
    body = log_in("view_project", "provision_project").get(page("detail", project.pk)).content.decode()
    assert f'data-next-action="{action}"' in body


def test_progress_needs_no_action():
    project = ProjectFactory.create(waiting=True)
    body = log_in("view_project").get(page("detail", project.pk)).content.decode()
    assert 'data-next-action="none"' in body
    assert "No action needed. This page updates automatically." in body


# --- Refusals ---------------------------------------------------------------------------------------------------


def test_refusal_names_the_permission_the_administrators_and_the_user():
    for name in ("root", "zoe"):
        User.objects.create_superuser(name)
    User.objects.create_superuser("gone", is_active=False)
    client = log_in()
    response = client.get(page("add"))
    assert response.status_code == 403
    body = response.content.decode()
    assert "You don&#x27;t have permission to add projects (needs: add_project)." in body
    assert "Ask an administrator (root, zoe) for it." in body
    assert "Logged in as <strong>maria</strong>" in body
    assert f'action="{reverse("admin:logout")}"' in body


def test_refused_reveal_names_its_permission():
    project = provisioned_project()
    refused = log_in("view_project").post(page("credentials", project.pk), {"reason": "to test"})
    assert refused.status_code == 403
    assert "(needs: reveal_credentials)" in refused.content.decode()


def test_log_out_button_of_the_403_page_logs_out():
    client = Client(enforce_csrf_checks=True)
    client.cookies = log_in().cookies
    refusal = client.get(page("add"))
    token = refusal.content.decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    assert client.post(reverse("admin:logout"), {"csrfmiddlewaretoken": token}).status_code == 200
    assert client.get(page("list")).status_code == 302


def test_users_without_staff_status_see_no_administrators():
    User.objects.create_superuser("zoe-the-superuser")
    body = log_in("view_project", is_staff=False).get(page("list")).content.decode()
    assert "doesn&#x27;t have staff status" in body
    assert "zoe-the-superuser" not in body


# --- Filters ---------------------------------------------------------------------------------------------------


def test_in_progress_filter_lists_unsettled_projects():
    ProjectFactory.create(name="waits", waiting=True)
    ProjectFactory.create(name="goes", wanted=True, phase=Phase.DELETING, desired_state=DesiredState.DELETED)
    ProjectFactory.create(name="runs", running=True)
    ProjectFactory.create(name="new")
    client = log_in("view_project")
    response = client.get(page("list") + "?phase=unsettled")
    assert [project.name for project, _ in response.context["rows"]] == ["goes", "waits"]
    assert response.context["chips"][1][1:3] == ("In progress", 2)
    assert "phase=unsettled" in response.context["refresh_url"]

    Project.objects.update(phase=Phase.RUNNING)
    settled = client.get(page("list") + response.context["refresh_url"], headers=HTMX)
    assert 'data-empty="in-progress"' in settled.content.decode()
    assert "every 1500ms" not in settled.content.decode()


def test_projects_are_sorted_ignoring_case():
    for name in ("cherry", "Banana", "apple", "My Shop 2"):
        ProjectFactory.create(name=name, failed=name != "Banana")
    client = log_in("view_project", "provision_project")
    names = ["apple", "Banana", "cherry", "My Shop 2"]
    assert [project.name for project, _ in client.get(page("list")).context["rows"]] == names
    failed = client.get(page("list") + "?phase=Failed").context["rows"]
    assert [project.name for project, _ in failed] == ["apple", "cherry", "My Shop 2"]
    changelist = reverse("admin:projects_project_changelist")
    for url, expected in ((changelist, names), (changelist + "?o=1", names), (changelist + "?o=-1", names[::-1])):
        assert [project.name for project in client.get(url).context["cl"].result_list] == expected


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL reads a table of few rows without its indexes")
def test_sorting_uses_an_index():
    assert "project_lower_name" in Project.objects.all()[:25].explain()
    failed = Project.objects.filter(phase=Phase.FAILED)[:25].explain()
    assert "project_phase_name" in failed


def test_all_filter_says_whether_it_excludes_deleted_projects():
    ProjectFactory.create(name="new")
    client = log_in("view_project")
    assert client.get(page("list")).context["chips"][0][1:3] == ("All", 1)
    ProjectFactory.create(name="gone", deleted=True)
    assert client.get(page("list")).context["chips"][0][1:3] == ("All except deleted", 1)


def test_overview_links_to_projects_in_progress():
    tiles = {label: url for label, _, _, url in log_in("view_project").get(reverse("admin:index")).context["tiles"]}
    assert tiles["In progress"] == page("list") + "?phase=unsettled"


# --- Labels and colors ----------------------------------------------------------------------------------------


def test_events_of_one_reason_have_one_color():
    project = ProjectFactory.create()
    asked = EventFactory.create(project=project, reason=Reason.DELETING, level=Level.WARNING)
    done = EventFactory.create(project=project, reason=Reason.DELETING, level=Level.INFO)
    other = EventFactory.create(project=project, level=Level.ERROR)
    assert event_level(asked) == event_level(done) == Level.WARNING
    assert event_level(other) == Level.ERROR
    body = log_in("view_project").get(page("detail", project.pk)).content.decode()
    assert body.count('data-level="warning"') == 2


def test_sandbox_url_opens_in_a_new_tab():
    sandbox = SandboxFactory.create(urls={"app": "http://a.example.org/"})
    body = log_in("view_project").get(page("detail", sandbox.project.pk)).content.decode()
    assert 'href="http://a.example.org/" target="_blank" rel="noopener noreferrer"' in body


def test_adoption_before_its_first_pass_reports_no_phase():
    database = DatabaseFactory.create(origin=Origin.ADOPTED, observed_phase="", applied_at=None)
    EventFactory.create(project=database.project, reason="AdoptRequested")
    body = log_in("view_project").get(page("detail", database.project.pk)).content.decode()
    assert "<dd>Not checked yet</dd>" in body
    assert "Adoption requested" in body


@pytest.mark.parametrize(
    ("observed", "applied", "text"),
    [
        ("", False, "<dd>Cluster not created yet</dd>"),
        ("", True, "<dd>Not reported yet</dd>"),
        ("Creating", True, "<dd>Creating</dd>"),
    ],
)
def test_kubeblocks_phase_before_the_first_report(observed, applied, text):
    at = timezone.now() - timedelta(seconds=1) if applied else None
    database = DatabaseFactory.create(observed_phase=observed, applied_at=at)
    assert text in log_in("view_project").get(page("detail", database.project.pk)).content.decode()


def test_passed_deadline_mentions_retry_once():
    message = explain_deadline(120, "The sandbox", "It does not answer.")
    fields = {"name": "late", "phase": Phase.FAILED, "reason": Reason.DEADLINE_EXCEEDED, "message": message}
    project = ProjectFactory.create(desired_state=DesiredState.RUNNING, **fields)
    body = log_in("view_project", "provision_project").get(page("detail", project.pk)).content.decode()
    status = re.sub(r"\s+", " ", body[body.index('aria-label="Status"') :].split("</section>")[0])
    assert status.lower().count("retry") == 1


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("short/path.yaml", "short/path.yaml"),
        (
            "registry.example.org/team/app:1.2 <b>",
            "registry.<wbr>example.<wbr>org/<wbr>team/<wbr>app:<wbr>1.<wbr>2 &lt;b&gt;",
        ),
        ("Ends here. Next.", "Ends here. Next."),
        ("a" * 40, "a" * 40),
    ],
)
def test_only_long_words_can_break_at_separators(text, html):
    assert breakable(text) == html


def test_code_in_a_message_is_marked_and_escaped():
    assert inline_code("Run `manage.py doctor <x>` now.") == "Run <code>manage.py doctor &lt;x&gt;</code> now."
