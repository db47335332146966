"""/healthz: 200 while all components are healthy, else 503 with the cause."""

import socket
import subprocess
import uuid
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from provisioning import heartbeats
from provisioning.management.startup import forget_dead_processes
from provisioning.models import ProcessLease
from tests.factories import UserFactory
from tests.support.commands import run

pytestmark = pytest.mark.django_db


def bring_up(details: dict[str, object]) -> None:
    now = timezone.now()
    assert heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), timedelta(seconds=10), now, details)
    heartbeats.beat_queue()


def test_healthy_components_answer_200_to_everyone(client: Client) -> None:
    bring_up({"in_step": True})
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["ok"] is True
    assert set(answer.json()["parts"]) == {"web", "database", "queue", "watcher", "cluster"}
    assert "no-store" in answer["Cache-Control"]


def test_missing_queue_and_watcher_answer_503(client: Client) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert {name for name, part in parts.items() if part["ok"]} == {"web", "database"}
    assert "manage.py qcluster" in parts["queue"]["message"]
    assert "manage.py watch" in parts["watcher"]["message"]


ERROR = "The API server https://10.0.0.1 can't be reached: nothing accepts connections there."


def test_unreachable_api_server_answers_503_with_the_cause_for_staff(client: Client) -> None:
    bring_up({"in_step": False, "error": ERROR})
    client.force_login(UserFactory.create())
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["cluster"] == {"ok": False, "message": ERROR}
    assert ERROR in answer.json()["parts"]["watcher"]["message"]


def test_pages_warn_of_an_unreachable_api_server_before_a_pass_fails(client: Client) -> None:
    client.force_login(UserFactory.create(is_superuser=True))
    bring_up({"in_step": False, "error": ERROR})
    for address in ("/admin/", "/projects/"):
        assert ERROR in unescape(client.get(address).content.decode()), address
    ProcessLease.objects.filter(name=heartbeats.WATCHER).update(details={"in_step": True})
    assert "The watcher" not in client.get("/admin/").content.decode()


@pytest.mark.parametrize("is_known", [False, True])
def test_cause_is_hidden_from_others(client: Client, is_known: bool) -> None:
    bring_up({"in_step": False, "error": ERROR})
    if is_known:
        client.force_login(UserFactory.create(is_staff=False))
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert "10.0.0.1" not in answer.content.decode()
    assert "manage.py doctor" in answer.json()["parts"]["cluster"]["message"]
    assert answer.json()["parts"]["watcher"] == {"ok": True, "message": "Watcher running."}


@pytest.mark.parametrize("name", [heartbeats.WATCHER, heartbeats.QUEUE])
def test_silent_component_answers_503(client: Client, name: str) -> None:
    bring_up({"in_step": True})
    long_ago = timezone.now() - timedelta(minutes=5)
    ProcessLease.objects.filter(name=name).update(renewed_at=long_ago, until=long_ago)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["parts"][name]["ok"] is False


def test_stopped_queue_is_reported_as_not_running(client: Client) -> None:
    bring_up({"in_step": True})
    ended = subprocess.Popen(["true"])
    ended.wait()
    ProcessLease.objects.update(holder=f"{socket.gethostname()}:{ended.pid}")
    forget_dead_processes()
    assert not ProcessLease.objects.exists()
    ran = run("alive", "queue")
    assert ran.code == 1
    assert ran.err == "No worker is running. Requests wait until `manage.py qcluster` runs.\n"


def test_probes_work_without_tls_and_only_with_get(client: Client, settings: object) -> None:
    settings.SECURE_SSL_REDIRECT = True  # type: ignore[attr-defined]
    assert client.get("/healthz").status_code == 503
    assert client.post("/healthz").status_code == 405
