"""What django-q runs: an id in, nothing secret in or out. Each may run twice, and none waits."""

import contextlib
import logging

from django.conf import settings
from django.utils import timezone

from projects.confidential.redaction import redaction_scope
from projects.services import retention
from provisioning import heartbeats
from provisioning.inventory import clusters, orphans
from provisioning.kube.client import connect
from provisioning.kube.errors import KubeError
from provisioning.queue.sweep import sweep_without_watcher
from provisioning.reconcile.loop import run_pass

logger = logging.getLogger(__name__)


def reconcile_project(project_id: int) -> None:
    """Run one pass for the project. What goes wrong is recorded on the project, not raised."""
    heartbeats.beat_queue()
    run_pass(project_id)


def sweep() -> None:
    """Look for due rows, where no watcher does; scheduled every minute, and by itself in between."""
    heartbeats.beat_queue()
    sweep_without_watcher()


def beat() -> None:
    """Prove that the queue's workers are alive, and have them ready: a worker's first connection costs it a second."""
    heartbeats.beat_queue()
    with contextlib.suppress(KubeError):
        connect()


@redaction_scope()
def end_orphan(orphan_id: int) -> None:
    """Delete or release an orphan, as somebody asked for. What goes wrong is said on its row."""
    heartbeats.beat_queue()
    orphans.end_orphan(orphan_id, timezone.now())


def prune_events() -> None:
    """Remove the panel's own events that are older than EVENT_RETENTION_DAYS, and what of the audit log is older than
    AUDIT_RETENTION_DAYS; scheduled daily."""
    heartbeats.beat_queue()
    if settings.EVENT_RETENTION_DAYS:
        retention.prune_events(settings.EVENT_RETENTION_DAYS, timezone.now())
    if settings.AUDIT_RETENTION_DAYS:
        retention.prune_audit(settings.AUDIT_RETENTION_DAYS, timezone.now())


@redaction_scope()
def take_inventory() -> None:
    """List the Clusters that no project owns, and the orphans; where one runs already, another follows it."""
    heartbeats.beat_queue()
    clusters.take_inventory(timezone.now())
