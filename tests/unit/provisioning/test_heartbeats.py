"""Leases and heartbeats tell which components are alive."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from provisioning import heartbeats, tasks
from provisioning.models import ProcessLease

pytestmark = pytest.mark.django_db


def test_standby_watcher_takes_over_after_the_lease():
    now, one, two = timezone.now(), uuid.uuid4(), uuid.uuid4()
    assert heartbeats.acquire("watcher", one, heartbeats.WATCHER_LEASE, now, {})
    assert not heartbeats.acquire("watcher", two, heartbeats.WATCHER_LEASE, now, {})
    assert heartbeats.acquire("watcher", one, heartbeats.WATCHER_LEASE, now + timedelta(seconds=5), {})
    assert timedelta(seconds=15) >= heartbeats.WATCHER_LEASE
    late = now + timedelta(seconds=6) + heartbeats.WATCHER_LEASE
    assert heartbeats.acquire("watcher", two, heartbeats.WATCHER_LEASE, late, {})
    assert not heartbeats.acquire("watcher", one, heartbeats.WATCHER_LEASE, late, {})


def test_missing_component_has_a_message_with_its_command():
    nothing = heartbeats.read()
    assert not nothing.watcher.alive
    assert "manage.py watch" in nothing.watcher.message
    assert not nothing.queue.alive
    assert "manage.py qcluster" in nothing.queue.message
    tasks.beat()
    assert heartbeats.read().queue.alive
    assert not heartbeats.read(timezone.now() + timedelta(minutes=5)).queue.alive


def test_silent_queue_is_reported_within_half_a_minute():
    now = timezone.now()
    tasks.beat()
    later = now + timedelta(seconds=31)
    heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, later, {})
    assert not heartbeats.read(later).queue.alive


def test_heartbeat_is_written_at_most_once_a_second(django_assert_num_queries, monkeypatch):
    tasks.beat()
    before = ProcessLease.objects.get(name=heartbeats.QUEUE).renewed_at
    with django_assert_num_queries(0):
        tasks.beat()
    monkeypatch.setattr(heartbeats, "_beaten_at", None)  # another worker
    with django_assert_num_queries(1):
        tasks.beat()
    assert ProcessLease.objects.get(name=heartbeats.QUEUE).renewed_at == before
