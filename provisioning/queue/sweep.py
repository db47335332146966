"""The sweep: enqueues passes that are due or whose task was lost. It alone is enough for every project to settle."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Project
from projects.services.broker import (
    count_tasks,
    list_unacknowledged_tasks,
    list_waiting_tasks,
)
from projects.services.queue import PASS_TASK, enqueue_pass
from provisioning import heartbeats
from provisioning.reconcile.lease import LEASE
from provisioning.reconcile.record import LONGEST_SETTLED_FACTOR

_BATCH = 500
# While this many tasks wait, checks of settled projects are not enqueued, so that they don't delay requests.
_QUEUE_FOR_CHECKS = 100
# A task that has not begun after this time, plus a pass for each task before it, was lost with its worker; the queue
# would repeat it only after `retry`. A repeated task that was not lost costs a short pass.
_LOST_AFTER = timedelta(seconds=10)
_SLOWEST_PASS = timedelta(seconds=0.5)
# If workers begin other tasks this long after a task was enqueued, they should have begun it as well.
_NOTICED = timedelta(seconds=5)
# A time further ahead than any pass writes was written before the clock was set back.
_LONGEST_WAIT = timedelta(minutes=10)
# A heartbeat takes milliseconds, or seconds if its worker has to connect first.
_ACKNOWLEDGED_WITHIN = timedelta(seconds=10)
# How soon the queue sweeps again without a watcher.
CHAIN_EVERY = timedelta(seconds=5)


def postpone_settled_checks(now: datetime) -> int:
    """Postpone the checks of settled projects, as the caller's watches report no change; return how many.

    The inventory compares what is not watched (Services, Ingresses, environments) every ten minutes.
    """
    settled = Project.objects.filter(
        next_pass_at__lte=now,
        queued_at=None,
        lease_until=None,
        desired_state=DesiredState.RUNNING,
        phase=Phase.RUNNING,
        reason=Reason.READY,
        observed_generation=F("wanted_generation"),
        failures=0,
    )
    return settled.update(next_pass_at=now + timedelta(seconds=settings.SETTLED_POLL_S))


def sweep_once(now: datetime) -> int:
    """Enqueue the passes that are due, and those whose task was lost; return how many.

    Projects in progress come first, the oldest first; then, if the queue is short, settled ones. A project that fails
    repeatedly is delayed by its back-off.
    """
    tasks = count_tasks(now)
    lost = _find_lost(now, _LOST_AFTER + tasks * _SLOWEST_PASS)
    if lost:
        Project.objects.filter(pk__in=lost).update(queued_at=None, next_pass_at=now)
    longest = _LONGEST_WAIT + timedelta(seconds=LONGEST_SETTLED_FACTOR * settings.SETTLED_POLL_S)
    Project.objects.filter(next_pass_at__gt=now + longest).update(next_pass_at=now)
    # The holder of a lease schedules the next pass when it ends. If it died, a pass is due when the lease expires.
    is_free = Q(lease_until=None) | Q(lease_until__lte=now) | Q(lease_until__gt=now + LEASE + heartbeats.CLOCK_SKEW)
    due = Project.objects.filter(is_free, next_pass_at__lte=now, queued_at=None).order_by("next_pass_at")
    is_awaited = Q(phase__in=Phase.in_progress()) | Q(observed_generation__lt=F("wanted_generation"))
    # Lost tasks come first: postpone_settled_checks would postpone the one of a running project.
    rows = list(due.filter(pk__in=lost).values_list("pk", flat=True)) if lost else []
    rows += due.filter(is_awaited).exclude(pk__in=rows).values_list("pk", flat=True)[:_BATCH]
    room = _QUEUE_FOR_CHECKS - tasks - len(rows)
    if room > 0:
        rows += due.exclude(is_awaited).values_list("pk", flat=True)[:room]
    return sum(enqueue_pass(pk, now=now) for pk in rows)


def _find_lost(now: datetime, lost_after: timedelta) -> set[int]:
    """Return the projects whose tasks were lost.

    A late task is not lost while it waits for a worker, nor while no worker begins a task: a queue that hangs would get
    another task each time.
    """
    is_ahead = Q(queued_at__gt=now + heartbeats.CLOCK_SKEW)
    late = list(
        Project.objects.filter(Q(queued_at__lt=now - lost_after) | is_ahead).values_list("pk", "queued_at")[:_BATCH]
    )
    if not late:
        return set()
    begun_at = heartbeats.last_beat()
    silent = {pk for pk, at in late if at is not None and at <= now and (begun_at is None or begun_at < at + _NOTICED)}
    overdue = {pk for pk, _ in late} - silent
    return overdue - _find_waiting(now) if overdue else set()


def count_unacknowledged(task: str, now: datetime, since: datetime) -> int:
    """Return how many runs of `task` workers have taken since then without acknowledging them.

    A few may wait behind slow passes, as `queue_limit` tasks are taken before a worker is free. If workers are free,
    the queue's monitor has stopped acknowledging, and every task is repeated forever: a monitor that is killed while
    it waits for results keeps the lock of their queue, as a killed idle worker does (django-q2, issue 23).
    """
    unacknowledged = list_unacknowledged_tasks(since, now - _ACKNOWLEDGED_WITHIN)
    return sum(func == task for func, _ in unacknowledged)


def _find_waiting(now: datetime) -> set[int]:
    """Return the projects whose pass is in the queue and was not taken by a worker yet."""
    return {args[0] for func, args in list_waiting_tasks(now) if func == PASS_TASK}


def sweep_without_watcher() -> bool:
    """Sweep if no watcher does; return whether to sweep again after `CHAIN_EVERY`, as a project waits for something.

    A schedule starts this once a minute; a lease allows one chain of sweeps at a time.
    """
    now = timezone.now()
    if heartbeats.read(now).watcher.alive:
        return False
    token = uuid.uuid4()
    if not heartbeats.acquire(heartbeats.SWEEP, token, CHAIN_EVERY - timedelta(seconds=1), now, {}):
        return False
    sweep_once(now)
    return Project.objects.filter(next_pass_at__lte=now + timedelta(minutes=1)).exists()
