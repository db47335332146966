"""One task in the queue for each project at most, written in the transaction of whatever asked for it."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from django.db import transaction
from django_q.brokers import get_broker
from django_q.tasks import async_task

from projects.models import Project

# By name: the panel's pages and models know nothing of how a pass works.
PASS_TASK = "provisioning.tasks.reconcile_project"  # noqa: S105 - a function, not a password  # nosec B105


def enqueue_pass(project_id: int, *, now: datetime) -> bool:
    """Put the project's task in the queue unless one waits there already; return whether it was put.

    With the ORM broker the task is a row of the same transaction as the caller's intent. Redis has no transaction to
    join: there the task is sent on commit, and the sweep finds what got lost in between.
    """
    unqueued = Project.objects.filter(pk=project_id, queued_at=None)
    if settings.REDIS_URL:
        is_put = bool(unqueued.update(queued_at=now))
        if is_put:
            transaction.on_commit(lambda: enqueue_task(PASS_TASK, project_id))
        return is_put
    with transaction.atomic():
        is_put = bool(unqueued.update(queued_at=now))
        if is_put:
            enqueue_task(PASS_TASK, project_id)
    return is_put


def enqueue_passes_by_uid(uids: Collection[str], *, now: datetime) -> int:
    """Enqueue the passes of the projects with these uids; return how many were put in the queue."""
    if len(uids) == 1:
        with suppress(Project.DoesNotExist):
            return int(enqueue_pass(pk_of(*uids), now=now))
    waiting = Project.objects.filter(uid__in=uids, queued_at=None).values_list("pk", flat=True)
    return sum(enqueue_pass(pk, now=now) for pk in waiting)


@lru_cache(100_000)
def pk_of(uid: str) -> int:
    """Return the key of a project's row, which never changes: the watcher asks for each event. Raises DoesNotExist,
    which is not remembered."""
    return Project.objects.values_list("pk", flat=True).get(uid=uid)


def enqueue_task(task: str, *arguments: int) -> None:
    """Put a task in the queue."""
    async_task(task, *arguments, broker=_broker())


@cache
def _broker() -> Any:
    """Return this process's way to the queue: a connection to Redis, made for each task, is most of what one costs."""
    return get_broker()
