"""Tasks in the queue, as pairs of function and arguments."""

from typing import Any

from django_q.models import OrmQ

from projects.models import Project
from projects.services.queue import PASS_TASK


def queued_calls() -> list[tuple[str, tuple[Any, ...]]]:
    """Return what is in the queue, in order."""
    return [(row.task["func"], row.task["args"]) for row in OrmQ.objects.order_by("pk")]


def pass_of(project: Project) -> tuple[str, tuple[Any, ...]]:
    """Return the task that runs a pass of the project."""
    return (PASS_TASK, (project.pk,))
