"""Tasks, leases and the sweep: one task a project at most, one pass at a time, nothing lost."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from projects.domain.states import DesiredState, Phase
from projects.models import Project
from projects.services.broker import count_tasks
from projects.services.provisioning import add_project, request_delete, request_provision
from projects.services.queue import enqueue_pass
from provisioning import heartbeats, tasks
from provisioning.checks import check_queue
from provisioning.models import ProcessLease
from provisioning.queue.sweep import (
    count_unacknowledged,
    postpone_settled_checks,
    sweep_once,
)
from provisioning.reconcile.lease import LEASE, LeaseLostError, claim, release
from tests.factories import ProjectFactory, provisioned_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return add_project("aaa", actor="tester")


def queued_calls():
    return [(row.task["func"], row.task["args"]) for row in OrmQ.objects.order_by("pk")]


def pass_of(project):
    return ("provisioning.tasks.reconcile_project", (project.pk,))


def test_a_request_is_intent_event_and_one_task(project):
    assert request_provision(project, actor="ann").accepted
    assert request_provision(project, actor="bob").accepted
    project.refresh_from_db()
    assert project.desired_state == DesiredState.RUNNING
    assert queued_calls() == [pass_of(project)]


def test_nothing_is_queued_when_the_transaction_fails(project):
    savepoint = transaction.savepoint()
    request_provision(project, actor="ann")
    transaction.savepoint_rollback(savepoint)
    project.refresh_from_db()
    assert project.desired_state == DesiredState.REGISTERED
    assert queued_calls() == []


def test_a_task_holds_an_id_and_nothing_else(project):
    request_provision(project, actor="ann")
    task = OrmQ.objects.get().task
    assert task["args"] == (project.pk,)
    assert task["kwargs"] == {}


def test_only_one_pass_at_a_time(project):
    now = timezone.now()
    first = claim(project.pk, now)
    assert first is not None
    assert claim(project.pk, now) is None
    later = claim(project.pk, now + LEASE + timedelta(seconds=1))
    assert later is not None
    with pytest.raises(LeaseLostError):
        first.write(message="too late")
    later.write(message="mine")
    project.refresh_from_db()
    assert project.message == "mine"


def test_a_pass_for_an_older_intent_writes_nothing(project):
    request_provision(project, actor="ann")
    lease = claim(project.pk, timezone.now())
    assert lease is not None
    request_delete(project, actor="bob")
    with pytest.raises(LeaseLostError):
        lease.write(phase=Phase.RUNNING)
    project.refresh_from_db()
    assert project.phase == Phase.DELETING


def test_who_comes_second_is_not_forgotten(project):
    now = timezone.now()
    lease = claim(project.pk, now)
    assert lease is not None
    assert claim(project.pk, now) is None
    release(lease, next_pass_at=now + timedelta(hours=1), now=now)
    assert queued_calls() == [pass_of(project)]


def test_who_comes_as_the_holder_ends_takes_over(project):
    """Between the statement that finds the lease taken and the one that leaves a note, the holder gives it back."""
    now = timezone.now()
    holder = claim(project.pk, now)
    asked = 0

    def end_before_the_note(execute, sql, params, many, context):
        nonlocal asked
        asked += sql.startswith("UPDATE")
        if asked == 2:
            asked += 1
            assert holder.write_last(now + timedelta(minutes=5), phase=Phase.RUNNING)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(end_before_the_note):
        assert claim(project.pk, now) is not None


def test_release_schedules_the_next_look(project):
    now = timezone.now()
    lease = claim(project.pk, now)
    assert lease is not None
    release(lease, next_pass_at=now + timedelta(hours=1), now=now)
    project.refresh_from_db()
    assert (project.lease_token, project.next_pass_at) == (None, now + timedelta(hours=1))
    assert queued_calls() == []


def test_the_sweep_finds_what_is_due_and_only_that(project):
    now = timezone.now()
    other = add_project("bbb", actor="tester")
    Project.objects.filter(pk=project.pk).update(next_pass_at=now - timedelta(seconds=1))
    Project.objects.filter(pk=other.pk).update(next_pass_at=now + timedelta(seconds=60))
    assert sweep_once(now) == 1
    assert sweep_once(now) == 0
    assert queued_calls() == [pass_of(project)]


def test_the_sweep_finds_a_pass_that_died(project):
    now = timezone.now()
    assert claim(project.pk, now) is not None
    assert sweep_once(now + timedelta(seconds=1)) == 0
    assert sweep_once(now + LEASE + timedelta(seconds=1)) == 1


def sign_of_life(at):
    """A worker began something at that time."""
    ProcessLease.objects.update_or_create(name=heartbeats.QUEUE, defaults={"holder": "here:1", "renewed_at": at})


def taken(at):
    """Every task was given to a worker at that time: django-q keeps the row, locked for as long as it may take."""
    OrmQ.objects.update(lock=at + timedelta(seconds=Conf.RETRY))


def test_the_sweep_finds_a_task_that_was_lost(project):
    now = timezone.now()
    enqueue_pass(project.pk, now=now)
    OrmQ.objects.all().delete()
    sign_of_life(now + timedelta(seconds=9))
    assert sweep_once(now + timedelta(seconds=5)) == 0
    assert sweep_once(now + timedelta(seconds=11)) == 1


def test_a_task_that_died_with_its_worker_is_found_before_the_queue_gives_it_out_again(project):
    now = timezone.now()
    enqueue_pass(project.pk, now=now)
    taken(now)
    sign_of_life(now + timedelta(seconds=9))
    assert sweep_once(now + timedelta(seconds=11)) == 1


def test_a_lost_task_of_a_project_that_runs_is_found_though_the_queue_is_long():
    """The watcher says of what runs that nothing has changed; it knows nothing of a variable that somebody changed."""
    project, now = provisioned_project(), timezone.now()
    enqueue_pass(project.pk, now=now)
    OrmQ.objects.all().delete()
    for _ in range(120):
        async_task(tasks.path_of(tasks.beat))
    later = now + timedelta(minutes=2)
    sign_of_life(later)
    sweep_once(later)
    postpone_settled_checks(later + timedelta(seconds=3))
    sweep_once(later + timedelta(seconds=3))
    assert pass_of(project) in queued_calls()


def test_what_died_with_other_workers_delays_nothing(project):
    """django-q keeps for `retry` what it gave to a worker that was killed: they are not before anybody."""
    now = timezone.now()
    for number in range(200):
        enqueue_pass(add_project(f"p{number}", actor="tester").pk, now=now - timedelta(minutes=2))
    taken(now)
    Project.objects.exclude(pk=project.pk).update(queued_at=None)
    enqueue_pass(project.pk, now=now)
    OrmQ.objects.last().delete()
    sign_of_life(now + timedelta(seconds=19))
    assert sweep_once(now + timedelta(seconds=20)) == 1


def test_a_queue_that_hangs_is_given_a_task_twice_at_most(project):
    """It takes tasks and begins none, until it is mended: what it is given meanwhile is lost as well."""
    now = timezone.now()
    enqueue_pass(project.pk, now=now)
    for second in range(60):
        if second < 8:
            sign_of_life(now + timedelta(seconds=second))
        taken(now)
        sweep_once(now + timedelta(seconds=second))
    assert len(queued_calls()) <= 2
    # Mended: what was lost with it is found.
    sign_of_life(now + timedelta(seconds=62))
    OrmQ.objects.all().delete()
    assert sweep_once(now + timedelta(seconds=63)) == 1


def test_a_pass_that_died_is_not_asked_for_until_its_lease_ends(project):
    """Whoever finds the lease taken leaves a note, and the sweep does not send one after the other to find the same."""
    now = timezone.now()
    assert claim(project.pk, now) is not None
    assert claim(project.pk, now) is None
    assert sweep_once(now + timedelta(seconds=5)) == 0
    assert sweep_once(now + LEASE + timedelta(seconds=1)) == 1


def test_signs_of_life_that_nobody_takes_off_the_queue_are_noticed(project):
    now = timezone.now()
    for _ in range(3):
        async_task(tasks.path_of(tasks.beat))
    enqueue_pass(project.pk, now=now)
    since = now - timedelta(seconds=1)
    assert (
        count_unacknowledged(tasks.path_of(tasks.beat), now + timedelta(seconds=20), since) == 0
    )  # they wait for a worker
    taken(now)
    assert count_unacknowledged(tasks.path_of(tasks.beat), now + timedelta(seconds=5), since) == 0
    assert count_unacknowledged(tasks.path_of(tasks.beat), now + timedelta(seconds=20), since) == 3
    assert count_unacknowledged(tasks.path_of(tasks.beat), now + timedelta(seconds=20), now + timedelta(seconds=1)) == 0


def test_a_task_that_waits_behind_slow_passes_is_not_doubled(project):
    now = timezone.now()
    enqueue_pass(project.pk, now=now)
    for second in range(60):
        sign_of_life(now + timedelta(seconds=second))
        sweep_once(now + timedelta(seconds=second))
    assert queued_calls() == [pass_of(project)]
    taken(now)
    assert sweep_once(now + timedelta(seconds=60)) == 1


def test_a_sweep_with_nothing_amiss_does_not_read_the_queue(project, django_assert_num_queries):
    enqueue_pass(project.pk, now=timezone.now())
    with django_assert_num_queries(5):
        sweep_once(timezone.now())


def test_a_task_that_is_only_far_behind_is_not_doubled(project):
    now = timezone.now()
    for number in range(200):
        enqueue_pass(add_project(f"p{number}", actor="tester").pk, now=now)
    assert sweep_once(now + timedelta(seconds=60)) == 0
    assert count_tasks(now + timedelta(seconds=60)) == 200


def test_the_sweep_is_fair_to_the_oldest(project):
    now = timezone.now()
    projects = [add_project(f"p{i}", actor="tester") for i in range(5)]
    for age, row in enumerate(projects):
        Project.objects.filter(pk=row.pk).update(next_pass_at=now - timedelta(seconds=age))
    sweep_once(now)
    assert queued_calls() == [pass_of(row) for row in reversed(projects)]


def test_without_a_watcher_the_queue_sweeps_for_itself_and_comes_back(project):
    now = timezone.now()
    Project.objects.filter(pk=project.pk).update(next_pass_at=now)
    tasks.sweep()
    calls = queued_calls()
    assert pass_of(project) in calls
    assert ("provisioning.tasks.sweep", ()) in calls
    chained = OrmQ.objects.last()
    available_at = chained.lock
    assert timedelta(seconds=3) < available_at - now < timedelta(seconds=7)
    # The schedule's next call finds the chain going, and starts no second one.
    tasks.sweep()
    assert len(queued_calls()) == len(calls)


def test_with_a_watcher_the_queue_leaves_the_sweep_to_it(project):
    now = timezone.now()
    Project.objects.filter(pk=project.pk).update(next_pass_at=now)
    assert heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, now, {"in_step": True})
    tasks.sweep()
    assert queued_calls() == []


def test_a_clock_that_was_set_back_holds_nothing_up(project):
    """What was written before is far in the future then: leases, tasks, next looks."""
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


def test_the_sweep_is_on_the_schedule_once():
    tasks.ensure_schedules()
    tasks.ensure_schedules()
    schedule = Schedule.objects.get(func="provisioning.tasks.sweep")
    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, 1)


def test_one_watcher_leads_and_another_takes_over_in_time():
    now, one, two = timezone.now(), uuid.uuid4(), uuid.uuid4()
    assert heartbeats.acquire("watcher", one, heartbeats.WATCHER_LEASE, now, {})
    assert not heartbeats.acquire("watcher", two, heartbeats.WATCHER_LEASE, now, {})
    assert heartbeats.acquire("watcher", one, heartbeats.WATCHER_LEASE, now + timedelta(seconds=5), {})
    assert timedelta(seconds=15) >= heartbeats.WATCHER_LEASE
    late = now + timedelta(seconds=6) + heartbeats.WATCHER_LEASE
    assert heartbeats.acquire("watcher", two, heartbeats.WATCHER_LEASE, late, {})
    assert not heartbeats.acquire("watcher", one, heartbeats.WATCHER_LEASE, late, {})


def test_liveness_says_what_is_missing_and_what_to_start():
    nothing = heartbeats.read()
    assert not nothing.watcher.alive
    assert "manage.py watch" in nothing.watcher.message
    assert not nothing.queue.alive
    assert "manage.py qcluster" in nothing.queue.message
    tasks.beat()
    assert heartbeats.read().queue.alive
    assert not heartbeats.read(timezone.now() + timedelta(minutes=5)).queue.alive


def test_a_queue_that_fell_silent_is_noticed_within_half_a_minute_under_a_watcher():
    now = timezone.now()
    tasks.beat()
    later = now + timedelta(seconds=31)
    heartbeats.acquire(heartbeats.WATCHER, uuid.uuid4(), heartbeats.WATCHER_LEASE, later, {})
    assert not heartbeats.read(later).queue.alive


def test_the_heartbeat_is_written_at_most_once_a_second(django_assert_num_queries, monkeypatch):
    tasks.beat()
    before = ProcessLease.objects.get(name=heartbeats.QUEUE).renewed_at
    with django_assert_num_queries(0):
        tasks.beat()
    monkeypatch.setattr(heartbeats, "_beaten_at", None)  # another worker
    with django_assert_num_queries(1):
        tasks.beat()
    assert ProcessLease.objects.get(name=heartbeats.QUEUE).renewed_at == before


def test_what_somebody_waits_for_comes_before_checks_of_what_has_settled(project, settings):
    now = timezone.now()
    for _ in range(3):
        provisioned_project()
    request_provision(project, actor="ann")
    OrmQ.objects.all().delete()
    Project.objects.update(queued_at=None, next_pass_at=now - timedelta(minutes=1))
    Project.objects.filter(pk=project.pk).update(next_pass_at=now)
    assert sweep_once(now) == 4
    assert queued_calls()[0] == pass_of(project)


def test_checks_wait_while_the_queue_is_long(project):
    now = timezone.now()
    for _ in range(3):
        provisioned_project()
    request_provision(project, actor="ann")
    Project.objects.update(queued_at=None, next_pass_at=now)
    OrmQ.objects.bulk_create([OrmQ(key="controlpanel", payload="x", lock=now) for _ in range(100)])
    assert sweep_once(now) == 1


def test_a_retry_that_comes_while_a_task_may_still_run_is_refused_at_the_start(settings):
    assert check_queue() == []
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "retry": settings.Q_CLUSTER["timeout"]}
    (error,) = check_queue()
    assert error.id == "provisioning.E001"


def test_next_sweep_of_a_chain_waits_in_the_queue():
    ProjectFactory.create(name="aaa", next_pass_at=timezone.now() + timedelta(seconds=30))
    tasks.sweep()
    assert OrmQ.objects.count() == 1
    assert not get_broker().dequeue()
