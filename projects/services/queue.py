"""The passes in the queue: at most one task for each project, enqueued in the transaction of whatever requests it."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from functools import lru_cache

from django.db import transaction

from projects.models import Project
from projects.services.broker import enqueue_task

# By name: this app does not import the one that runs passes.
PASS_TASK = "provisioning.tasks.reconcile_project"  # noqa: S105 - a function, not a password  # nosec B105


def enqueue_pass(project_id: int, *, now: datetime) -> bool:
    """Enqueue a pass for the project unless one is waiting in the queue; return whether it was enqueued."""
    with transaction.atomic():
        is_enqueued = bool(Project.objects.filter(pk=project_id, queued_at=None).update(queued_at=now))
        if is_enqueued:
            enqueue_task(PASS_TASK, project_id)
    return is_enqueued


def enqueue_passes_by_uid(uids: Collection[str], *, now: datetime) -> int:
    """Enqueue the passes of the projects with these uids; return how many were enqueued."""
    if len(uids) == 1:
        with suppress(Project.DoesNotExist):
            return int(enqueue_pass(pk_of(*uids), now=now))
    waiting = Project.objects.filter(uid__in=uids, queued_at=None).values_list("pk", flat=True)
    return sum(enqueue_pass(pk, now=now) for pk in waiting)


@lru_cache(100_000)
def pk_of(uid: str) -> int:
    """Return the primary key of a project, which never changes: the watcher asks for each event. Raises DoesNotExist,
    which is not cached."""
    return Project.objects.values_list("pk", flat=True).get(uid=uid)
