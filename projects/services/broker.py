"""django-q's brokers, and what differs between them: the one place that knows whether the queue is in Redis or in the
panel's database.

The ORM broker stores a task as a row (OrmQ) and takes part in the caller's transaction. A row that a worker has taken
stays, locked, until it is acknowledged. Redis takes part in no transaction and keeps nothing that a worker has taken.
"""

import contextlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import BadSignature, SignedPackage
from django_q.tasks import async_task

# A task's function, by its dotted path, and its arguments.
Task = tuple[str, tuple[Any, ...]]


class DelayedOrm(ORM):  # type: ignore[misc] # django-q has no types
    """The ORM broker with a delay: django-q2 takes a row once its lock has passed."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__(list_key=Conf.PREFIX)
        self._delay = delay

    def enqueue(self, task: str) -> int:
        due = timezone.now() + self._delay
        row = OrmQ.objects.using(Conf.ORM).create(key=self.list_key, payload=task, lock=due)
        return int(row.pk)


def is_in_database() -> bool:
    """Whether the queue is a table of the panel's database."""
    return isinstance(_broker(), ORM)


def enqueue_task(task: str, *arguments: int) -> None:
    """Put a task in the queue if and when the caller's transaction commits.

    A task for Redis is sent after the commit: if the process dies in between, it is lost, and the sweep finds its row.
    """
    send = partial(async_task, task, *arguments, broker=_broker())
    if is_in_database():
        send()
    else:
        transaction.on_commit(send)


def enqueue_delayed_task(task: str, delay: timedelta) -> bool:
    """Put a task in the queue that becomes due after `delay`; return False for Redis, which has no delayed tasks."""
    if not is_in_database():
        return False
    async_task(task, broker=DelayedOrm(delay))
    return True


def count_tasks(now: datetime) -> int:
    """Return the number of tasks that wait for a worker or are with one; for Redis, of those that wait.

    What a worker took and died with stays in the table for `retry`: of the tasks taken, only as many count as the
    queue's processes can hold.
    """
    if not is_in_database():
        return int(_broker().queue_size())
    is_waiting = Q(lock__lte=now)
    count = _rows().aggregate(waiting=Count("pk", filter=is_waiting), taken=Count("pk", filter=~is_waiting))
    return int(count["waiting"] + min(count["taken"], Conf.QUEUE_LIMIT + Conf.WORKERS))


def list_waiting_tasks(now: datetime) -> Iterator[Task]:
    """Yield the tasks that no worker has taken yet."""
    if is_in_database():
        return _read(_rows().filter(lock__lte=now).values_list("payload", flat=True))
    broker = _broker()
    return _read(broker.connection.lrange(broker.list_key, 0, -1))


def list_unacknowledged_tasks(since: datetime, until: datetime) -> Iterator[Task]:
    """Yield the tasks that workers took after `since` and before `until`, and that are still in the queue; none for
    Redis."""
    if not is_in_database():
        return iter(())
    retry = timedelta(seconds=Conf.RETRY)
    taken = _rows().filter(lock__gt=since + retry, lock__lt=until + retry)
    return _read(taken.values_list("payload", flat=True))


def _rows() -> QuerySet[Any]:
    rows: QuerySet[Any] = OrmQ.objects.using(Conf.ORM).filter(key=_broker().list_key)
    return rows


def _read(payloads: Iterable[str | bytes]) -> Iterator[Task]:
    """Yield the tasks in these payloads. Those signed with an earlier key, which no worker runs, are left out."""
    for payload in payloads:
        with contextlib.suppress(BadSignature):
            task = SignedPackage.loads(payload)
            yield task["func"], task["args"]


@cache
def _broker() -> Any:
    """Return this process's broker. A connection to Redis for each task would be most of what a task costs."""
    return get_broker()
