"""`manage.py status`, `credentials` and `delete`: output, masking, refusals, confirmation."""

import json
import os
import pty
import shlex
import subprocess

import pytest
from django.conf import LazySettings

from projects.domain.connection import Connection
from projects.domain.states import DesiredState, Level, Phase, Reason
from projects.models import Event, Project
from provisioning import heartbeats
from tests.factories import PASSWORD, DatabaseFactory, ProjectFactory, SandboxFactory, UserFactory, provisioned_project
from tests.support.commands import Program, run

URL = Connection("10.0.0.7", 5432, "postgres", "postgres", PASSWORD).url


@pytest.mark.django_db
def test_status_lists_projects_except_deleted_ones() -> None:
    provisioned_project(name="shop")
    ProjectFactory(name="late", failed=True)
    ProjectFactory(name="gone", deleted=True)
    ran = run("status")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.lines] == ["PROJECT", "late", "shop"]
    assert ran.lines[0].split() == ["PROJECT", "PHASE", "REASON", "DATABASE", "SANDBOX", "MESSAGE"]
    assert [line.split()[2] for line in ran.lines[1:]] == ["DeadlineExceeded", "Ready"]
    assert "The database was not ready within 120 s" in ran.lines[1]
    assert "10.0.0.7:5432" in ran.lines[2]
    assert [json.loads(line)["project"] for line in run("status", "--json").lines] == ["late", "shop"]


@pytest.mark.django_db
def test_status_finds_projects_by_both_names() -> None:
    ProjectFactory(name="Web Shop", running=True)
    ProjectFactory(name="gone", deleted=True)
    ran = run("status", "web-shop", "Web Shop", "gone", "--json")
    assert [(line["project"], line["phase"]) for line in map(json.loads, ran.lines)] == [
        ("Web Shop", "Running"),
        ("gone", "Deleted"),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--owner", "ann"), ["late", "shop"]),
        (("--owner", ""), ["idle", "moved", "stopped"]),
        (("--phase", "Failed"), ["late"]),
        (("--phase", "New", "--phase", "Deleted"), ["gone", "idle"]),
        (("--attention",), ["late", "moved", "stopped"]),
        (("--attention", "--owner", "ann"), ["late"]),
        (("shop", "late", "--attention"), ["late"]),
    ],
)
def test_status_shows_what_matches_all_filters(filters: tuple[str, ...], expected: list[str]) -> None:
    ann = UserFactory(username="ann")
    provisioned_project(name="shop", owner=ann)
    ProjectFactory(name="late", failed=True, owner=ann)
    ProjectFactory(name="moved", running=True, reason=Reason.DRIFTED, owner=None)
    ProjectFactory(name="stopped", waiting=True, reason=Reason.DATABASE_STOPPED, owner=None)
    ProjectFactory(name="idle", owner=None)
    ProjectFactory(name="gone", deleted=True, owner=None)
    ran = run("status", *filters, "--json")
    assert ran.code == 0
    assert [json.loads(line)["project"] for line in ran.lines] == expected


@pytest.mark.django_db
def test_status_names_the_owner() -> None:
    ProjectFactory(name="idle", owner=None)
    provisioned_project(name="shop", owner=UserFactory(username="ann"))
    assert [json.loads(line)["owner"] for line in run("status", "--json").lines] == [None, "ann"]


@pytest.mark.django_db
def test_status_says_that_nothing_matches() -> None:
    ProjectFactory(name="idle")
    ran = run("status", "--attention")
    assert "No project matches." in ran.out + ran.err
    ran = run("status", "--owner", "nobody")
    assert (ran.code, ran.err) == (2, "There is no user nobody. Check the spelling of --owner.\n")


@pytest.mark.django_db
def test_number_of_queries_does_not_grow_with_projects(django_assert_num_queries: object) -> None:
    for number in range(12):
        provisioned_project(name=f"p{number}")
    # Three for the projects, one for whether anything works on the queue.
    with django_assert_num_queries(4):
        run("status", "--json")


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["status", "credentials", "plan"])
def test_unknown_name_ends_with_1(command: str) -> None:
    ran = run(command, "nobody")
    assert (ran.code, ran.out) == (1, "")
    assert "project nobody" in ran.err
    assert ran.err.splitlines()[-1] == (
        "`manage.py status` lists the projects; `manage.py provision nobody` adds this one."
    )


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["delete", "cancel", "forget", "retry", "rotate_password"])
def test_other_commands_do_not_offer_to_add_a_project(command: str) -> None:
    ran = run(command, "nobody")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "There is no project nobody. `manage.py status` lists the projects.\n"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("command", "state", "said"),
    [
        ("cancel", {}, "aaa is not provisioned, so there is nothing to cancel."),
        ("rotate_password", {}, "aaa has to be running before"),
        ("retry", {}, "aaa is not provisioned."),
        ("forget", {"running": True}, "aaa can be reached"),
    ],
)
def test_refusal_of_all_names_prints_no_table(command: str, state: dict[str, bool], said: str) -> None:
    ProjectFactory(name="aaa", **state)
    ran = run(command, "aaa")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(said)


@pytest.mark.django_db
def test_status_shows_known_projects_next_to_an_unknown_name() -> None:
    provisioned_project(name="shop")
    ran = run("status", "no body", "shop", "--json")
    assert ran.code == 1
    assert [json.loads(line)["project"] for line in ran.lines] == ["shop"]
    assert "`manage.py provision 'no body'` adds this one." in ran.err
    ran = run("status", "nobody", "shop")
    assert ran.code == 1
    assert [line.split()[0] for line in ran.lines] == ["PROJECT", "shop"]


@pytest.mark.django_db
@pytest.mark.parametrize(("is_embedded", "remedy"), [(True, "`make run`"), (False, "`manage.py qcluster`")])
def test_status_reports_a_missing_queue_on_stderr(settings: LazySettings, is_embedded: bool, remedy: str) -> None:
    settings.EMBEDDED_CLUSTER = is_embedded
    provisioned_project(name="shop")
    ran = run("status", "--json")
    assert (ran.code, len(ran.lines)) == (0, 1)
    assert ran.err == f"No queue worker is running, so this status may be out of date. Start one with {remedy}.\n"
    heartbeats.beat_queue()
    assert run("status", "--json").err == ""


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["url", "env", "json", None])
def test_credentials_are_masked_without_reveal(form: str | None) -> None:
    provisioned_project(name="shop")
    ran = run("credentials", "shop", *(["--format", form] if form else []))
    assert ran.code == 0
    assert "••••••" in ran.out
    assert "10.0.0.7" in ran.out
    assert PASSWORD not in ran.out + ran.err
    assert "canary" not in ran.out + ran.err
    assert not Event.objects.filter(reason="CredentialsRevealed").exists()


@pytest.mark.django_db
def test_revealed_url_is_the_only_output() -> None:
    project = provisioned_project(name="shop")
    ran = run("credentials", "shop", "--reveal", "--reason", "restore of a dump", "--format", "url")
    assert (ran.code, ran.out, ran.err) == (0, f"{URL}\n", "")
    event = Event.objects.get(project=project, reason="CredentialsRevealed")
    assert event.actor.startswith("command line (")
    assert event.level == Level.WARNING
    assert "restore of a dump" in event.message
    assert "canary" not in event.message


@pytest.mark.django_db
def test_revealed_env_lines_survive_a_shell() -> None:
    awkward = 'it\'s "$HOME" `id` \\ ; & é'
    project = ProjectFactory(name="shop", running=True)
    from projects.confidential.encrypted_fields import EncryptedText

    DatabaseFactory(project=project, captured=True, password=EncryptedText.of(awkward))
    ran = run("credentials", "shop", "--reveal", "--reason", "test", "--format", "env")
    assert all(len(shlex.split(line)) == 1 for line in ran.lines)
    script = f'{ran.out}\nprintf %s "$PGPASSWORD"'
    ended = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    assert ended.stdout.decode() == awkward
    # As --help says: with `set -a` programs see them too.
    script = f"set -a\n{ran.out}\nset +a\nprintenv PGPASSWORD"
    ended = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    assert ended.stdout.decode().rstrip("\n") == awkward


@pytest.mark.django_db
def test_revealed_json_is_complete() -> None:
    provisioned_project(name="shop")
    shown = json.loads(run("credentials", "shop", "--reveal", "--reason", "x", "--format", "json").out)
    assert (shown["url"], shown["password"], shown["credentials"]) == (URL, PASSWORD, "captured")
    assert (shown["host"], shown["port"], shown["verified"]) == ("10.0.0.7", 5432, True)


@pytest.mark.django_db
@pytest.mark.parametrize("reason", [[], ["--reason", "  "]])
def test_reveal_needs_a_reason(reason: list[str]) -> None:
    provisioned_project(name="shop")
    ran = run("credentials", "shop", "--reveal", *reason)
    assert (ran.code, ran.out) == (2, "")
    assert "--reason TEXT" in ran.err


@pytest.mark.django_db
@pytest.mark.parametrize("reveal", [[], ["--reveal", "--reason", "x"]])
def test_default_credentials_are_marked(reveal: list[str]) -> None:
    project = ProjectFactory(name="late", failed=True)
    DatabaseFactory(project=project)
    SandboxFactory(project=project, credentials="default")
    ran = run("credentials", "late", *reveal)
    assert (ran.code, ran.out) == (1, "")
    assert "late has no captured credentials yet" in ran.err
    assert "default credentials" in ran.err


@pytest.mark.django_db
def test_reason_without_reveal_is_a_usage_error() -> None:
    provisioned_project(name="shop")
    ran = run("credentials", "shop", "--reason", "restore")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "--reason works only with --reveal. Add --reveal to see the password.\n"
    assert not Event.objects.filter(reason="CredentialsRevealed").exists()


@pytest.mark.django_db
def test_missing_key_is_explained(settings: pytest.FixtureRequest) -> None:
    from cryptography.fernet import Fernet

    provisioned_project(name="shop")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]  # type: ignore[attr-defined]
    ran = run("credentials", "shop", "--reveal", "--reason", "x")
    assert (ran.code, ran.out) == (1, "")
    assert "ENCRYPTION_KEYS" in ran.err


@pytest.mark.django_db
def test_delete_requests_all_names_or_none() -> None:
    for name in ("one", "two"):
        provisioned_project(name=name)
    assert run("delete", "one", "nobody").code == 1
    assert not Project.objects.filter(desired_state=DesiredState.DELETED).exists()
    ran = run("delete", "one", "two", "--with-adopted-database", "--json")
    assert [json.loads(line)["phase"] for line in ran.lines] == ["Deleting", "Deleting"]
    assert set(Project.objects.values_list("desired_state", "phase", "delete_adopted")) == {
        (DesiredState.DELETED, Phase.DELETING, True)
    }


def on_a_terminal(program: Program, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command whose three streams are a terminal; type `answer`; return its exit code and all that was shown."""
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, answer.encode())
        code = program(*arguments, terminal=terminal).code
        shown = os.read(keyboard, 65536).decode()
    finally:
        os.close(keyboard)
        os.close(terminal)
    return code, shown


def test_table_on_a_terminal_has_reasons(program: Program) -> None:
    assert program("provision", "aaa").code == 0
    code, shown = on_a_terminal(program, "", "status")
    assert code == 0
    assert "Reason and message" in shown
    assert "Requested:" in shown


def test_refusal_of_all_names_does_not_wait(program: Program) -> None:
    assert program("provision", "aaa").code == 0
    code, shown = on_a_terminal(program, "", "rotate_password", "aaa", "--wait")
    assert code == 1
    assert "has to be running" in shown
    assert "Traceback" not in shown


def test_deletion_is_confirmed_on_a_terminal_only(program: Program) -> None:
    for name in ("aaa", "bbb"):
        assert program("provision", name).code == 0
    code, shown = on_a_terminal(program, "n\n", "delete", "aaa")
    assert code == 1
    assert "Delete? [y/N]" in shown
    assert "Nothing was deleted." in shown
    assert json.loads(program("status", "aaa", "--json").out)["phase"] == "Waiting"
    for name, (code, shown) in {
        "aaa": on_a_terminal(program, "", "delete", "aaa", "--yes"),
        "bbb": on_a_terminal(program, "y\n", "delete", "bbb"),
    }.items():
        assert code == 0, shown
        assert json.loads(program("status", name, "--json").out)["phase"] == "Deleting"
    # A script is not asked, and is told that nothing works on it.
    assert program("provision", "ccc").code == 0
    ran = program("delete", "ccc")
    assert ran.code == 0
    assert "[y/N]" not in ran.out + ran.err
    assert ran.err == "No queue worker is running, so requests wait. Start one with `make run`.\n"
    assert json.loads(program("status", "ccc", "--json").out)["phase"] == "Deleting"


@pytest.mark.django_db
def test_deletion_of_a_deleted_project_succeeds() -> None:
    ProjectFactory(name="gone", deleted=True)
    ran = run("delete", "gone", "--wait", "--timeout-s", "5")
    assert ran.code == 0
    assert "gone is already deleted." in ran.out
