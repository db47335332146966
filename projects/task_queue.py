"""The one way from the panel into django-q's queue."""

from functools import cache
from typing import Any

from django_q.brokers import get_broker
from django_q.tasks import async_task


def enqueue_task(task: str, *arguments: int) -> None:
    """Put a task in the queue."""
    async_task(task, *arguments, broker=_broker())


@cache
def _broker() -> Any:
    """Return this process's way to the queue: a connection to Redis, made for each task, is most of what one costs."""
    return get_broker()
