"""One task in the queue for each project at most, written in the transaction of whatever asked for it."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django_q.tasks import async_task

from projects.models import Project

# By name: the panel's pages and models know nothing of how a pass works.
PASS_TASK = "provisioning.tasks.reconcile_project"  # noqa: S105 - a function, not a password  # nosec B105


def enqueue_pass(project_id: int, *, now: datetime) -> bool:
    """Put the project's task in the queue unless one waits there already; return whether it was put.

    With the ORM broker the task is a row of the same transaction as the caller's intent. Redis has no transaction to
    join: there the task is sent on commit, and the sweep finds what got lost in between.
    """
    with transaction.atomic():
        if not Project.objects.filter(pk=project_id, queued_at=None).update(queued_at=now):
            return False
        if settings.REDIS_URL:
            transaction.on_commit(lambda: _send(project_id))
        else:
            _send(project_id)
    return True


def _send(project_id: int) -> None:
    async_task(PASS_TASK, project_id)


def enqueue_passes_by_uid(uids: Iterable[UUID | str], *, now: datetime) -> int:
    """Enqueue the passes of the projects with these uids; return how many were put in the queue."""
    waiting = Project.objects.filter(uid__in=list(uids), queued_at=None).values_list("pk", flat=True)
    return sum(enqueue_pass(pk, now=now) for pk in waiting)
