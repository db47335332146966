"""What the pages say where a person has to act, may not act, or where nothing is left to be done."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.domain.states import DesiredState, Level, Origin, Phase, Reason, Step
from projects.models import DatabaseCluster, Project, Sandbox
from projects.pages import presentation as display
from provisioning.decisions.readiness import explain_deadline
from tests.factories import DatabaseFactory, EventFactory, ProjectFactory, SandboxFactory, provisioned_project
from tests.support.pages import HTMX, log_in, page

pytestmark = pytest.mark.django_db


def deleted_project(name: str) -> Project:
    """Return a project that ran and was deleted, as the passes leave it: its rows are retired."""
    project = provisioned_project(name=name)
    for rows in (DatabaseCluster.objects, Sandbox.objects):
        rows.filter(project=project).update(phase=Phase.DELETED, retired_at=timezone.now())
    Project.objects.filter(pk=project.pk).update(
        desired_state=DesiredState.DELETED,
        phase=Phase.DELETED,
        reason=Reason.DELETED,
        message="Everything that the panel made for it is gone from the cluster.",
    )
    return Project.objects.get(pk=project.pk)


# --- Deleted projects ------------------------------------------------------------------------------------------


def test_a_deleted_project_keeps_the_steps_that_it_had_reached():
    project = deleted_project("aaa")
    assert [reached.step for reached in project.steps() if reached.at] == list(Step)
    response = log_in("view_project", "change_project").get(page("detail", project.pk))
    assert {line.state for line in response.context["step_lines"]} == {"done"}
    body = response.content.decode()
    assert "before it was deleted" in body
    assert reverse("admin:projects_project_change", args=[project.pk]) not in body


def test_the_steps_of_a_project_that_lives_are_those_of_its_live_rows():
    project = ProjectFactory.create(waiting=True)
    DatabaseFactory.create(project=project, captured=True, retired_at=timezone.now(), name="earlier")
    DatabaseFactory.create(project=project)
    SandboxFactory.create(project=project, retired_at=timezone.now())
    reached = {reached.step for reached in project.steps() if reached.at}
    assert reached == {Step.REQUESTED, Step.CLUSTER_APPLIED}


def test_a_project_deleted_before_it_was_provisioned_shows_no_steps():
    project = ProjectFactory.create(deleted=True)
    response = log_in("view_project").get(page("detail", project.pk))
    assert response.context["step_lines"] == []
    assert 'id="steps-title"' not in response.content.decode()


def test_the_delete_page_of_a_deleted_project_says_so_and_asks_nothing():
    project = deleted_project("aaa")
    body = log_in("view_project", "delete_project").get(page("delete", project.pk)).content.decode()
    assert "aaa is already deleted" in body
    assert "Delete aaa?" not in body
    assert "is-danger" not in body


def test_the_delete_page_of_a_forgotten_project_does_not_say_that_nothing_is_left():
    project = ProjectFactory.create(deleted=True, reason=Reason.FORGOTTEN)
    body = log_in("view_project", "delete_project").get(page("delete", project.pk)).content.decode()
    assert "list what it left in the cluster." in body
    assert "nothing left" not in body.lower()


# --- Who has to act --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", sorted(Reason.needs_person()))
@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.CREATING, Phase.RUNNING, Phase.DELETING, Phase.FAILED])
def test_what_only_a_person_can_mend_is_not_waited_for(phase, reason):
    project = ProjectFactory.create(wanted=True, phase=phase, reason=reason, message="Create the namespace `nowhere`.")
    body = log_in("view_project").get(page("detail", project.pk)).content.decode()
    assert "Somebody has to act as the message says" in body
    assert "Nothing needs to be pressed" not in body
    assert ("press Retry" in body) is (phase is Phase.FAILED)


def test_what_mends_itself_needs_nobody():
    project = ProjectFactory.create(waiting=True)
    body = log_in("view_project").get(page("detail", project.pk)).content.decode()
    assert "Nothing needs to be pressed: this page follows along." in body
    assert "Somebody has to act" not in body


# --- Who may not ------------------------------------------------------------------------------------------------


def test_a_refusal_names_the_permission_whom_to_ask_and_a_way_out():
    for name in ("root", "zoe"):
        User.objects.create_superuser(name)
    User.objects.create_superuser("gone", is_active=False)
    client = log_in()
    response = client.get(page("add"))
    assert response.status_code == 403
    body = response.content.decode()
    assert "the permission “Can add project”" in body
    assert "Ask an administrator (root, zoe) for it." in body
    assert "logged in as <strong>maria</strong>" in body
    assert f'action="{reverse("admin:logout")}"' in body


def test_a_refused_reveal_names_its_own_permission():
    project = provisioned_project()
    refused = log_in("view_project").post(page("credentials", project.pk), {"reason": "to test"})
    assert refused.status_code == 403
    assert "the permission “Can reveal database credentials”" in refused.content.decode()


def test_the_log_out_button_of_a_refusal_logs_out():
    client = Client(enforce_csrf_checks=True)
    client.cookies = log_in().cookies
    refusal = client.get(page("add"))
    token = refusal.content.decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    assert client.post(reverse("admin:logout"), {"csrfmiddlewaretoken": token}).status_code == 200
    assert client.get(page("list")).status_code == 302


def test_who_is_not_staff_is_told_no_names():
    User.objects.create_superuser("zoe-the-superuser")
    body = log_in("view_project", is_staff=False).get(page("list")).content.decode()
    assert "Your account is not marked as staff." in body
    assert "zoe-the-superuser" not in body


# --- What is under way -----------------------------------------------------------------------------------------


def test_the_list_of_what_is_in_progress():
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
    assert "Nothing is in progress" in settled.content.decode()
    assert "every 1500ms" not in settled.content.decode()


def test_projects_are_sorted_whatever_the_case_of_their_names():
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
def test_sorted_projects_come_from_an_index():
    assert "project_lower_name" in Project.objects.all()[:25].explain()
    failed = Project.objects.filter(phase=Phase.FAILED)[:25].explain()
    assert "project_phase_name" in failed


def test_the_chip_of_all_says_whether_the_deleted_ones_count():
    ProjectFactory.create(name="new")
    client = log_in("view_project")
    assert client.get(page("list")).context["chips"][0][1:3] == ("All", 1)
    ProjectFactory.create(name="gone", deleted=True)
    assert client.get(page("list")).context["chips"][0][1:3] == ("All but deleted", 1)


def test_the_overview_leads_to_what_is_in_progress():
    tiles = {label: url for label, _, _, url in log_in("view_project").get(reverse("admin:index")).context["tiles"]}
    assert tiles["In progress"] == page("list") + "?phase=unsettled"


# --- Words and colours -----------------------------------------------------------------------------------------


def test_one_kind_of_event_has_one_colour():
    project = ProjectFactory.create()
    asked = EventFactory.create(project=project, reason=Reason.DELETING, level=Level.WARNING)
    done = EventFactory.create(project=project, reason=Reason.DELETING, level=Level.INFO)
    other = EventFactory.create(project=project, level=Level.ERROR)
    assert display.shown_level(asked) == display.shown_level(done) == Level.WARNING
    assert display.shown_level(other) == Level.ERROR
    body = log_in("view_project").get(page("detail", project.pk)).content.decode()
    assert body.count('<li class="is-warning">') == 2


def test_a_sandbox_opens_beside_the_panel():
    sandbox = SandboxFactory.create(urls={"app": "http://a.example.org/"})
    body = log_in("view_project").get(page("detail", sandbox.project.pk)).content.decode()
    assert 'href="http://a.example.org/" target="_blank" rel="noopener noreferrer"' in body


def test_an_adoption_that_no_pass_has_looked_at_claims_nothing_of_its_cluster():
    database = DatabaseFactory.create(origin=Origin.ADOPTED, observed_phase="", applied_at=None)
    EventFactory.create(project=database.project, reason="AdoptRequested")
    body = log_in("view_project").get(page("detail", database.project.pk)).content.decode()
    assert "<dd>not looked at yet</dd>" in body
    assert "Adoption requested" in body


@pytest.mark.parametrize(
    ("observed", "applied", "words"),
    [
        ("", False, "none yet: the Cluster is not applied"),
        ("", True, "none yet: the Cluster was just applied"),
        ("Creating", True, "<dd>Creating</dd>"),
    ],
)
def test_the_phase_of_a_cluster_that_is_just_made(observed, applied, words):
    at = timezone.now() - timedelta(seconds=1) if applied else None
    database = DatabaseFactory.create(observed_phase=observed, applied_at=at)
    assert words in log_in("view_project").get(page("detail", database.project.pk)).content.decode()


def test_a_deadline_that_passed_says_once_that_retry_waits_anew():
    message = explain_deadline(120, "The sandbox", "It does not answer.")
    fields = {"name": "late", "phase": Phase.FAILED, "reason": Reason.DEADLINE_EXCEEDED, "message": message}
    project = ProjectFactory.create(desired_state=DesiredState.RUNNING, **fields)
    body = log_in("view_project", "provision_project").get(page("detail", project.pk)).content.decode()
    status = re.sub(r"\s+", " ", body[body.index('aria-label="Status"') :].split("</section>")[0])
    assert status.lower().count("press retry") == 1
