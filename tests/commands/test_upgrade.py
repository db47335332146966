"""The state of version 0.1.0 upgrades, and everything in it can be read; a database of a newer version is refused."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import shell
from tests.support.processes import ROOT, free_port, hermetic_environment

DATA = ROOT / "tests" / "data" / "state_0_1_0"
EXPECTED = json.loads((DATA / "expected.json").read_text())

# What tests/data/README.md says of expected.json, read by today's code.
READ = """
import json
from auditlog.models import LogEntry
from django.contrib.auth.models import User
from projects.models import Event, LastAppliedManifest, Project
found = {
    "events": Event.objects.count(),
    "audit": LogEntry.objects.count(),
    "applied": LastAppliedManifest.objects.count(),
    "users": sorted(User.objects.values_list("username", flat=True)),
    "projects": {
        p.name: {
            "kubernetes_name": p.kubernetes_name,
            "uid": str(p.uid),
            "phase": p.phase,
            "reason": p.reason,
            "desired": p.desired_state,
            "owner": p.owner.username if p.owner else None,
            "template": p.template.name if p.template else None,
            "variables": {v.name: v.value.reveal() for v in p.variables.all()},
            "databases": {
                d.name: [d.origin, d.phase, d.password.reveal(), d.pending_password.reveal()] for d in p.databases.all()
            },
            "sandboxes": {s.name: [s.credentials, s.phase] for s in p.sandboxes.all()},
            "events": p.events.count(),
        }
        for p in Project.objects.all()
    },
}
print(json.dumps(found))
"""

PAGES = """
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from projects.models import Project
client = Client(SERVER_NAME='localhost')
client.force_login(User.objects.get(username='admin'))
paths = ['/projects/', '/admin/']
paths += [f'/projects/{pk}/' for pk in Project.objects.values_list('pk', flat=True)]
for model in ('project', 'databasecluster', 'sandbox', 'event', 'sandboxtemplate', 'foundcluster', 'orphan'):
    paths.append(reverse(f'admin:projects_{model}_changelist'))
paths += [reverse('admin:projects_project_change', args=[pk]) for pk in Project.objects.values_list('pk', flat=True)]
paths.append(reverse('admin:auditlog_logentry_changelist'))
for path in paths:
    answer = client.get(path)
    if answer.status_code != 200:
        print(path, answer.status_code)
print(len(paths), User.objects.get(username='ann').check_password('upgrade-test-2'))
"""


def manage(state: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=hermetic_environment(state, **environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def old_state(tmp_path: Path) -> Path:
    """A state directory as version 0.1.0 left it."""
    state = tmp_path / "state"
    state.mkdir()
    for name in ("encryption_key", "secret_key"):
        shutil.copy(DATA / name, state)
    with sqlite3.connect(state / "panel.sqlite3") as database:
        database.executescript((DATA / "panel.sql").read_text())
    database.close()
    return state


@pytest.fixture
def upgraded(old_state: Path) -> Path:
    done = manage(old_state, "migrate", "-v0")
    assert done.returncode == 0, done.stderr
    return old_state


def test_data_has_a_project_in_every_phase() -> None:
    phases = {project["phase"] for project in EXPECTED["projects"].values()}
    assert phases == {"New", "Waiting", "Creating", "Running", "Failed", "Deleting", "Deleted"}


def test_upgrade_keeps_every_value(upgraded: Path) -> None:
    assert json.loads(shell(ROOT, upgraded, READ)) == EXPECTED


def test_pages_show_it_and_people_log_in(upgraded: Path) -> None:
    (line,) = shell(ROOT, upgraded, PAGES).splitlines()
    count, can_log_in = line.split()
    assert int(count) > 35
    assert can_log_in == "True"


def test_commands_read_the_upgraded_state(upgraded: Path) -> None:
    done = manage(upgraded, "status", "--json")
    assert done.returncode == 0, done.stderr
    listed = {line["project"]: line["phase"] for line in map(json.loads, done.stdout.splitlines())}
    present = {name: one["phase"] for name, one in EXPECTED["projects"].items() if one["phase"] != "Deleted"}
    assert listed == present
    (password,) = [one[2] for one in EXPECTED["projects"]["alpha"]["databases"].values()]
    shown = manage(upgraded, "credentials", "alpha", "--reveal", "--reason", "a test", "--format", "url")
    assert password in shown.stdout
    audit = manage(upgraded, "audit")
    assert len(audit.stdout.splitlines()) >= EXPECTED["audit"]
    assert all(json.loads(line)["at"] for line in audit.stdout.splitlines())


def test_doctor_accepts_the_upgraded_database(upgraded: Path) -> None:
    lines = map(json.loads, manage(upgraded, "doctor", "--json").stdout.splitlines())
    found = {line["check"]: line for line in lines}
    assert found["database"]["result"] == found["stored secrets"]["result"] == found["encryption"]["result"] == "ok"
    assert "All " in found["stored secrets"]["message"]


def test_names_of_deleted_projects_stay_taken(upgraded: Path) -> None:
    for name in ("gamma", "forgotten"):
        done = manage(upgraded, "provision", name, "--dry-run")
        assert done.returncode == 2
        assert name in done.stderr


def test_doctor_reports_a_database_that_is_not_upgraded(old_state: Path) -> None:
    found = json.loads(manage(old_state, "doctor", "--json").stdout.splitlines()[3])
    assert (found["check"], found["result"]) == ("database", "failed")
    assert "migrations are not applied" in found["message"]


# --- code that is older than the schema --------------------------------------------------------------------------


def mark_applied(state: Path, app: str, name: str) -> None:
    with sqlite3.connect(state / "panel.sqlite3") as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES (?, ?, '2030-01-01 00:00:00')", (app, name)
        )
    database.close()


NEWER = [("projects", "0999_backups"), ("provisioning", "0999_pools"), ("django_q", "0999_newer_package")]


@pytest.mark.parametrize(("app", "name"), NEWER)
def test_database_of_a_newer_version_is_refused_everywhere(upgraded: Path, app: str, name: str) -> None:
    mark_applied(upgraded, app, name)
    said = f"The database is newer than this version of the panel: 1 of its migrations are unknown here ({app}.{name})."
    doctor = manage(upgraded, "doctor", "--json")
    assert doctor.returncode == 1
    (database,) = [line for line in map(json.loads, doctor.stdout.splitlines()) if line["check"] == "database"]
    assert database["result"] == "failed"
    assert database["message"].startswith(said)
    for arguments in (("migrate",), ("migrate", "--check")):
        migrate = manage(upgraded, *arguments)
        assert migrate.returncode == 1
        assert said in migrate.stderr
    up = manage(upgraded, "up", PORT=str(free_port()), KUBECONFIG="/dev/null")
    assert up.returncode == 1
    assert said in up.stderr
    assert "Traceback" not in up.stderr


def test_migrations_of_packages_that_are_gone_are_no_failure(upgraded: Path) -> None:
    mark_applied(upgraded, "sites", "0001_initial")
    assert manage(upgraded, "migrate", "--check").returncode == 0
    lines = map(json.loads, manage(upgraded, "doctor", "--json").stdout.splitlines())
    assert {line["check"]: line["result"] for line in lines}["database"] == "ok"
