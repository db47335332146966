"""`manage.py status`, `credentials` and `delete`: what they show, hide, refuse and ask for."""

import json
import os
import pty
import shlex
import subprocess

import pytest
from django.conf import LazySettings

from projects.domain.connection import Connection
from projects.domain.states import DesiredState, Level, Phase
from projects.models import Event, Project
from provisioning import heartbeats
from tests.factories import PASSWORD, DatabaseFactory, ProjectFactory, SandboxFactory, provisioned_project
from tests.support.commands import Program, run

URL = Connection("10.0.0.7", 5432, "postgres", "postgres", PASSWORD).url


@pytest.mark.django_db
def test_status_lists_what_is_there_without_the_deleted() -> None:
    provisioned_project(name="shop")
    ProjectFactory(name="late", failed=True)
    ProjectFactory(name="gone", deleted=True)
    ran = run("status")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.lines] == ["PROJECT", "late", "shop"]
    assert ran.lines[0].split() == ["PROJECT", "PHASE", "REASON", "DATABASE", "SANDBOX", "MESSAGE"]
    assert [line.split()[2] for line in ran.lines[1:]] == ["DeadlineExceeded", "Ready"]
    assert "The database was not running within 120 s" in ran.lines[1]
    assert "10.0.0.7:5432" in ran.lines[2]
    assert [json.loads(line)["project"] for line in run("status", "--json").lines] == ["late", "shop"]


@pytest.mark.django_db
def test_status_finds_a_project_under_either_name_and_a_deleted_one_by_name() -> None:
    ProjectFactory(name="Web Shop", running=True)
    ProjectFactory(name="gone", deleted=True)
    ran = run("status", "webshop", "Web Shop", "gone", "--json")
    assert [(line["project"], line["phase"]) for line in map(json.loads, ran.lines)] == [
        ("Web Shop", "Running"),
        ("gone", "Deleted"),
    ]


@pytest.mark.django_db
def test_status_asks_as_few_questions_for_many_projects_as_for_one(django_assert_num_queries: object) -> None:
    for number in range(12):
        provisioned_project(name=f"p{number}")
    # Three for the projects, one for whether anything works on the queue.
    with django_assert_num_queries(4):
        run("status", "--json")


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["status", "credentials", "plan"])
def test_an_unknown_name_ends_with_1_and_a_sentence(command: str) -> None:
    ran = run(command, "nobody")
    assert (ran.code, ran.out) == (1, "")
    assert "project nobody" in ran.err
    assert ran.err.splitlines()[-1] == (
        "`manage.py status` lists the projects; `manage.py provision nobody` adds this one."
    )


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["delete", "cancel", "forget", "retry", "rotate_password"])
def test_what_ends_or_changes_a_project_offers_none_to_be_added(command: str) -> None:
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
def test_where_all_is_refused_only_that_is_said(command: str, state: dict[str, bool], said: str) -> None:
    ProjectFactory(name="aaa", **state)
    ran = run(command, "aaa")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(said)


@pytest.mark.django_db
def test_status_shows_the_known_ones_beside_an_unknown_name_and_still_ends_with_1() -> None:
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
def test_status_says_on_stderr_that_nothing_works_on_the_queue(
    settings: LazySettings, is_embedded: bool, remedy: str
) -> None:
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
def test_a_revealed_url_stands_alone_on_stdout_and_is_an_event() -> None:
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
def test_revealed_json_has_every_part() -> None:
    provisioned_project(name="shop")
    shown = json.loads(run("credentials", "shop", "--reveal", "--reason", "x", "--format", "json").out)
    assert (shown["url"], shown["password"], shown["credentials"]) == (URL, PASSWORD, "captured")
    assert (shown["host"], shown["port"], shown["verified"]) == ("10.0.0.7", 5432, True)


@pytest.mark.django_db
@pytest.mark.parametrize("reason", [[], ["--reason", "  "]])
def test_a_reveal_needs_a_reason(reason: list[str]) -> None:
    provisioned_project(name="shop")
    ran = run("credentials", "shop", "--reveal", *reason)
    assert (ran.code, ran.out) == (2, "")
    assert "--reason TEXT" in ran.err


@pytest.mark.django_db
@pytest.mark.parametrize("reveal", [[], ["--reveal", "--reason", "x"]])
def test_default_credentials_are_not_shown_as_the_projects_own(reveal: list[str]) -> None:
    project = ProjectFactory(name="late", failed=True)
    DatabaseFactory(project=project)
    SandboxFactory(project=project, credentials="default")
    ran = run("credentials", "late", *reveal)
    assert (ran.code, ran.out) == (1, "")
    assert "late has no captured credentials yet" in ran.err
    assert "default credentials" in ran.err


@pytest.mark.django_db
def test_a_reason_without_reveal_is_a_wrong_usage() -> None:
    provisioned_project(name="shop")
    ran = run("credentials", "shop", "--reason", "restore")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "--reason works only with --reveal. Add --reveal to see the password.\n"
    assert not Event.objects.filter(reason="CredentialsRevealed").exists()


@pytest.mark.django_db
def test_a_lost_key_is_a_sentence(settings: pytest.FixtureRequest) -> None:
    from cryptography.fernet import Fernet

    provisioned_project(name="shop")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]  # type: ignore[attr-defined]
    ran = run("credentials", "shop", "--reveal", "--reason", "x")
    assert (ran.code, ran.out) == (1, "")
    assert "ENCRYPTION_KEYS" in ran.err


@pytest.mark.django_db
def test_delete_asks_for_the_deletion_of_all_names_and_only_then() -> None:
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


def test_the_table_on_a_terminal_has_the_reasons_too(program: Program) -> None:
    assert program("provision", "aaa").code == 0
    code, shown = on_a_terminal(program, "", "status")
    assert code == 0
    assert "Reason and message" in shown
    assert "Requested:" in shown


def test_on_a_terminal_there_is_nothing_to_wait_for_where_all_is_refused(program: Program) -> None:
    assert program("provision", "aaa").code == 0
    code, shown = on_a_terminal(program, "", "rotate_password", "aaa", "--wait")
    assert code == 1
    assert "has to be running" in shown
    assert "Traceback" not in shown


def test_only_a_terminal_is_asked_before_a_deletion(program: Program) -> None:
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
def test_deleting_what_is_deleted_is_done() -> None:
    ProjectFactory(name="gone", deleted=True)
    ran = run("delete", "gone", "--wait", "--timeout-s", "5")
    assert ran.code == 0
    assert "gone is already deleted." in ran.out
