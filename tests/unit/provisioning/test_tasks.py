"""Tasks that run by the clock."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import OrmQ, Schedule

from projects.models import Project
from provisioning import heartbeats, tasks
from tests.factories import ProjectFactory
from tests.support.queue import pass_of, queued_calls

pytestmark = pytest.mark.django_db


def test_queue_sweeps_repeatedly_without_a_watcher(project):
    now = timezone.now()
    Project.objects.filter(pk=project.pk).update(next_pass_at=now)
    tasks.sweep()
    calls = queued_calls()
    assert pass_of(project) in calls
    assert ("provisioning.tasks.sweep", ()) in calls
    chained = OrmQ.objects.last()
    available_at = chained.lock
    assert timedelta(seconds=3) < available_at - now < timedelta(seconds=7)
    # The next scheduled run does not start a second chain.
    tasks.sweep()
    assert len(queued_calls()) == len(calls)


def test_queue_does_not_sweep_with_a_watcher(project):
    now = timezone.now()
    Project.objects.filter(pk=project.pk).update(next_pass_at=now)
    assert heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, now, {"in_step": True})
    tasks.sweep()
    assert queued_calls() == []


def test_sweep_is_scheduled_once():
    tasks.ensure_schedules()
    tasks.ensure_schedules()
    schedule = Schedule.objects.get(func="provisioning.tasks.sweep")
    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, 1)


def test_next_sweep_waits_in_the_queue():
    ProjectFactory.create(name="aaa", next_pass_at=timezone.now() + timedelta(seconds=30))
    tasks.sweep()
    assert OrmQ.objects.count() == 1
    assert not get_broker().dequeue()
