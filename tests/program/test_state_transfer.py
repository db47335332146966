"""The state of a panel moves from SQLite to PostgreSQL and back; encrypted values stay readable."""

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.postgres import Postgres
from tests.support.processes import ROOT, hermetic_environment

SESSION = """
import json, os
from controlpanel.startup import load_settings
load_settings()
import django
django.setup()
from projects.models import *
from django.contrib.auth.models import Group, User
"""
MAKE = """
from django.test import Client
from projects.confidential.encrypted_fields import EncryptedText
from projects.services.events import record_event
from tests.factories import *
for number, phase in enumerate(Phase.values):
    project = provisioned_project(name=f"p{number}")
    Project.objects.filter(pk=project.pk).update(phase=phase)
    value = EncryptedText.of(f"kEy-{number}-ü\\n\\r\\n lines \\n")
    ProjectVariable.objects.create(project=project, name="TOKEN", value=value)
    record_event(project, actor="ada", reason="Changed", message="ada changed the description.")
ada = User.objects.create_superuser("ada", password="Tr0ub4dor-3x")
ada.groups.add(Group.objects.get(name="Operator"))
Project.objects.filter(name="p1").update(owner=ada)
client = Client(headers={"Host": "localhost"})
client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
client.post(f"/projects/{Project.objects.get(name='p3').pk}/credentials/", {"reason": "look"})
gone = User.objects.create(username="gone"); gone.delete()
held = {"lease_token": "00000000-0000-4000-8000-000000000001", "queued_at": "2026-11-01T00:00Z"}
Project.objects.filter(name="p2").update(**held)
"""
READ = """
from auditlog.models import LogEntry
def when(moment): return moment and moment.isoformat()
print(json.dumps({
    "projects": [[p.pk, p.name, p.phase, str(p.uid), p.owner and p.owner.username, when(p.created_at)]
                 for p in Project.objects.order_by("pk")],
    "variables": [[v.pk, v.project_id, v.value.reveal()] for v in ProjectVariable.objects.order_by("pk")],
    "passwords": [[d.pk, d.connection and d.connection.url, when(d.captured_at)] for d in DatabaseCluster.objects.order_by("pk")],
    "events": [[e.pk, e.project_id, e.actor, e.reason, e.message, when(e.at)] for e in Event.objects.order_by("pk")],
    "log": [[l.pk, l.object_repr, l.additional_data, when(l.timestamp), l.actor and l.actor.username]
            for l in LogEntry.objects.exclude(additional_data__what="StateImported").order_by("pk")],
    "users": [[u.pk, u.username, u.password, sorted(u.groups.values_list("name", flat=True))] for u in User.objects.order_by("pk")],
    "leases": Project.objects.exclude(lease_token=None).count() + Project.objects.exclude(queued_at=None).count(),
    "next_user": User.objects.create(username="next").pk,
}))
User.objects.filter(username="next").delete()
"""  # noqa: E501 - a program of its own


class Installation:
    """A panel with its own state directory and database."""

    def __init__(self, state_dir: Path, **environment: str) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self.state_dir = state_dir
        self.environment = hermetic_environment(state_dir, PYTHONPATH=str(ROOT), **environment)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(str(ROOT / "manage.py"), *arguments)

    def run(self, script: str) -> str:
        done = self._run("-c", SESSION + script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=self.state_dir, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def server():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Installation:
    installation = Installation(tmp_path_factory.mktemp("source") / "state")
    assert installation.manage("migrate", "-v0").returncode == 0
    installation.run(MAKE)
    return installation


@pytest.fixture(scope="module")
def exported(source: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "state.jsonl"
    done = source.manage("export_state", str(file))
    assert done.returncode == 0, done.stderr
    return file


def beside(source: Installation, state_dir: Path, **environment: str) -> Installation:
    """Return an installation with the keys of the source and an empty database."""
    other = Installation(state_dir, **environment)
    for name in ("encryption_key", "secret_key"):
        shutil.copy2(source.state_dir / name, state_dir / name)
    assert other.manage("migrate", "-v0").returncode == 0
    return other


def test_state_moves_to_postgresql_and_back(source, exported, server, tmp_path):
    before = json.loads(source.run(READ))
    other = beside(source, tmp_path / "other", DATABASE_URL=server.url)
    done = other.manage("import_state", str(exported))
    assert done.returncode == 0, done.stderr
    there = json.loads(other.run(READ))
    assert there.pop("leases") == 0
    assert before.pop("leases") == 2
    assert {name: before[name] for name in before if name != "next_user"} == {
        name: there[name] for name in there if name != "next_user"
    }
    assert there["next_user"] > 2, "the key of a deleted user came again"
    back = beside(source, tmp_path / "back")
    file = tmp_path / "back.jsonl"
    assert other.manage("export_state", str(file)).returncode == 0
    assert back.manage("import_state", str(file)).returncode == 0
    again = json.loads(back.run(READ))
    assert again["variables"] == before["variables"]
    assert again["events"] == before["events"]


def test_file_is_private_and_has_no_plain_secret(source, exported):
    text = exported.read_text()
    assert "kEy-1" not in text
    for _, url, _ in json.loads(source.run(READ))["passwords"]:
        assert url is None or url.split("@")[0].rsplit(":", 1)[1] not in text
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600


def test_database_with_rows_is_not_changed(source, exported):
    done = source.manage("import_state", str(exported))
    assert done.returncode == 1
    assert "empty database" in done.stderr


def test_other_keys_are_refused_first(exported, tmp_path):
    other = Installation(tmp_path / "keys")
    assert other.manage("migrate", "-v0").returncode == 0
    done = other.manage("import_state", str(exported))
    assert done.returncode == 1
    assert "ENCRYPTION_KEYS" in done.stderr
    assert json.loads(other.run("print(json.dumps([Project.objects.count(), Group.objects.count()]))")) == [0, 4]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "{}\n",
        lambda text: text.replace("projects.0001_initial", "projects.0001_other", 1),
        lambda text: text.replace('"model": "projects.project"', '"model": "projects.nothing"', 1),
        lambda text: "\x00\xff",
    ],
    ids=["cut", "empty", "no header", "another version", "unknown rows", "no text"],
)
def test_invalid_file_is_refused(source, exported, tmp_path, spoil):
    file = tmp_path / "spoiled.jsonl"
    file.write_text(spoil(exported.read_text()))
    other = beside(source, tmp_path / "spoiled")
    done = other.manage("import_state", str(file))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert json.loads(other.run("print(json.dumps(Project.objects.count()))")) == 0


def test_dry_run_stores_nothing(source, exported, tmp_path):
    other = beside(source, tmp_path / "dry")
    done = other.manage("import_state", str(exported), "--dry-run")
    assert (done.returncode, "Nothing was changed" in done.stdout) == (0, True)
    assert json.loads(other.run("print(json.dumps(Project.objects.count()))")) == 0


def test_existing_file_is_not_overwritten(source, exported):
    before = exported.read_text()
    assert source.manage("export_state", str(exported)).returncode == 1
    assert exported.read_text() == before
