"""The tasks that django-q runs, and their schedules. A task takes an id and no secret, may run twice, and never waits.

Queues and schedules store a task's dotted path, so a task that moves leaves a function where it was.
"""

import contextlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone
from django_q.models import Schedule

from projects.confidential.redaction import redaction_scope
from projects.services import retention
from projects.services.broker import enqueue_delayed_task
from provisioning import heartbeats
from provisioning.inventory import clusters, orphans
from provisioning.kube.client import connect
from provisioning.kube.errors import KubeError
from provisioning.queue.sweep import CHAIN_EVERY, sweep_without_watcher
from provisioning.reconcile.loop import run_pass


def reconcile_project(project_id: int) -> None:
    """Run one pass for the project. Failures are recorded on the project."""
    heartbeats.beat_queue()
    run_pass(project_id)


def sweep() -> None:
    """Enqueue passes that are due, if no watcher does; scheduled every minute, and every 5 s while a project waits."""
    heartbeats.beat_queue()
    if sweep_without_watcher():
        enqueue_delayed_task(path_of(sweep), CHAIN_EVERY)


def beat() -> None:
    """Prove that a worker is alive, and connect it to the API server, which takes a second the first time."""
    heartbeats.beat_queue()
    with contextlib.suppress(KubeError):
        connect()


@redaction_scope()
def end_orphan(orphan_id: int) -> None:
    """Delete or release an orphan as requested. Failures are recorded on its row."""
    heartbeats.beat_queue()
    orphans.end_orphan(orphan_id, timezone.now())


def prune_events() -> None:
    """Delete the panel's events older than EVENT_RETENTION_DAYS, and entries of the audit log older than
    AUDIT_RETENTION_DAYS; scheduled daily."""
    heartbeats.beat_queue()
    if settings.EVENT_RETENTION_DAYS:
        retention.prune_events(settings.EVENT_RETENTION_DAYS, timezone.now())
    if settings.AUDIT_RETENTION_DAYS:
        retention.prune_audit(settings.AUDIT_RETENTION_DAYS, timezone.now())


def clear_sessions() -> None:
    """Delete expired sessions. Scheduled daily."""
    heartbeats.beat_queue()
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    store.clear_expired()


@redaction_scope()
def take_inventory() -> None:
    """List unmanaged clusters and orphaned objects. One inventory runs at a time; another request starts the next."""
    heartbeats.beat_queue()
    clusters.take_inventory(timezone.now())


def path_of(task: Callable[..., None]) -> str:
    """Return the dotted path by which queues and schedules name a task."""
    return f"{task.__module__}.{task.__qualname__}"


def ensure_schedules(**_: Any) -> None:
    """Create or correct the schedules. A receiver of the post_migrate signal."""
    Schedule.objects.update_or_create(
        name="sweep",
        defaults={"func": path_of(sweep), "schedule_type": Schedule.MINUTES, "minutes": 1, "repeats": -1},
    )
    Schedule.objects.update_or_create(
        name="prune events",
        defaults={"func": path_of(prune_events), "schedule_type": Schedule.DAILY, "repeats": -1},
    )
    Schedule.objects.update_or_create(
        name="clear sessions",
        defaults={"func": path_of(clear_sessions), "schedule_type": Schedule.DAILY, "repeats": -1},
    )
