"""The audit log: user, address and change of each entry, without secrets, read-only."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.audit.log import ACTIONS, AuditMiddleware, describe_entry, record_action, shell_user
from projects.confidential.encrypted_fields import EncryptedText
from projects.models import Project, SandboxTemplate
from projects.services.events import record_event
from projects.services.provisioning import add_project
from tests.factories import PASSWORD, ProjectFactory, UserFactory, VariableFactory, provisioned_project
from tests.support.commands import run
from tests.support.pages import edit, page

pytestmark = pytest.mark.django_db

NO_VARIABLES = {f"variables-{key}": 0 for key in ("TOTAL_FORMS", "INITIAL_FORMS")}


@pytest.fixture
def root() -> Client:
    """A superuser's browser; what led to it is not in the log."""
    client = Client(REMOTE_ADDR="203.0.113.7")
    client.force_login(User.objects.create_superuser("root"))
    LogEntry.objects.all().delete()
    return client


def lines(*arguments: str) -> list[dict[str, Any]]:
    out = StringIO()
    call_command("audit", *arguments, stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def said() -> list[tuple[Any, ...]]:
    return [(line["who"], line["address"], line["what"], line["kind"], line["name"]) for line in lines()]


def test_change_has_user_address_and_old_value(root):
    project = ProjectFactory.create(name="aaa", description="old")
    LogEntry.objects.all().delete()
    edit(
        root,
        reverse("admin:projects_project_change", args=[project.pk]),
        {**NO_VARIABLES, "namespace": "default", "description": "new"},
    )
    first, second = lines()
    assert (first["who"], first["address"], first["what"]) == ("root", "203.0.113.7", "Updated")
    assert first["changes"] == {"description": ["old", "new"]}
    assert (second["what"], second["message"]) == ("Changed", "root changed description.")


def test_requests_of_pages_are_logged(root):
    project = ProjectFactory.create(name="aaa")
    LogEntry.objects.all().delete()
    root.post(page("provision", project.pk))
    assert said() == [("root", "203.0.113.7", "Requested", "project", "aaa")]


def test_reveal_is_logged_with_its_reason(root):
    project = provisioned_project(name="aaa")
    LogEntry.objects.all().delete()
    root.post(page("credentials", project.pk), {"reason": "connecting psql"})
    (line,) = lines()
    assert (line["who"], line["what"], line["address"]) == ("root", "CredentialsRevealed", "203.0.113.7")
    assert "connecting psql" in line["message"]
    assert PASSWORD not in json.dumps(line)


def test_log_ins_failures_locks_and_log_outs_are_logged(settings):
    user = UserFactory.create(username="maria")
    user.set_password("right")
    user.save()
    LogEntry.objects.all().delete()
    client = Client(REMOTE_ADDR="203.0.113.7")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        client.post("/admin/login/", {"username": "maria", "password": "canary-wrong"})
    other = Client(REMOTE_ADDR="203.0.113.8")
    other.post("/admin/login/", {"username": "maria", "password": "right"})
    other.post("/admin/logout/")
    failed = [("anonymous", "203.0.113.7", "LogInFailed", "user", "maria")] * settings.AXES_FAILURE_LIMIT
    assert [line for line in said() if line[2] == "LogInFailed"] == failed
    assert [line for line in said() if line[2] != "LogInFailed"] == [
        ("anonymous", "203.0.113.7", "LogInLocked", "user", "maria"),
        ("maria", "203.0.113.8", "LoggedIn", "user", "maria"),
        ("maria", "203.0.113.8", "LoggedOut", "user", "maria"),
    ]
    assert "canary-wrong" not in json.dumps(lines())


def test_failed_log_in_of_an_unknown_user_is_logged(client):
    client.post("/admin/login/", {"username": "nobody", "password": "x"})
    assert ("anonymous", "127.0.0.1", "LogInFailed", "user", "nobody") in said()


def test_changes_of_users_groups_permissions_and_templates_are_logged(root):
    maria = UserFactory.create(username="maria")
    LogEntry.objects.all().delete()
    maria.groups.add(Group.objects.get(name="Viewer"))
    maria.set_password("canary-new")
    maria.save()
    Group.objects.create(name="Ours").permissions.set(Group.objects.get(name="Viewer").permissions.all())
    SandboxTemplate.objects.create(name="small", image="registry.example.org/small:1").delete()
    changes = [(line["kind"], line["what"], set(line["changes"])) for line in lines()]
    assert ("user", "Updated", {"groups"}) in changes
    assert ("user", "Updated", {"password"}) in changes
    assert ("group", "Updated", {"permissions"}) in changes
    assert [what for kind, what, _ in changes if kind == "sandboxtemplate"] == ["Created", "Deleted"]
    everything = json.dumps(list(LogEntry.objects.values("changes", "object_repr", "additional_data")))
    assert maria.password not in everything
    assert "canary" not in everything


def test_values_are_json_of_the_row_only(root):
    template = SandboxTemplate.objects.create(name="small", image="registry.example.org/small:1")
    project = ProjectFactory.create(template=template, owner=None)
    Project.objects.get(pk=project.pk).refresh_from_db()
    project.default_database_allowed = True
    project.template = None
    project.save()
    template.delete()
    UserFactory.create(username="maria").delete()
    Group.objects.create(name="Ours").delete()
    changes = [line["changes"] for line in lines() if line["changes"]]
    assert {"default_database_allowed": [False, True], "template": ["small", None]} in changes
    told = json.dumps(changes)
    assert '"None"' not in told
    assert '"True"' not in told
    assert "None" not in told
    names = {name for change in changes for name in change}
    assert not names & {"id", "projects", "user", "logentry", "emailaddress", "authenticator"}


def test_unchanged_user_is_not_logged(root):
    maria = UserFactory.create(username="maria")
    LogEntry.objects.all().delete()
    answer = edit(root, reverse("admin:auth_user_change", args=[maria.pk]), {"username": "maria", "is_staff": "on"})
    assert answer.status_code == 302
    assert [(line["what"], line["changes"]) for line in lines()] == [("Updated", {"is_active": [True, False]})]


def test_list_describes_changes_and_has_filters(root):
    project = provisioned_project(name="aaa")
    root.post(page("credentials", project.pk), {"reason": "connecting psql"})
    edit(
        root,
        reverse("admin:projects_project_change", args=[project.pk]),
        {**NO_VARIABLES, "description": "", "default_database_allowed": "on", "drift_policy": "report"},
    )
    listed = reverse("admin:auditlog_logentry_changelist")

    def found(query: str) -> set[tuple[str, str]]:
        rows = root.get(f"{listed}?{query}").context["cl"].result_list
        return {(describe_entry(row)["who"], describe_entry(row)["what"]) for row in rows}

    actors = {"root", shell_user()}
    assert {who for who, _ in found("")} == actors
    assert found("what=CredentialsRevealed") == {("root", "CredentialsRevealed")}
    assert found("what=Updated") == {("root", "Updated")}
    assert {who for who, _ in found("who=roo")} == {"root"}
    assert found("who=nobody") == set()
    assert found("hours=1") == found("hours=nonsense") == found("")
    LogEntry.objects.update(timestamp=timezone.now() - timedelta(hours=2))
    assert found("hours=1") == set()
    assert found("hours=24")
    assert {what for _, what in found("")} <= set(ACTIONS)
    body = root.get(listed).content.decode()
    assert "allow default database" in body.lower()
    assert "default_database_allowed" not in body


def test_entry_page_has_one_line_per_change(root):
    maria = UserFactory.create(username="maria", is_staff=False)
    maria.groups.add(Group.objects.get(name="Viewer"))
    maria.is_staff = True
    maria.save()

    def opened(**wanted: Any) -> str:
        entry = LogEntry.objects.filter(**wanted).latest("pk")
        return str(root.get(reverse("admin:auditlog_logentry_change", args=[entry.pk])).content.decode())

    body = opened(changes__has_key="is_staff")
    assert "Updated: maria" in body
    assert "<th scope='row'>Staff status</th><td>No</td><td>Yes</td>" in body
    assert "<th scope='row'>Groups</th><td></td><td>Added: Viewer</td>" in opened(changes__has_key="groups")
    record_action(maria, "LoggedIn", by="maria", kind=LogEntry.Action.ACCESS)
    body = opened(additional_data__what="LoggedIn")
    assert "Logged in: maria" in body
    assert "{}" not in body


def test_values_of_variables_are_not_logged():
    variable = VariableFactory.create(name="API_KEY")
    variable.value = EncryptedText.of("canary-other")
    variable.save()
    variable.delete()
    stored = list(LogEntry.objects.filter(content_type__model="projectvariable").values_list("changes", flat=True))
    assert len(stored) == 3
    assert {each for change in stored for each in change["value"]} == {"••••••"}
    assert "canary" not in json.dumps(stored)
    assert "fernet" not in json.dumps(stored)


def test_passwords_are_masked_before_storage():
    ProjectFactory.create(description="postgresql://postgres:canary-typed@db/x")
    stored = json.dumps(list(LogEntry.objects.values("changes")), ensure_ascii=False)
    assert "postgresql://postgres:••••••@db/x" in stored
    assert "canary-typed" not in stored


def test_commands_are_logged_with_their_command_line():
    project = add_project("aaa", actor="command line (otto)")
    assert [(line["who"], line["what"], line["address"]) for line in lines()][-1] == (
        "command line (otto)",
        "Registered",
        None,
    )
    assert project.pk


def test_passes_are_not_logged(django_assert_num_queries):
    project = ProjectFactory.create()
    LogEntry.objects.all().delete()
    with django_assert_num_queries(1):
        record_event(project, actor="panel", reason="ClusterApplied", message="The Cluster was applied.")
    with django_assert_num_queries(1):
        Project.objects.filter(pk=project.pk).update(phase="Running")
    assert not LogEntry.objects.exists()


def test_entry_keeps_the_name_of_a_deleted_user(root):
    root.post(page("add"), {"name": "aaa"})
    User.objects.filter(username="root").delete()
    assert {line["who"] for line in lines() if line["kind"] == "project"} == {"root"}


def test_entries_are_read_only(root):
    ProjectFactory.create()
    entry = LogEntry.objects.get()
    for name in ("change", "delete"):
        answer = root.post(reverse(f"admin:auditlog_logentry_{name}", args=[entry.pk]), {"post": "yes"})
        assert answer.status_code == 403
    data = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
    root.post(reverse("admin:auditlog_logentry_changelist"), data)
    assert LogEntry.objects.get() == entry


def test_administrator_reads_and_exports_the_log(root):
    ProjectFactory.create(name="aaa")
    listed = root.get(reverse("admin:auditlog_logentry_changelist")).content.decode()
    assert reverse("admin:auditlog_logentry_export") in listed
    assert "aaa" in listed
    assert root.get(reverse("admin:auditlog_logentry_change", args=[LogEntry.objects.get().pk])).status_code == 200
    exported = root.get(reverse("admin:auditlog_logentry_export"))
    assert [json.loads(line) for line in b"".join(exported).splitlines()] == lines()


def test_command_filters_by_time_and_user():
    ProjectFactory.create(name="aaa")
    assert len(lines("--since", "1h")) == len(lines("--since", "2020-01-01")) == len(lines())
    assert lines("--until", "1h") == lines("--since", "2999-01-01T08:00") == lines("--who", "maria") == []
    edges = ("0001-01-01T00:00+14:00", "9999-12-31T23:59:59-12:00")
    for wrong in ("yesterday", "2026-02-31", "99999999999d", "d", "²d", *edges):
        with pytest.raises(CommandError, match="--since can't be read"):
            lines("--since", wrong)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--since", "1h", "--until", "2h"), 2, "--since has to be before --until."),
        (("--since", "1h", "--until", "1h"), 2, "--since has to be before --until."),
        (("--since", "2999-01-01"), 0, "No entries: --since is in the future."),
        (("--until", "1h"), 0, "No entries."),
        (("--who", "maria"), 0, "No entries of 'maria'. Check the spelling of the name."),
    ],
)
def test_command_reports_an_empty_result(arguments, code, said):
    ProjectFactory.create(name="aaa")
    ran = run("audit", *arguments)
    assert (ran.code, ran.out, ran.err.strip()) == (code, "", said)
    assert run("audit").err == ""


def test_entry_has_no_address_behind_a_socket_file(rf):
    def view(_: HttpRequest) -> HttpResponse:
        ProjectFactory.create()
        return HttpResponse()

    AuditMiddleware(view)(rf.get("/", REMOTE_ADDR=""))
    assert {entry.remote_addr for entry in LogEntry.objects.all()} == {None}
