"""`manage.py provision`: added projects, requests, refusals, waiting and output."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import DatabaseCluster, Event, Project
from provisioning import heartbeats
from tests.factories import PASSWORD, DatabaseFactory, ProjectFactory, SandboxFactory, provisioned_project
from tests.support.commands import Program, run

HOSTILE = {
    "": "empty",
    "   ": "empty",
    "x" * 300: "300 characters",
    "../x": "can't be used: /",
    "<script>alert(1)</script>": "can't be used",
    "a: b\nc": "can't be used: :",
    "$(reboot); rm": "can't be used",
    "日本語": "no letter a-z",
    "--": "start with a letter",
    "\x00": "can't be used",
}


@pytest.mark.django_db
def test_new_project_is_added_and_enqueued() -> None:
    ran = run("provision", "Web Shop")
    project = Project.objects.get()
    assert ran.code == 0
    assert (project.name, project.kubernetes_name, project.owner) == ("Web Shop", "web-shop", None)
    assert (project.desired_state, project.phase) == (DesiredState.RUNNING, Phase.WAITING)
    assert OrmQ.objects.count() == 1
    assert "Added the project Web Shop (web-shop in Kubernetes)." in ran.out
    actors = set(Event.objects.values_list("actor", flat=True))
    assert len(actors) == 1
    assert actors.pop().startswith("command line (")


@pytest.mark.django_db
def test_repeated_name_is_one_request() -> None:
    ran = run("provision", "aaa", " aaa ", "--json")
    assert len(ran.lines) == 1
    assert Project.objects.count() == OrmQ.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "said"), HOSTILE.items(), ids=lambda text: repr(text)[:24])
def test_invalid_name_requests_nothing(name: str, said: str) -> None:
    ran = run("provision", "fine", f" {name}" if name.startswith("-") else name)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert (ran.out, Project.objects.count(), OrmQ.objects.count()) == ("", 0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize("names", [("A A", "a-a"), ("a-a", "a.a"), ("ta-ken", "Ta Ken")])
def test_names_with_one_kubernetes_name_are_refused(names: tuple[str, str]) -> None:
    if names[0] == "ta-ken":
        ProjectFactory(name="ta-ken")
        names = (names[1], "another")
    before = Project.objects.count()
    ran = run("provision", *names)
    assert ran.code == 2
    assert "in Kubernetes" in ran.err
    assert "Choose another name." in ran.err
    assert Project.objects.count() == before
    assert not OrmQ.objects.exists()


@pytest.mark.django_db
def test_name_of_a_deleted_project_is_refused() -> None:
    ProjectFactory(name="gone", deleted=True)
    ran = run("provision", "gone")
    assert ran.code == 2
    assert ran.err.splitlines()[0].startswith("gone is deleted, and its name can't be reused.")


@pytest.mark.django_db
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_refusal_is_not_a_usage_error(more: tuple[str, ...]) -> None:
    ProjectFactory(name="aaa", waiting=True)
    assert run("cancel", "aaa").code == 0
    ran = run("provision", "aaa", *more)
    assert (ran.code, ran.err.startswith("aaa is being cancelled.")) == (1, True)


@pytest.mark.django_db
def test_json_is_the_only_line_on_stdout() -> None:
    provisioned_project(name="shop")
    ran = run("provision", "shop", "--json")
    line = json.loads(ran.out)
    assert list(line) == ["project", "owner", "phase", "reason", "message", "database", "sandbox", "drift", "steps"]
    assert line["project"] == "shop"
    assert line["database"].pop("last_verified_at").endswith("Z")
    assert line["database"] == {
        "cluster": "shop-agentruntime-abc123",
        "namespace": "default",
        "origin": "created",
        "phase": "Running",
        "host": "10.0.0.7",
        "port": 5432,
        "database": "postgres",
        "username": "postgres",
        "credentials": "captured",
        "verified": True,
    }
    assert line["sandbox"] == {
        "name": "shop-sandbox",
        "phase": "Running",
        "urls": {"app": "http://shop-sandbox.example.org/"},
    }
    assert [step["step"] for step in line["steps"]] == [
        "requested",
        "cluster_applied",
        "cluster_running",
        "credentials_captured",
        "connection_verified",
        "sandbox_applied",
        "sandbox_ready",
    ]
    assert all(step["at"].endswith("Z") for step in line["steps"])
    assert PASSWORD not in ran.out + ran.err


@pytest.mark.django_db
def test_default_credentials_are_not_called_captured() -> None:
    project = ProjectFactory(name="late", failed=True)
    DatabaseFactory(project=project)
    SandboxFactory(project=project, credentials="default")
    line = json.loads(run("status", "late", "--json").out)
    assert line["database"]["credentials"] == "default"
    assert line["database"]["verified"] is False


@pytest.mark.django_db
@pytest.mark.parametrize(("is_embedded", "remedy"), [(True, "`make run`"), (False, "`manage.py qcluster`")])
def test_missing_queue_is_reported(settings: LazySettings, is_embedded: bool, remedy: str) -> None:
    settings.EMBEDDED_CLUSTER = is_embedded
    ran = run("provision", "aaa")
    assert ran.err == f"No queue worker is running, so requests wait. Start one with {remedy}.\n"
    late = run("provision", "aaa", "--wait", "--timeout-s", "0.2")
    assert late.err.splitlines() == [
        ran.err.strip(),
        f"Not done after 0.2 s: aaa. The request continues after {remedy}; check it with `manage.py status`.",
    ]
    heartbeats.beat_queue()
    assert run("provision", "aaa").err == ""
    assert "aaa. The request continues; check it" in run("provision", "aaa", "--wait", "--timeout-s", "0.2").err


# --- waiting, on rows that others change ---------------------------------------------------------------------------


@contextmanager
def in_background(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in another thread, as a queue's worker would; its error fails the test."""
    errors: list[Exception] = []

    def guarded() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - carried over
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not errors


def await_project(name: str) -> Project:
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        project = Project.objects.filter(name=name, desired_state=DesiredState.RUNNING).first()
        if project is not None:
            return project
        time.sleep(0.02)
    raise TimeoutError(name)


def carry_out(project: Project, phase: Phase, reason: Reason, message: str) -> None:
    Project.objects.filter(pk=project.pk).update(
        phase=phase, reason=reason, message=message, observed_generation=project.wanted_generation
    )


@pytest.mark.django_db(transaction=True)
def test_wait_prints_each_step_once() -> None:
    def bring_up() -> None:
        project = await_project("aaa")
        DatabaseFactory(project=project, applied_at=timezone.now())
        time.sleep(0.5)
        now = timezone.now()
        DatabaseCluster.objects.filter(project=project).update(running_at=now, captured_at=now, verified_at=now)
        SandboxFactory(project=project, applied_at=now, ready_at=now)
        carry_out(project, Phase.RUNNING, Reason.READY, "All is up.")

    with in_background(bring_up):
        ran = run("provision", "aaa", "--wait", "--timeout-s", "20")
    assert ran.code == 0
    for step in ("Requested", "Cluster applied", "Database running", "Connection verified", "Sandbox ready"):
        assert ran.out.count(f"  {step}") == 1, ran.out
    assert ran.lines[-1].startswith("aaa: Running. All is up. database aaa-agentruntime-abc123 at ")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("reason", "code"), [(Reason.CLUSTER_REJECTED, 1), (Reason.DEADLINE_EXCEEDED, 3)], ids=["failed", "too late"]
)
def test_failure_ends_the_wait(reason: Reason, code: int) -> None:
    with in_background(lambda: carry_out(await_project("aaa"), Phase.FAILED, reason, "It did not work.")):
        ran = run("provision", "aaa", "--wait", "--json", "--timeout-s", "20")
    assert ran.code == code
    assert json.loads(ran.out)["message"] == "It did not work."
    assert "Failed: It did not work." in ran.err


@pytest.mark.django_db
def test_wait_that_times_out_ends_with_3() -> None:
    started_s = time.monotonic()
    ran = run("provision", "aaa", "--wait", "--json", "--timeout-s", "0.5")
    assert ran.code == 3
    assert 0.5 <= time.monotonic() - started_s < 5
    assert json.loads(ran.out)["phase"] == "Waiting"
    assert "Not done after 0.5 s: aaa." in ran.err


@pytest.mark.django_db
def test_wait_for_a_running_project_ends_at_once() -> None:
    provisioned_project(name="shop")
    ran = run("provision", "shop", "--wait", "--timeout-s", "5")
    assert ran.code == 0
    assert "Cluster applied" not in ran.out


# --- as a program --------------------------------------------------------------------------------------------------


def test_streams_and_exit_codes_of_the_program(program: Program) -> None:
    done = program("provision", "aaa", "--json")
    assert done.code == 0
    assert json.loads(done.out)["phase"] == "Waiting"
    late = program("provision", "aaa", "--wait", "--json", "--timeout-s", "0.3")
    assert (late.code, len(late.lines)) == (3, 1)
    for arguments in (("provision",), ("provision", "aaa", "--timeout-s", "soon"), ("provision", "../x")):
        wrong = program(*arguments)
        assert (wrong.code, wrong.out) == (2, ""), arguments
        assert "Traceback" not in wrong.err


def test_missing_tables_are_explained(program: Program, tmp_path: str) -> None:
    ran = program("status", STATE_DIR=f"{tmp_path}/empty")
    assert (ran.code, ran.out) == (1, "")
    assert "Run `manage.py migrate`." in ran.err
