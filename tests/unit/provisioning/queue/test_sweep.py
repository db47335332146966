"""The sweep enqueues passes that are due or lost, and no pass twice."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from projects.domain.states import Reason
from projects.models import Project
from projects.services.broker import count_tasks
from projects.services.provisioning import add_project, request_provision
from projects.services.queue import enqueue_pass
from provisioning import heartbeats, tasks
from provisioning.models import ProcessLease
from provisioning.queue.sweep import (
    count_unacknowledged,
    postpone_settled_checks,
    sweep_once,
)
from provisioning.reconcile.lease import LEASE, claim
from tests.factories import ProjectFactory, provisioned_project
from tests.support.queue import pass_of, queued_calls

pytestmark = pytest.mark.django_db


def record_heartbeat(at):
    """Record that a worker began a task at this time."""
    ProcessLease.objects.update_or_create(name=heartbeats.QUEUE, defaults={"holder": "here:1", "renewed_at": at})


def let_worker_take_all(at):
    """Let a worker take every task at this time: django-q keeps the rows, locked for `retry`."""
    OrmQ.objects.update(lock=at + timedelta(seconds=Conf.RETRY))


def test_sweep_enqueues_only_due_passes(project):
    now = timezone.now()
    other = add_project("bbb", actor="tester")
    Project.objects.filter(pk=project.pk).update(next_pass_at=now - timedelta(seconds=1))
    Project.objects.filter(pk=other.pk).update(next_pass_at=now + timedelta(seconds=60))
    assert sweep_once(now) == 1
    assert sweep_once(now) == 0
    assert queued_calls() == [pass_of(project)]


def test_sweep_repeats_a_pass_that_died(project):
    now = timezone.now()
    assert claim(project.pk, now) is not None
    assert sweep_once(now + timedelta(seconds=1)) == 0
    assert sweep_once(now + LEASE + timedelta(seconds=1)) == 1


def test_sweep_repeats_a_lost_task(project):
    now = timezone.now()
    enqueue_pass(project.pk, now=now)
    OrmQ.objects.all().delete()
    record_heartbeat(now + timedelta(seconds=9))
    assert sweep_once(now + timedelta(seconds=5)) == 0
    assert sweep_once(now + timedelta(seconds=11)) == 1


def test_task_of_a_killed_worker_is_repeated_before_the_queue_does(project):
    now = timezone.now()
    enqueue_pass(project.pk, now=now)
    let_worker_take_all(now)
    record_heartbeat(now + timedelta(seconds=9))
    assert sweep_once(now + timedelta(seconds=11)) == 1


def test_lost_task_of_a_running_project_is_repeated_in_a_long_queue():
    """The watcher postpones the checks of running projects, but does not know that a variable has changed."""
    project, now = provisioned_project(), timezone.now()
    enqueue_pass(project.pk, now=now)
    OrmQ.objects.all().delete()
    for _ in range(120):
        async_task(tasks.path_of(tasks.beat))
    later = now + timedelta(minutes=2)
    record_heartbeat(later)
    sweep_once(later)
    postpone_settled_checks(later + timedelta(seconds=3))
    sweep_once(later + timedelta(seconds=3))
    assert pass_of(project) in queued_calls()


def test_tasks_of_killed_workers_do_not_delay_others(project):
    """django-q keeps the tasks of killed workers for `retry`; they are not ahead of others."""
    now = timezone.now()
    for number in range(200):
        enqueue_pass(add_project(f"p{number}", actor="tester").pk, now=now - timedelta(minutes=2))
    let_worker_take_all(now)
    Project.objects.exclude(pk=project.pk).update(queued_at=None)
    enqueue_pass(project.pk, now=now)
    OrmQ.objects.last().delete()
    record_heartbeat(now + timedelta(seconds=19))
    assert sweep_once(now + timedelta(seconds=20)) == 1


def test_hanging_queue_gets_a_task_at_most_twice(project):
    """A hanging queue takes tasks and begins none, so tasks enqueued in the meantime are lost as well."""
    now = timezone.now()
    enqueue_pass(project.pk, now=now)
    for second in range(60):
        if second < 8:
            record_heartbeat(now + timedelta(seconds=second))
        let_worker_take_all(now)
        sweep_once(now + timedelta(seconds=second))
    assert len(queued_calls()) <= 2
    # The queue works again: the lost task is repeated.
    record_heartbeat(now + timedelta(seconds=62))
    OrmQ.objects.all().delete()
    assert sweep_once(now + timedelta(seconds=63)) == 1


def test_pass_that_died_is_repeated_after_its_lease(project):
    """A claim of a held lease sets next_pass_at; the sweep does not enqueue a pass for it each time."""
    now = timezone.now()
    assert claim(project.pk, now) is not None
    assert claim(project.pk, now) is None
    assert sweep_once(now + timedelta(seconds=5)) == 0
    assert sweep_once(now + LEASE + timedelta(seconds=1)) == 1


def test_unacknowledged_heartbeats_are_counted(project):
    now = timezone.now()
    for _ in range(3):
        async_task(tasks.path_of(tasks.beat))
    enqueue_pass(project.pk, now=now)
    since = now - timedelta(seconds=1)
    beat, later = tasks.path_of(tasks.beat), now + timedelta(seconds=20)
    assert count_unacknowledged(beat, later, since) == 0  # no worker has taken them
    let_worker_take_all(now)
    assert count_unacknowledged(beat, now + timedelta(seconds=5), since) == 0
    assert count_unacknowledged(beat, later, since) == 3
    assert count_unacknowledged(beat, later, now + timedelta(seconds=1)) == 0


def test_waiting_task_is_not_repeated(project):
    now = timezone.now()
    enqueue_pass(project.pk, now=now)
    for second in range(60):
        record_heartbeat(now + timedelta(seconds=second))
        sweep_once(now + timedelta(seconds=second))
    assert queued_calls() == [pass_of(project)]
    let_worker_take_all(now)
    assert sweep_once(now + timedelta(seconds=60)) == 1


def test_sweep_reads_the_queue_only_for_late_tasks(project, django_assert_num_queries):
    enqueue_pass(project.pk, now=timezone.now())
    with django_assert_num_queries(5):
        sweep_once(timezone.now())


def test_task_in_a_long_queue_is_not_repeated(project):
    now = timezone.now()
    for number in range(200):
        enqueue_pass(add_project(f"p{number}", actor="tester").pk, now=now)
    assert sweep_once(now + timedelta(seconds=60)) == 0
    assert count_tasks(now + timedelta(seconds=60)) == 200


def test_oldest_project_comes_first(project):
    now = timezone.now()
    projects = [add_project(f"p{i}", actor="tester") for i in range(5)]
    for age, row in enumerate(projects):
        Project.objects.filter(pk=row.pk).update(next_pass_at=now - timedelta(seconds=age))
    sweep_once(now)
    assert queued_calls() == [pass_of(row) for row in reversed(projects)]


def test_clock_that_was_set_back_blocks_nothing(project):
    """Leases, tasks and times written before the change are far in the future then."""
    now = timezone.now()
    later = now + timedelta(hours=1)
    assert claim(project.pk, later) is not None
    assert claim(project.pk, now) is not None
    Project.objects.filter(pk=project.pk).update(queued_at=later, lease_until=None)
    assert sweep_once(now) == 1
    OrmQ.objects.all().delete()
    Project.objects.filter(pk=project.pk).update(queued_at=None, next_pass_at=later)
    assert sweep_once(now) == 1
    assert heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, later, {"in_step": True})
    assert not heartbeats.is_watched(now)
    assert not heartbeats.read(now).watcher.alive
    assert heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, now, {})


def test_requests_come_before_checks(project, settings):
    now = timezone.now()
    for _ in range(3):
        provisioned_project()
    request_provision(project, actor="ann")
    OrmQ.objects.all().delete()
    Project.objects.update(queued_at=None, next_pass_at=now - timedelta(minutes=1))
    Project.objects.filter(pk=project.pk).update(next_pass_at=now)
    assert sweep_once(now) == 4
    assert queued_calls()[0] == pass_of(project)


def test_checks_wait_for_a_short_queue(project):
    now = timezone.now()
    for _ in range(3):
        provisioned_project()
    request_provision(project, actor="ann")
    Project.objects.update(queued_at=None, next_pass_at=now)
    OrmQ.objects.bulk_create([OrmQ(key="controlpanel", payload="x", lock=now) for _ in range(100)])
    assert sweep_once(now) == 1


def test_check_of_a_settled_project_is_postponed():
    now = timezone.now()
    settled, failed = provisioned_project(), ProjectFactory.create(failed=True)
    Project.objects.update(next_pass_at=now - timedelta(seconds=1), reason=Reason.READY)
    assert postpone_settled_checks(now) == 1
    assert sweep_once(now) == 1
    assert OrmQ.objects.get().task["args"] == (failed.pk,)
    settled.refresh_from_db()
    assert settled.next_pass_at > now + timedelta(minutes=1)


def test_check_of_a_new_intent_is_not_postponed():
    now = timezone.now()
    project = provisioned_project()
    Project.objects.filter(pk=project.pk).update(next_pass_at=now, reason=Reason.READY, wanted_generation=2)
    assert postpone_settled_checks(now) == 0
    assert sweep_once(now) == 1
