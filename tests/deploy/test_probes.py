"""Commands and addresses that the probes and init containers of deploy/ use."""

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from provisioning import heartbeats
from provisioning.models import ProcessLease
from tests.deploy.assembly import containers_of
from tests.deploy.test_manifests import BASE, DEPLOY, KEYS, environment, run_in_pod


def alive(part):
    with pytest.raises(SystemExit) as ended:
        call_command("alive", part)
    return ended.value.code


@pytest.mark.django_db
@pytest.mark.parametrize("part", ["queue", "watcher"])
def test_component_without_a_heartbeat_is_not_alive(part, capsys):
    assert alive(part) == 1
    assert "manage.py" in capsys.readouterr().err


@pytest.mark.django_db
def test_queue_is_alive_until_its_heartbeat_is_old():
    heartbeats.beat_queue()
    assert alive("queue") == 0
    long_ago = timezone.now() - timedelta(minutes=10)
    ProcessLease.objects.filter(name=heartbeats.QUEUE).update(renewed_at=long_ago)
    assert alive("queue") == 1


@pytest.mark.django_db
def test_watcher_is_alive_while_one_has_the_lease():
    heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, timezone.now(), {})
    assert alive("watcher") == 0
    past = timezone.now() - timedelta(seconds=1)
    ProcessLease.objects.filter(name=heartbeats.WATCHER).update(until=past)
    assert alive("watcher") == 1


def test_livez_accepts_reads_only(client):
    assert client.get("/livez").content == b"ok\n"
    assert client.head("/livez").status_code == 200
    assert client.post("/livez").status_code == 405


def waiting_commands():
    return {tuple(one["command"]) for one in containers_of(BASE) if one["name"] == "wait-for-migrations"}


def test_init_container_waits_for_the_migrations(tmp_path):
    (command,) = waiting_commands()
    variables = environment(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/panel.sqlite3", **KEYS)
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    waiting = subprocess.Popen(
        command, cwd=DEPLOY.parent, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert waiting.stdout is not None
        assert waiting.stdout.readline().startswith("Waiting for the database and its migrations.")
        assert waiting.poll() is None
        assert run_in_pod(variables, "manage.py", "migrate", "--noinput", "--verbosity", "0").returncode == 0
        assert waiting.wait(60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(waiting.pid, signal.SIGKILL)
        waiting.wait()
        waiting.stdout.close()
