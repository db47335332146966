"""The sweep: rows that are due, tasks that got lost, passes that died. It alone brings everything to its end."""

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

_BATCH = 500
# Checks of what has settled wait while so many tasks do: a person's request comes in front of them.
_QUEUE_FOR_CHECKS = 100
# A task that did not begin by then was lost with its worker (the queue would give it out again only after `retry`), or
# it is far behind others: so each task before it is allowed for. One too many is a short pass that finds nothing.
_LOST_AFTER = timedelta(seconds=10)
_SLOWEST_PASS = timedelta(seconds=0.5)
# Workers that begin something so long after a task was put in the queue would have begun it too.
_NOTICED = timedelta(seconds=5)
# A next look, or a task, that is further ahead than any pass puts it was written before the clock was set back.
_LONGEST_WAIT = timedelta(minutes=10)
# A sign of life takes milliseconds; one that has to connect first, seconds.
_ACKNOWLEDGED_WITHIN = timedelta(seconds=10)
# How soon the queue sweeps again without a watcher.
CHAIN_EVERY = timedelta(seconds=5)


def vouch_for_settled(now: datetime) -> int:
    """Put off the checks of projects that run: the caller's watches say that nothing of theirs has changed.

    Return how many. What the watches do not follow (Services, Ingresses, environments) is compared with what was
    applied by the inventory, every ten minutes, which wakes those that differ.
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
    """Enqueue the passes of rows that are due, and of those whose task was lost; return how many.

    What somebody waits for comes first, oldest first; then, as far as the queue is short, what has settled. A project
    that fails again and again is put off by its own back-off, and has one place like any other.
    """
    tasks = count_tasks(now)
    lost = _find_lost(now, _LOST_AFTER + tasks * _SLOWEST_PASS)
    if lost:
        Project.objects.filter(pk__in=lost).update(queued_at=None, next_pass_at=now)
    longest = _LONGEST_WAIT + timedelta(seconds=1.2 * settings.SETTLED_POLL_S)
    Project.objects.filter(next_pass_at__gt=now + longest).update(next_pass_at=now)
    # Under a lease the holder's end asks for the next pass; of a holder that died it is due when the lease runs out.
    is_free = Q(lease_until=None) | Q(lease_until__lte=now) | Q(lease_until__gt=now + LEASE + heartbeats.CLOCK_SKEW)
    due = Project.objects.filter(is_free, next_pass_at__lte=now, queued_at=None).order_by("next_pass_at")
    is_awaited = Q(phase__in=Phase.in_progress()) | Q(observed_generation__lt=F("wanted_generation"))
    # What was lost comes first: of a project that runs, the next round would say that nothing has changed.
    rows = list(due.filter(pk__in=lost).values_list("pk", flat=True)) if lost else []
    rows += due.filter(is_awaited).exclude(pk__in=rows).values_list("pk", flat=True)[:_BATCH]
    room = _QUEUE_FOR_CHECKS - tasks - len(rows)
    if room > 0:
        rows += due.exclude(is_awaited).values_list("pk", flat=True)[:room]
    return sum(enqueue_pass(pk, now=now) for pk in rows)


def _find_lost(now: datetime, lost_after: timedelta) -> set[int]:
    """Return which projects' tasks were lost.

    A late task is not lost while it waits for a worker, nor while no worker begins anything: a queue that hangs would
    swallow one task after the other.
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
    """Return how many runs of `task` were given out to workers since then, and have not been taken off the queue.

    They may wait behind slow passes: `queue_limit` tasks are given out before a worker is free. If workers are free,
    the queue's monitor does not take tasks off. Killed while it waits for results, it takes their lock with it, as an
    idle worker does (django-q2's issue 23): from then on every task is given out again and again.
    """
    unacknowledged = list_unacknowledged_tasks(since, now - _ACKNOWLEDGED_WITHIN)
    return sum(func == task for func, _ in unacknowledged)


def _find_waiting(now: datetime) -> set[int]:
    """Return the projects whose pass waits in the queue and was given to no worker yet."""
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
