"""Which of the panel's processes are alive: the leases that they hold and the heartbeats that they leave."""

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from provisioning.models import ProcessLease

WATCHER, QUEUE, SWEEP = "watcher", "queue", "sweep"
# A standby watcher takes over within this time.
WATCHER_LEASE = timedelta(seconds=12)
# How often the watcher enqueues a heartbeat task; without one, the sweep's schedule counts as a heartbeat.
BEAT_EVERY = timedelta(seconds=5)
_QUEUE_SILENCE = timedelta(seconds=30)
_QUEUE_SILENCE_UNWATCHED = timedelta(seconds=100)
_BEAT_GRANULARITY = timedelta(seconds=1)
# How far the clocks of the panel's machines may differ.
CLOCK_SKEW = timedelta(seconds=15)
# When this process last recorded a heartbeat, so that most tasks don't query the database for it.
_beaten_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """The health of one component. `age_s`: since its last heartbeat; `is_degraded`: it runs, but can't do its work."""

    alive: bool
    message: str
    age_s: float | None = None
    is_degraded: bool = False


@dataclass(frozen=True, slots=True)
class Liveness:
    watcher: ComponentHealth
    queue: ComponentHealth


@dataclass(frozen=True, slots=True)
class WatchCoverage:
    """Since when a watcher has followed the cluster, by its own clock. `most_behind`: how far that clock may be behind
    this one, at most the time since it renewed its lease."""

    since: datetime
    most_behind: timedelta


def holder_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def acquire(name: str, token: uuid.UUID, duration: timedelta, now: datetime, details: dict[str, object]) -> bool:
    """Take or renew the lease `name`; False while another token holds it."""
    values = {
        "holder": holder_name(),
        "token": token,
        "renewed_at": now,
        "until": now + duration,
        "details": details,
    }
    # A lease that ends later than one taken now was taken before the clock was set back.
    free = Q(token=token) | Q(until=None) | Q(until__lte=now) | Q(until__gt=now + duration + CLOCK_SKEW)
    if ProcessLease.objects.filter(free, name=name).update(**values):
        return True
    if ProcessLease.objects.filter(name=name).exists():
        return False
    try:
        ProcessLease.objects.create(name=name, **values)
    except IntegrityError:
        return False
    return True


def release(name: str, token: uuid.UUID) -> None:
    """Release the lease, so that a standby can take it at once."""
    ProcessLease.objects.filter(name=name, token=token).update(until=None, token=None)


def beat_queue() -> None:
    """Record that a worker of the queue runs a task; at most once a second."""
    global _beaten_at
    now = timezone.now()
    if _beaten_at is not None and _beaten_at <= now < _beaten_at + _BEAT_GRANULARITY:
        return
    _beaten_at = now
    stale = Q(renewed_at=None) | Q(renewed_at__lt=now - _BEAT_GRANULARITY) | Q(renewed_at__gt=now + CLOCK_SKEW)
    lease = ProcessLease.objects.filter(name=QUEUE).first()
    if lease is None:
        ProcessLease.objects.get_or_create(name=QUEUE, defaults={"holder": holder_name(), "renewed_at": now})
    elif lease.renewed_at is None or not now - _BEAT_GRANULARITY <= lease.renewed_at <= now + CLOCK_SKEW:
        ProcessLease.objects.filter(stale, name=QUEUE).update(holder=holder_name(), renewed_at=now)


def last_beat() -> datetime | None:
    """Return when a worker of the queue last began a task; None if none ever did."""
    return ProcessLease.objects.filter(name=QUEUE).values_list("renewed_at", flat=True).first()


def is_watched(now: datetime) -> bool:
    """Whether a watcher holds the lease and its watches are up to date."""
    lease = _watcher_lease(now)
    return lease is not None and lease.details.get("in_step") is True


def _watcher_lease(now: datetime) -> ProcessLease | None:
    """Return the lease, if a watcher holds it."""
    latest = now + WATCHER_LEASE + CLOCK_SKEW
    return ProcessLease.objects.filter(name=WATCHER, until__gt=now, until__lte=latest).first()


def read_watch_coverage(now: datetime) -> WatchCoverage | None:
    """Return since when the watcher has followed the cluster; None if no watcher is up to date."""
    lease = _watcher_lease(now)
    if lease is None or lease.renewed_at is None or lease.details.get("in_step") is not True:
        return None
    since = parse_datetime(str(lease.details.get("since") or ""))
    return WatchCoverage(since, max(now - lease.renewed_at, timedelta(0))) if since else None


def read(now: datetime | None = None) -> Liveness:
    """Return the health of the watcher and of the queue's workers."""
    now = now or timezone.now()
    leases = {lease.name: lease for lease in ProcessLease.objects.filter(name__in=[WATCHER, QUEUE])}
    watcher = _read_watcher(leases.get(WATCHER), now)
    return Liveness(watcher, _read_queue(leases.get(QUEUE), now, is_watched=watcher.alive))


def _read_watcher(lease: ProcessLease | None, now: datetime) -> ComponentHealth:
    if lease is None or lease.renewed_at is None:
        return ComponentHealth(
            False, "The watcher is not running. Provisioning still works, but slower. Start `manage.py watch`."
        )
    age_s = (now - lease.renewed_at).total_seconds()
    if lease.until is None or not now < lease.until <= now + WATCHER_LEASE + CLOCK_SKEW:
        return ComponentHealth(False, f"The watcher stopped {age_s:.0f} s ago. Start `manage.py watch` again.", age_s)
    error = str(lease.details.get("error") or "")
    if error:
        return ComponentHealth(True, f"The watcher is running, but can't watch: {error}", age_s, is_degraded=True)
    return ComponentHealth(True, "Watcher running.", age_s)


def _read_queue(lease: ProcessLease | None, now: datetime, *, is_watched: bool) -> ComponentHealth:
    if lease is None or lease.renewed_at is None:
        return ComponentHealth(False, "No worker is running. Requests wait until `manage.py qcluster` runs.")
    age = now - lease.renewed_at
    age_s = age.total_seconds()
    if age > (_QUEUE_SILENCE if is_watched else _QUEUE_SILENCE_UNWATCHED):
        return ComponentHealth(
            False, f"No worker has been active for {age_s:.0f} s. Restart `manage.py qcluster`.", age_s
        )
    return ComponentHealth(True, f"Worker active {age_s:.0f} s ago.", age_s)


def prove_database_writable() -> None:
    """Write a row and take it back: a database that answers reads may be a standby, or full. Raises DatabaseError."""
    with transaction.atomic():
        ProcessLease.objects.create(name=f"probe {uuid.uuid4().hex}")
        transaction.set_rollback(True)
