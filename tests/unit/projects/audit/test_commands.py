"""Audit log entries of commands that belong to no project: keys, locks, pruned events."""

from datetime import timedelta
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from projects.audit.log import ACTIONS, describe_entry, shell_user
from projects.confidential.key_files import read_encryption_keys
from tests.factories import EventFactory, UserFactory, provisioned_project
from tests.support.commands import run
from tests.unit.projects.services.test_key_rotation import age

pytestmark = pytest.mark.django_db


def entries(what: str) -> list[dict[str, str]]:
    rows = [describe_entry(row) for row in LogEntry.objects.filter(additional_data__what=what).order_by("pk")]
    assert {(row["who"], row["address"]) for row in rows} <= {(shell_user(), None)}
    assert {row["what"] for row in rows} <= set(ACTIONS)
    return rows


def test_key_rotation_is_logged(settings, tmp_path: Path) -> None:
    settings.ENCRYPTION_KEYS, settings.ENCRYPTION_KEY_FILE = [], tmp_path / "encryption_key"
    read_encryption_keys(settings.ENCRYPTION_KEY_FILE)
    provisioned_project()
    assert run("rotate_keys", "--new-key").code == 0
    assert run("rotate_keys").code == 0
    assert run("rotate_keys", "--drop-old-keys").code == 1
    age(settings.ENCRYPTION_KEY_FILE)
    assert run("rotate_keys", "--drop-old-keys").code == 0
    age(settings.ENCRYPTION_KEY_FILE)
    assert run("rotate_keys", "--drop-old-keys").code == 0
    assert [row["message"] for row in entries("KeysRotated")] == [
        "Added a new first key.",
        "Re-encrypted 1 of 1 stored secrets with the first key.",
        "Removed old keys: 1.",
    ]
    stored = str(list(LogEntry.objects.values()))
    assert not [key for key in settings.ENCRYPTION_KEY_FILE.read_text().split() if key in stored]


def test_removed_lock_is_logged() -> None:
    UserFactory.create(username="maria")
    client = Client(REMOTE_ADDR="203.0.113.7")
    client.post("/admin/login/", {"username": "maria", "password": "wrong"})
    call_command("axes_reset")
    (row,) = entries("LogInUnlocked")
    assert (row["kind"], row["name"], row["message"]) == ("user", "maria", "maria at 203.0.113.7")


def test_correct_password_logs_no_removed_lock() -> None:
    user = UserFactory.create(username="maria")
    user.set_password("right")
    user.save()
    for password in ("wrong", "right"):
        Client().post("/admin/login/", {"username": "maria", "password": password})
    assert entries("LogInUnlocked") == []


def test_pruned_events_are_logged() -> None:
    old = timezone.now() - timedelta(days=31)
    call_command("prune_events", "--older-than-days", "30")
    assert entries("EventsPruned") == []
    EventFactory.create(actor="panel", by_panel=True, at=old)
    call_command("prune_events", "--older-than-days", "30")
    (row,) = entries("EventsPruned")
    assert row["message"] == "Deleted 1 events that were older than 30 days."
